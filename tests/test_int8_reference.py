"""The integer arithmetic: its tables, its limits, and that it is what docs/int8.md says, in plain Python integers."""

from __future__ import annotations

import math
from typing import Any

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgernn import ops
from edgernn.quantize.reference import evaluate
from edgernn.quantize.reference.fixed import activate, mulhrs, narrow, round_shift
from edgernn.quantize.reference.functions import EXACT, power
from edgernn.quantize.reference.ieee import dot, flush, lane_sum
from edgernn.quantize.reference.spectrum import real_transform
from edgernn.quantize.reference.tables import SIGMOID, TANH
from edgernn.quantize.rounding import Rounding, round_rows

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


def plain_mulhrs(a: int, b: int) -> int:
    """In Python's integers."""
    return (a * b + 2**14) // 2**15


def plain_activate(x: int, kind: str) -> int:
    """As the text says, one element."""
    size = min(abs(x), 32767)
    c = (SIGMOID if kind == "sigmoid" else TANH)[size // 2048]
    f = (size % 2048) * 32 - 32768
    y = min(c[0] + plain_mulhrs(f, c[1] + plain_mulhrs(f, c[2] + plain_mulhrs(f, c[3]))), 32767)
    return y if x >= 0 else (32768 if kind == "sigmoid" else 0) - y


def saturate(x: int) -> int:
    """To int16."""
    return max(-32768, min(32767, x))


def plain_narrow(h: int, shift: int, limit: int) -> int:
    """h16 to what a product takes."""
    return max(-limit, min(limit, (h + 2 ** (14 - shift)) // 2 ** (15 - shift)))


def plain_gru(op: ops.QGRU, x: Any, h: list[int], w: dict[str, Any]) -> tuple[list[int], list[int]]:
    """One frame of docs/int8.md's GRU, in Python's integers."""
    size, half = len(h), 2 ** (op.shift - 1)
    limit = 127 if op.h_dtype == "int8" else 16319
    taken = [plain_narrow(v >> 15, op.h_shift, limit) for v in h]
    a = [sum(int(p) * int(q) for p, q in zip(row, x, strict=True)) for row in w["weight_ih"]]
    a = [(s + int(b)) * int(m) for s, b, m in zip(a, w["bias_ih"], w["multiplier_ih"], strict=True)]
    k = [sum(int(p) * q for p, q in zip(row, taken, strict=True)) for row in w["weight_hh"]]
    k = [s + (int(w["bias_hh"][i - 2 * size]) if i >= 2 * size else 0) for i, s in enumerate(k)]
    k = [s * int(m) for s, m in zip(k, w["multiplier_hh"], strict=True)]
    new, y = [], []
    for j in range(size):
        r, z = (plain_activate(saturate((a[i] + k[i] + half) >> op.shift), "sigmoid") for i in (j, size + j))
        given, kept = (saturate((v[2 * size + j] + half) >> op.shift) for v in (a, k))
        n = plain_activate(saturate(given + plain_mulhrs(r, kept)), "tanh")
        new.append(h[j] + (32768 - z) * (n - (h[j] >> 15)))
        assert abs(new[-1]) < 2**31
        y.append(plain_narrow(new[-1] >> 15, op.y_shift, 127 if op.y_dtype == "int8" else 16319))
    return y, new


def plain_lstm(op: ops.QLSTM, x: Any, h: list[int], c: list[int], w: dict[str, Any]) -> tuple[list[int], ...]:
    """One frame of docs/int8.md's LSTM, in Python's integers."""
    size, half = len(c), 2 ** (op.shift - 1)
    limit = 127 if op.h_dtype == "int8" else 16319
    taken = [plain_narrow(v, op.h_shift, limit) for v in h]
    total = []
    for i in range(4 * size):
        a = sum(int(p) * int(q) for p, q in zip(w["weight_ih"][i], x, strict=True)) + int(w["bias"][i])
        k = sum(int(p) * q for p, q in zip(w["weight_hh"][i], taken, strict=True))
        total.append(saturate((a * int(w["multiplier_ih"][i]) + k * int(w["multiplier_hh"][i]) + half) >> op.shift))
    e, new_h, new_c = op.cell_exponent, [], []
    for j in range(size):
        i, f, o = (plain_activate(total[g * size + j], "sigmoid") for g in (0, 1, 3))
        g = plain_activate(total[2 * size + j], "tanh")
        entering = (i * g + (2**e >> 1)) >> e
        cell = max(-(2**30) + 1, min(2**30 - 1, c[j] + (f - 32768) * saturate((c[j] + 2**14) >> 15) + entering))
        new_c.append(cell)
        seen = saturate((cell + 2 ** (17 - e)) >> (18 - e))
        new_h.append(plain_mulhrs(o, plain_activate(seen, "tanh")))
    return [plain_narrow(v, op.y_shift, 127) for v in new_h], new_h, new_c


@st.composite
def layers(draw: st.DrawFn, gates: int) -> dict[str, Any]:
    """Integer parameters of any size and scale, zero rows among them."""
    size, inputs = draw(st.integers(1, 9)), draw(st.integers(1, 11))
    bytes_ = st.integers(-127, 127)
    rows = gates * size
    weights = {
        "weight_ih": draw(arrays.arrays(np.int8, (rows, inputs), elements=bytes_)),
        "weight_hh": draw(arrays.arrays(np.int8, (rows, size), elements=bytes_)),
        "multiplier_ih": draw(arrays.arrays(np.int32, rows, elements=st.integers(0, 2**31 - 1))),
        "multiplier_hh": draw(arrays.arrays(np.int32, rows, elements=st.integers(0, 2**31 - 1))),
    }
    for half in ("weight_ih", "weight_hh"):
        weights[half][draw(st.integers(0, rows - 1))] = 0
    x = draw(arrays.arrays(np.int8, (3, 1, inputs), elements=bytes_))
    return {"size": size, "rows": rows, "x": x, "weights": weights, "shift": draw(st.integers(1, 26))}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_gru_is_its_text(data: st.DataObject) -> None:
    """Three frames of any layer, saturating or not."""
    made = data.draw(layers(3))
    weights, size = made["weights"], made["size"]
    wide = st.integers(-(2**24), 2**24)
    weights["bias_ih"] = data.draw(arrays.arrays(np.int32, made["rows"], elements=wide))
    weights["bias_hh"] = data.draw(arrays.arrays(np.int32, size, elements=wide))
    h = data.draw(arrays.arrays(np.int32, (1, size), elements=st.integers(-(2**30) + 1, 2**30 - 1)))
    k = data.draw(st.integers(7, 13))
    dtype = data.draw(st.sampled_from(("int8", "int16")))
    op = ops.QGRU(
        **dict.fromkeys((*weights, "x", "h"), "_"),
        name="",
        outputs=("y", "h'"),
        shift=made["shift"],
        h_shift=k,
        h_dtype=dtype,
    )
    order = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "multiplier_ih", "multiplier_hh")
    y, new = evaluate(op, made["x"], h, *(weights[name] for name in order), None)
    state, rows = [int(v) for v in h[0]], []
    for frame in made["x"][:, 0]:
        row, state = plain_gru(op, frame, state, weights)
        rows.append(row)
    assert y[:, 0].tolist() == rows
    assert new[0].tolist() == state


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_lstm_is_its_text(data: st.DataObject) -> None:
    """Three frames of any layer and cell range."""
    made = data.draw(layers(4))
    weights, size = made["weights"], made["size"]
    weights["bias"] = data.draw(arrays.arrays(np.int32, made["rows"], elements=st.integers(-(2**24), 2**24)))
    h = data.draw(arrays.arrays(np.int16, (1, size), elements=st.integers(-32767, 32767)))
    c = data.draw(arrays.arrays(np.int32, (1, size), elements=st.integers(-(2**30) + 1, 2**30 - 1)))
    op = ops.QLSTM(
        **dict.fromkeys((*weights, "x", "h", "c"), "_"),
        name="",
        outputs=("y", "h'", "c'"),
        shift=made["shift"],
        cell_exponent=data.draw(st.integers(0, 8)),
    )
    order = ("weight_ih", "weight_hh", "bias", "multiplier_ih", "multiplier_hh")
    y, new_h, new_c = evaluate(op, made["x"], h, c, *(weights[name] for name in order), None, None, None)
    state, cell, rows = [int(v) for v in h[0]], [int(v) for v in c[0]], []
    for frame in made["x"][:, 0]:
        row, state, cell = plain_lstm(op, frame, state, cell, weights)
        rows.append(row)
    assert y[:, 0].tolist() == rows
    assert new_h[0].tolist() == state
    assert new_c[0].tolist() == cell


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


@given(st.integers(-(2**15), 2**15 - 1), st.integers(7, 14))
def test_narrowing_rounds_half_up(h: int, shift: int) -> None:
    """Against Python's integers."""
    assert int(narrow(np.array(h), shift, "int8")) == plain_narrow(h, shift, 127)


@given(st.integers(-(2**61), 2**61), st.integers(1, 40))
def test_round_shift(x: int, shift: int) -> None:
    """Half up, at any size."""
    assert int(round_shift(np.array(x), shift)) == math.floor((x + 2 ** (shift - 1)) / 1) >> shift


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


@pytest.mark.parametrize("n", [1, 2, 15, 16, 160, 256, 400, 401])
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
        (rows,), shift = round_rows([weight], np.zeros(32), rounding, moments)
        real = rows.weight * rows.unit[:, None]
        assert not rows.weight[5].any()
        assert np.abs(rows.weight.astype(int)).max() <= 127
        errors[compensated] = np.mean((u @ (real - weight).T + shift) ** 2)
    assert errors[True] < errors[False] / 4


@given(st.integers(-32768, 32767), st.integers(-32768, 32767))
def test_mulhrs(a: int, b: int) -> None:
    """Against Python's integers."""
    assert int(mulhrs(np.array(a), np.array(b))) == plain_mulhrs(a, b)
