"""The integer arithmetic: its tables, its limits, and that it is what docs/int8.md says, in plain Python integers."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgernn import ops
from edgernn.quantize.reference import evaluate, functions, tables
from edgernn.quantize.reference.fixed import activate, round_shift
from edgernn.quantize.reference.functions import EXACT, power
from edgernn.quantize.reference.ieee import dot, flush, lane_sum
from edgernn.quantize.reference.spectrum import real_transform
from edgernn.quantize.rounding import Rounding, round_rows

import plain_int8 as plain

ALL = np.arange(-32768, 32768)


@pytest.mark.parametrize(
    ("kind", "function", "limit"),
    [("sigmoid", lambda x: 1 / (1 + np.exp(-x)), 1.0e-4), ("tanh", np.tanh, 1.2e-4)],
)
def test_activation_tables_over_all_inputs(kind: str, function: Any, limit: float) -> None:
    """All 65,536 of them."""
    y = activate(ALL, kind)
    error = np.abs(y / 32768 - function(np.maximum(ALL, -32767) / 4096))
    assert error.max() < limit
    assert np.sqrt(np.mean(error**2)) < limit / 2
    assert y.min() >= (10 if kind == "sigmoid" else -32767)
    assert y.max() <= (32758 if kind == "sigmoid" else 32767)  # no gate ever closes for good: no dead zone
    whole = 32768 if kind == "sigmoid" else 0
    assert np.array_equal(activate(-ALL[1:], kind)[ALL[1:] != 0], (whole - activate(ALL[1:], kind))[ALL[1:] != 0])


def bytes_(limit: int) -> st.SearchStrategy[int]:
    """Integers up to a limit, the limit itself among the likely ones."""
    return st.one_of(st.sampled_from((-limit, 0, limit)), st.integers(-limit, limit))


@st.composite
def cells(draw: st.DrawFn, gates: int, size: int, out: int) -> dict[str, Any]:
    """Integer parameters of a recurrent layer of any scale, a zero row among them, and three frames."""
    inputs, rows = draw(st.integers(1, 11)), gates * size
    multipliers = st.one_of(st.integers(0, 2**31 - 1), st.integers(0, 2**20))
    x_dtype = draw(st.sampled_from(("int8", "int16")))
    w = {
        "weight_ih": draw(arrays.arrays(np.int8, (rows, inputs), elements=bytes_(127))),
        "weight_hh": draw(arrays.arrays(np.int8, (rows, out), elements=bytes_(127))),
        "multiplier_ih": draw(arrays.arrays(np.int32, rows, elements=multipliers)),
        "multiplier_hh": draw(arrays.arrays(np.int32, rows, elements=multipliers)),
    }
    for half in ("weight_ih", "weight_hh"):
        w[half][draw(st.integers(0, rows - 1))] = 0
    x = draw(arrays.arrays(x_dtype, (3, 1, inputs), elements=bytes_(plain.LIMITS[x_dtype])))
    fields = {"shift": draw(st.integers(1, 26)), "name": "", "active": "active"}
    for value in ("h", "y"):
        dtype = fields[f"{value}_dtype"] = draw(st.sampled_from(("int8", "int16")))
        fields[f"{value}_shift"] = draw(st.integers(7, 14) if dtype == "int8" else st.integers(13, 14))
    return {"w": w, "x": x, "fields": fields, "active": np.array(draw(st.booleans()))}


def biases(rows: int) -> st.SearchStrategy[Any]:
    """int32, far beyond what saturates."""
    return arrays.arrays(np.int32, rows, elements=st.integers(-(2**30), 2**30))


def evaluated(op: Any, made: dict[str, Any], *states: Any) -> Any:
    """What the reference gives: y of each frame, and the new states."""
    given = {**made["w"], "x": made["x"], "active": made["active"], **dict(zip(("h", "c"), states, strict=False))}
    y, *new = evaluate(op, *(given.get(name) for name in op.operand_fields()))
    return y[:, 0].tolist(), [state[0].tolist() for state in new]


def expected(step: Any, op: Any, made: dict[str, Any], *states: Any) -> Any:
    """The same by the plain form."""
    start = [[int(v) for v in state[0]] for state in states]
    current, rows = start, []
    for frame in made["x"][:, 0]:
        y, *current = step(op, made["w"], frame, *current)
        rows.append(y)
    return rows, current if made["active"] else start


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_gru_is_its_text(data: st.DataObject) -> None:
    """Three frames of any layer, saturating or not, with every width of x, h and y; held or not."""
    size = data.draw(st.integers(1, 9))
    made = data.draw(cells(3, size, size))
    made["w"] |= {"bias_ih": data.draw(biases(3 * size)), "bias_hh": data.draw(biases(size))}
    h = data.draw(arrays.arrays(np.int32, (1, size), elements=bytes_(2**30 - 1)))
    op = ops.QGRU(**dict.fromkeys((*made["w"], "x", "h"), "_"), outputs=("y", "h'"), **made["fields"])
    assert evaluated(op, made, h) == expected(plain.gru, op, made, h)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_lstm_is_its_text(data: st.DataObject) -> None:
    """Any cell range, with a projection and without."""
    size, projected = data.draw(st.integers(1, 9)), data.draw(st.booleans())
    out = data.draw(st.integers(1, 5)) if projected else size
    made = data.draw(cells(4, size, out))
    made["w"] |= {"bias": data.draw(biases(4 * size))}
    if projected:
        made["w"]["weight_hr"] = data.draw(arrays.arrays(np.int8, (out, size), elements=bytes_(127)))
        made["w"]["multiplier_hr"] = data.draw(arrays.arrays(np.int32, out, elements=st.integers(0, 2**31 - 1)))
    h = data.draw(arrays.arrays(np.int16, (1, out), elements=bytes_(32767)))
    c = data.draw(arrays.arrays(np.int32, (1, size), elements=bytes_(2**30 - 1)))
    op = ops.QLSTM(
        **dict.fromkeys((*made["w"], "x", "h", "c"), "_"),
        outputs=("y", "h'", "c'"),
        cell_exponent=data.draw(st.integers(0, 12)),
        **made["fields"],
    )
    assert evaluated(op, made, h, c) == expected(plain.lstm, op, made, h, c)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_rnn_is_its_text(data: st.DataObject) -> None:
    """tanh and relu."""
    size = data.draw(st.integers(1, 9))
    made = data.draw(cells(1, size, size))
    made["w"] |= {"bias": data.draw(biases(size))}
    h = data.draw(arrays.arrays(np.int16, (1, size), elements=bytes_(32767)))
    kind = data.draw(st.sampled_from(("tanh", "relu")))
    op = ops.QRNN(**dict.fromkeys((*made["w"], "x", "h"), "_"), outputs=("y", "h'"), kind=kind, **made["fields"])
    assert evaluated(op, made, h) == expected(plain.rnn, op, made, h)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_convolution_is_its_text(data: st.DataObject) -> None:
    """Groups, one a channel among them; strides, dilations, any first frame."""
    groups, inputs, each, taps, count = (data.draw(st.integers(1, 3)) for _ in range(5))
    sizes = {name: data.draw(st.integers(1, 3)) for name in ("stride", "dilation")}
    first, out = data.draw(st.integers(0, 2)), groups * each
    frames = first + (count - 1) * sizes["stride"] + (taps - 1) * sizes["dilation"] + 1
    dtype = data.draw(st.sampled_from(("int8", "int16")))
    window = data.draw(arrays.arrays(dtype, (frames, 1, groups * inputs), elements=bytes_(plain.LIMITS[dtype])))
    weight = data.draw(arrays.arrays(np.int8, (out, inputs, taps), elements=bytes_(127)))
    multiplier = data.draw(arrays.arrays(np.int32, out, elements=st.integers(0, 2**31 - 1)))
    bias = data.draw(biases(out))
    low = data.draw(st.sampled_from((0, -127)))
    op = ops.QConv1d(
        **{**dict.fromkeys(("window", "weight", "bias", "multiplier"), "_"), **sizes},
        name="",
        outputs=("y",),
        count=count,
        first=first,
        groups=groups,
        shift=data.draw(st.integers(1, 26)),
        low=low,
    )
    (y,) = evaluate(op, window, weight, bias, multiplier)
    assert y[:, 0].tolist() == plain.conv1d(op, window[:, 0], weight, bias, multiplier)


@given(st.data())
def test_elements_are_their_text(data: st.DataObject) -> None:
    """Sums and products of two scales, and another scale, of any two widths."""
    limits = plain.LIMITS[data.draw(st.sampled_from(("int8", "int16")))], 32767
    a, b = (data.draw(arrays.arrays(np.int16, 4, elements=bytes_(limit))) for limit in limits)
    first, second = (data.draw(st.integers(-(2**31) + 1, 2**31 - 1)) for _ in range(2))
    dtype = data.draw(st.sampled_from(("int8", "int16")))
    low, high = data.draw(st.sampled_from(((-plain.LIMITS[dtype], plain.LIMITS[dtype]), (0, 90))))
    fields: Any = {"name": "", "outputs": ("y",), "shift": data.draw(st.integers(1, 40)), "dtype": dtype}
    fields |= {"low": low, "high": high}

    def wanted(total: int) -> int:
        return plain.clamp(plain.round_shift(total, fields["shift"]), low, high)

    pairs = [(int(p), int(q)) for p, q in zip(a, b, strict=True)]
    (y,) = evaluate(ops.QAdd(a="a", b="b", multiplier_a=first, multiplier_b=second, **fields), a, b)
    assert y.tolist() == [wanted(p * first + q * second) for p, q in pairs]
    (y,) = evaluate(ops.QMul(a="a", b="b", multiplier=first, **fields), a, b)
    assert y.tolist() == [wanted(p * q * first) for p, q in pairs]
    (y,) = evaluate(ops.Rescale(q="q", multiplier=second, **fields), b)
    assert y.tolist() == [wanted(q * second) for _, q in pairs]


@given(st.integers(-(2**62), 2**62), st.integers(2**23, 2**31 - 1), st.integers(1, 40))
def test_totals_of_hours_are_limited(total: int, multiplier: int, shift: int) -> None:
    """What the product's 64 bits cannot hold lies beyond int16 in any case."""
    limits: Any = {"low": -16319, "high": 16319, "dtype": "int16"}
    op = ops.Rescale(name="", outputs=("y",), q="q", multiplier=multiplier, shift=shift, **limits)
    (y,) = evaluate(op, np.array([total, -total]))
    wanted = [plain.clamp(plain.round_shift(sign * total * multiplier, shift), -16319, 16319) for sign in (1, -1)]
    assert y.tolist() == wanted


@pytest.mark.parametrize("columns", [1, 17, 4096])
def test_extreme_sums_do_not_wrap(columns: int) -> None:
    """All weights and inputs at their limits, the largest multiplier."""
    x = np.full((1, 1, columns), 127, np.int8)
    weight = np.stack([np.full(columns, 127, np.int8), np.full(columns, -127, np.int8), np.zeros(columns, np.int8)])
    bias = np.array([2**30, -(2**30), 5], np.int32)
    op = ops.QLinear(name="", outputs=("y",), x="x", weight="w", bias="b", multiplier="m")
    multiplier = np.full(3, 2**31 - 1, np.int32)
    (y,) = evaluate(op, x, weight, bias, multiplier)
    total = [int(weight[i, 0]) * 127 * columns + int(bias[i]) for i in range(3)]
    wanted = [max(-127, min(127, (t * (2**31 - 1) + 2**25) >> 26)) for t in total]
    assert y[0, 0].tolist() == wanted
    real = ops.QLinear(name="", outputs=("y",), x="x", weight="w", bias="b", multiplier="m", dtype="float32")
    (y,) = evaluate(real, x, weight, bias, np.full(3, 0.5, np.float32))
    assert y[0, 0].tolist() == [float(np.float32(t)) * 0.5 for t in total]


@given(st.integers(-(2**61), 2**61), st.integers(0, 40))
def test_round_shift(x: int, shift: int) -> None:
    """Half up, at any size."""
    assert int(round_shift(np.array(x), shift)) == math.floor(Fraction(x, 2**shift) + Fraction(1, 2))


def test_slow_state_moves() -> None:
    """A GRU whose update gate is as closed as it gets still reaches its target: no dead zone, no stuck unit."""
    h, target = 0, 16384
    for _ in range(400_000):
        h += (32768 - 32758) * (target - (h >> 15))
    assert abs(h / 2**30 - 0.5) < 1e-4


def test_quantize_takes_anything() -> None:
    """NaN is zero; infinities and extremes go to the limits; halves round to even."""
    op = ops.Quantize(name="", outputs=("q",), x="x", inverse="i")
    x = np.array([[np.nan, np.inf, -np.inf, 1e38, -1e38, 0.5, 1.5, -2.5, 1e-40]], np.float32)
    (q,) = evaluate(op, x, np.float32(1), None)
    assert q.tolist() == [[0, 127, -127, 127, -127, 0, 2, -2, 0]]
    (q,) = evaluate(op, x[:, :3], np.float32(1e-38), np.float32(3))
    assert q.tolist() == [[0, 127, -127]]


@given(
    arrays.arrays(np.int8, (3, 21), elements=st.integers(-7, 7)),
    arrays.arrays(np.int8, (3, 3), elements=st.integers(1, 18)),
)
def test_int4_unpacks(codes: Any, steps: Any) -> None:
    """An odd number of columns, groups that do not end with them."""
    padded = np.concatenate([codes + 8, np.full((3, 1), 8)], axis=1).astype(np.uint8)
    packed = padded[:, 0::2] | padded[:, 1::2] << 4
    op = ops.Int4(name="", outputs=("w",), packed="p", step="s", shape=(3, 7, 3), group=8)
    (weight,) = evaluate(op, packed, steps)
    assert weight.dtype == np.int8
    assert np.array_equal(weight.reshape(3, 21), codes * np.repeat(steps, 8, axis=1)[:, :21])


@pytest.mark.parametrize("kind", sorted(set(EXACT) - {"not", "sign", "round", "ceil", "floor", "neg", "abs", "relu"}))
def test_float_functions(kind: str) -> None:
    """Each within a few units of the last place of 1, over their whole domain."""
    wide = np.linspace(-80, 80, 200_001).astype(np.float32)
    x = np.abs(wide) + np.float32(1e-3) if kind in ("log", "sqrt", "reciprocal") else wide
    with np.errstate(all="ignore"):
        wanted = ops.Unary(name="", outputs=("",), x="", kind=kind).evaluate(x.astype(np.float64))[0]
        found = EXACT[kind](x)
    error = np.abs(found - wanted) / np.maximum(1, np.abs(wanted))
    assert error.max() < (1e-6 if kind in ("erf", "gelu") else 3e-7)


def test_float_functions_at_the_edges() -> None:
    """Overflow, underflow, NaN and zeros."""
    x = np.array([-200, -87.5, 88.8, 200, np.nan, -np.inf, np.inf], np.float32)
    with np.errstate(all="ignore"):
        assert np.array_equal(EXACT["exp"](x), np.array([0, 0, np.inf, np.inf, np.nan, 0, np.inf], "f"), equal_nan=True)
        found = EXACT["log"](np.array([0, -1, np.inf, 1e-45], np.float32))
        assert np.array_equal(found, np.array([-np.inf, np.nan, np.inf, -np.inf], "f"), equal_nan=True)
        tails = EXACT["tanh"](np.array([-100, 100, 0], np.float32)).tolist()
        assert tails == [-1, 1, 0]
        assert power(np.array([2, -3, 0, 4], "f"), np.array([-2, 3, 2.5, 0.5], "f")).tolist() == [0.25, -27, 0, 2]
    assert flush(np.array([1e-40, -1e-40], np.float32)).tolist() == [0.0, -0.0]


def test_sums_have_sixteen_lanes() -> None:
    """The order of a sum is part of the arithmetic: written out once by hand."""
    x = np.random.default_rng(0).standard_normal(37).astype(np.float32)
    lanes = [np.float32(0)] * 16
    for i, value in enumerate(x):
        lanes[i % 16] = value if i < 16 else np.float32(lanes[i % 16] + value)
    for width in (8, 4, 2, 1):
        lanes = [np.float32(lanes[i] + lanes[i + width]) for i in range(width)]
    assert lane_sum(x) == lanes[0]
    weight = np.random.default_rng(1).standard_normal((1, 37)).astype(np.float32)
    assert dot(x[None], weight)[0, 0] == lane_sum(x * weight[0])


@pytest.mark.parametrize("n", [1, 2, 15, 16, 61, 160, 256, 400])
def test_transform(n: int) -> None:
    """Any length."""
    x = np.random.default_rng(n).standard_normal((3, n)).astype(np.float32)
    re, im = real_transform(x)
    wanted = np.fft.rfft(x.astype(np.float64))
    assert np.abs(re + 1j * im - wanted).max() < 2e-6 * np.sqrt(n) * np.abs(wanted).max()


@pytest.mark.parametrize("weight_type", ["int8", "int4"])
def test_compensated_rounding_uses_what_inputs_share(weight_type: str) -> None:
    """On correlated inputs its output error is far below plain rounding's; zero rows stay zero."""
    random = np.random.default_rng(3)
    u = random.standard_normal((2000, 4)) @ random.standard_normal((4, 48)) + 0.05 * random.standard_normal((2000, 48))
    weight = random.standard_normal((32, 48))
    weight[5] = 0
    ones = np.concatenate([u, np.ones((2000, 1))], axis=1)
    moments = ones.T @ ones / 2000
    errors = {}
    for compensated in (True, False):
        rounding = Rounding(compensated=compensated, weight_type=weight_type)
        (rows,), shift = round_rows([weight], [np.zeros(32)], rounding, moments)
        real = rows.weight * rows.unit[:, None]
        assert not rows.weight[5].any()
        assert np.abs(rows.weight.astype(int)).max() <= 127
        errors[compensated] = np.mean((u @ (real - weight).T + shift) ** 2)
    assert errors[True] < errors[False] / 4


def test_constants_are_those_of_the_document() -> None:
    """docs/int8.md states the rows of both tables and the polynomials of the float functions."""
    text = (Path(__file__).parent.parent / "docs" / "int8.md").read_text("utf-8").split("## Constants")[1]
    rows = [tuple(map(int, line.split())) for line in text.splitlines() if re.fullmatch(r"    \d+( +-?\d+){8}", line)]
    assert tuple(row[1:5] for row in rows) == tables.SIGMOID
    assert tuple(row[5:] for row in rows) == tables.TANH
    stated: dict[str, list[float]] = {}
    for word in text.split("Stegun):")[1].split():
        if word[0].isalpha():
            name = word
        else:
            stated.setdefault(name, []).append(float(word))
    own = {"exp": functions._EXP, "log": functions._LOG, "tanh": functions._TANH, "erf": functions._ERF}
    own |= {"S": functions._SIN, "C": functions._COS}
    for name, coefficients in own.items():
        assert np.array_equal(np.float32(stated[name]), np.float32(coefficients)), name
