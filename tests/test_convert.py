"""From float layers to integers: any size and scale, against bounds that the arithmetic promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgernn import ops
from edgernn.compare import snr_db
from edgernn.interpret import settled
from edgernn.program import Array, Program
from edgernn.quantize.api import make_options, quantize_program
from edgernn.quantize.convert import Options
from edgernn.quantize.moments import Moments
from edgernn.quantize.reference import evaluate
from edgernn.quantize.rounding import Rounding, round_rows
from edgernn.quantize.whole import run_whole

from layers import CELLS, cell_program, linear_program

_DEFAULT = Options()


def scaled_rows(random: np.random.Generator, rows: int, columns: int, decades: float) -> Array:
    """Normal weights, each row of a scale of its own; one row is zero."""
    weight = random.standard_normal((rows, columns)) / np.sqrt(columns)
    weight *= 10 ** random.uniform(-decades, 0, (rows, 1))
    weight[random.integers(rows)] = 0
    return weight.astype(np.float32)


def snr(program: Program, x: Array, options: Options = _DEFAULT) -> tuple[float, Program]:
    """SNR in dB of the integers over x `[frames, in]`, calibrated on it, and their program."""
    converted = quantize_program(program, [x], options).program
    values = run_whole(program, {"x": x[None]}), run_whole(converted, {"x": x[None]}, evaluate)
    return snr_db(*(item["y"] for item in values)), converted


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_linear_layer_is_within_its_steps(data: st.DataObject) -> None:
    """Plain rounding: no output is further off than half a step of every input and weight, at any scale."""
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    rows, columns = data.draw(st.integers(1, 9)), data.draw(st.sampled_from((1, 2, 33, 255, 4096)))
    weight = scaled_rows(random, rows, columns, data.draw(st.sampled_from((0, 8))))
    weight *= np.float32(10.0 ** data.draw(st.integers(-6, 6)))
    bias = (random.standard_normal(rows) * 10.0 ** data.draw(st.integers(-6, 6))).astype(np.float32)
    spread = 10 ** random.uniform(-3, 3, columns) * 10.0 ** data.draw(st.integers(-6, 6))
    x = ((random.uniform(-1, 1, (40, columns)) + random.uniform(-3, 3, columns)) * spread).astype(np.float32)
    options = make_options(
        rounding="plain",
        observer="minmax",
        weight_type=data.draw(st.sampled_from(("int8", "int4"))),
        activation_type=data.draw(st.sampled_from(("int8", "int16"))),
        per_tensor=data.draw(st.booleans()),
    )
    program = linear_program(weight, bias)
    converted = quantize_program(program, [x], options)
    found = run_whole(converted.program, {"x": x[None]}, evaluate)["y"].reshape(40, rows)
    wide = weight.astype(np.float64)
    wanted = x.astype(np.float64) @ wide.T + bias
    made = settled(converted.program, evaluate).parameters
    (step,) = (1 / array.astype(np.float64) for name, array in made.items() if name.endswith(".inverse"))
    units = converted.units["layer.weight"]
    missed = np.abs(made["layer.weight"] * units - wide)
    if options.rounding.weight_type == "int8":
        assert (missed <= units / 2 * 1.001).all()
    largest = np.abs(x).max(0)
    bound = step / 2 @ np.abs(wide).T + missed @ (2 * largest + step)
    bound += converted.units["layer.bias"] + 1e-5 * (np.abs(wide) @ largest + np.abs(bias))
    assert (np.abs(found - wanted) <= bound).all()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_cells_of_any_size_stay_close(data: st.DataObject) -> None:
    """Zero rows with a bias, rows of small scale, sizes that are no multiple of anything."""
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    kind = data.draw(st.sampled_from(sorted(CELLS)))
    gates, hidden, inputs = CELLS[kind][1], data.draw(st.integers(1, 13)), data.draw(st.integers(1, 17))
    fields = {"kind": data.draw(st.sampled_from(("tanh", "relu")))} if kind == "RNN" else {}
    decades = data.draw(st.sampled_from((0, 6)))
    parameters = {
        "weight_ih": scaled_rows(random, gates * hidden, inputs, decades),
        "weight_hh": scaled_rows(random, gates * hidden, hidden, decades) * np.float32(0.7),
        "bias_ih": random.standard_normal(gates * hidden).astype(np.float32),
        "bias_hh": random.standard_normal(gates * hidden).astype(np.float32),
    }
    if kind == "LSTM" and data.draw(st.booleans()):
        out = data.draw(st.integers(1, hidden))
        parameters["weight_hh"] = parameters["weight_hh"][:, :out].copy()
        parameters["weight_hr"] = scaled_rows(random, out, hidden, 0)
    scale = 10.0 ** data.draw(st.integers(-8, 8))
    parameters["weight_ih"] = (parameters["weight_ih"] / scale).astype(np.float32)
    x = (random.standard_normal((150, inputs)) * scale).astype(np.float32)
    options = Options(
        Rounding(data.draw(st.booleans()), "int8", data.draw(st.booleans())),
        data.draw(st.sampled_from(("int8", "int16"))),
    )
    program = cell_program(kind, parameters, **fields)
    wanted = run_whole(program, {"x": x[None]})["y"]
    found = run_whole(quantize_program(program, [x], options).program, {"x": x[None]}, evaluate)["y"]
    assert np.mean((wanted - found) ** 2) <= (0.03 * np.sqrt(np.mean(wanted**2)) + 0.01) ** 2


def gru_parameters(inputs: int, hidden: int, seed: int = 0) -> dict[str, Array]:
    """PyTorch's initial range."""
    random, reach = np.random.default_rng(seed), 1 / np.sqrt(hidden)
    shapes = {"weight_ih": (3 * hidden, inputs), "weight_hh": (3 * hidden, hidden)}
    shapes |= {"bias_ih": (3 * hidden,), "bias_hh": (3 * hidden,)}
    return {name: random.uniform(-reach, reach, shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("spread", [1e-3, 1e4])
def test_features_have_scales_and_offsets_of_their_own(spread: float) -> None:
    """Features of very different range and far from zero cost nothing: both fold into weights and bias."""
    random = np.random.default_rng(1)
    x = random.standard_normal((400, 12)).astype(np.float32)
    parameters = gru_parameters(12, 19)
    scale = np.geomspace(1, spread, 12)
    moved = ((x + 7 * np.sign(random.standard_normal(12))) * scale).astype(np.float32)
    offset = (moved.astype(np.float64) - x * scale)[0]
    apart = dict(parameters)
    apart["weight_ih"] = (parameters["weight_ih"] / scale).astype(np.float32)
    apart["bias_ih"] = (parameters["bias_ih"] - apart["weight_ih"] @ offset).astype(np.float32)
    together, _ = snr(cell_program("GRU", parameters), x)
    assert together > 36
    assert snr(cell_program("GRU", apart), moved)[0] > together - 0.5


@pytest.mark.parametrize(
    ("case", "widths"),
    [("normal input", ("int16", "int8")), ("no input weights", ("int8", "int16")), ("int4", ("int8", "int8"))],
)
def test_auto_widens_what_needs_it(case: str, widths: tuple[str, str]) -> None:
    """x where x loses most, h where only h matters, nothing where the weights lose more than both."""
    parameters = gru_parameters(64, 64)
    if case == "no input weights":
        parameters["weight_ih"] *= 0
    options = make_options(activation_type="auto", weight_type="int4" if case == "int4" else "int8")
    x = np.random.default_rng(2).standard_normal((400, 64)).astype(np.float32)
    program = cell_program("GRU", parameters)
    reached, converted = snr(program, x, options)
    (cell,) = (op for op in converted.ops if isinstance(op, ops.QGRU))
    assert (converted.values[cell.x].dtype, cell.h_dtype) == widths
    assert reached > snr(program, x, replace(options, activation_type="int16"))[0] - 1.2


@pytest.mark.parametrize("shared", [0.0, 3.0])
def test_moments_keep_what_is_not_chance(shared: float) -> None:
    """Covariances of independent columns vanish, those of dependent ones stay; the diagonal and the mean always do."""
    random = np.random.default_rng(3)
    u = random.standard_normal((600, 40)) + shared * random.standard_normal((600, 1)) + 2
    moments = Moments(40)
    for half in (0, 1):
        moments.add(u[half::2], half)
    ones = np.concatenate([u, np.ones((600, 1))], axis=1)
    exact, found = ones.T @ ones / 600, moments.shrunk()
    assert np.allclose(np.diag(found), np.diag(exact))
    assert np.allclose(found[-1], exact[-1])
    mean = exact[-1, :-1]
    kept = (found[:-1, :-1] - np.outer(mean, mean))[~np.eye(40, dtype=bool)]
    there = (exact[:-1, :-1] - np.outer(mean, mean))[~np.eye(40, dtype=bool)]
    share = float(kept @ there / (there @ there))
    assert share > 0.95 if shared else share < 0.15


def test_compensation_costs_nothing_where_nothing_is_shared() -> None:
    """On white input it is as good as plain rounding, however short the calibration."""
    random = np.random.default_rng(4)
    weight = random.standard_normal((64, 96))
    fresh = random.standard_normal((4000, 96))
    moments = Moments(96)
    moments.add(random.standard_normal((150, 96)))
    errors = {}
    for compensated in (True, False):
        (rows,), shift = round_rows([weight], [np.zeros(64)], Rounding(compensated), moments.shrunk())
        errors[compensated] = np.mean((fresh @ (rows.weight * rows.unit[:, None] - weight).T + shift) ** 2)
    assert errors[True] < errors[False] * 1.05


def test_observers_see_what_is_to_come() -> None:
    """One frame far out spoils the extremes but not the percentile; few frames of many features say more together."""
    random = np.random.default_rng(5)
    program = linear_program(random.standard_normal((6, 8)).astype(np.float32), np.zeros(6, np.float32))
    fresh = random.standard_normal((12_000, 8)).astype(np.float32)

    def reached(observer: str, calibration: Array) -> float:
        converted = quantize_program(program, [calibration], make_options(observer=observer)).program
        values = run_whole(program, {"x": fresh[None]}), run_whole(converted, {"x": fresh[None]}, evaluate)
        return snr_db(*(item["y"] for item in values))

    x = random.standard_normal((12_000, 8)).astype(np.float32)
    spoiled = np.concatenate([x[:1] * 30, x])
    assert reached("percentile", spoiled) > reached("minmax", spoiled) + 8
    assert reached("mse", x[:200]) > reached("minmax", x[:200]) + 3
    assert reached("mse", x) > 39


def test_ranges_are_those_of_a_stream() -> None:
    """A state that grows over the sequence has its late range, which no single step would show: h of a relu, c."""
    x = np.abs(np.random.default_rng(6).standard_normal((300, 1))).astype(np.float32)
    summing = {"weight_ih": np.ones((1, 1), "f"), "weight_hh": np.ones((1, 1), "f")}
    reached, converted = snr(cell_program("RNN", summing, kind="relu"), x)
    (cell,) = (op for op in converted.ops if isinstance(op, ops.QRNN))
    assert 2.0**cell.h_exponent > x.sum()
    assert reached > 15
    counting = {"weight_ih": np.array([[0], [0], [3], [0]], "f"), "weight_hh": np.zeros((4, 1), "f")}
    counting["bias_ih"] = np.array([9, 9, 0, 9], np.float32)  # in, kept, the value, out: gates are open
    _, converted = snr(cell_program("LSTM", counting), x)
    (cell,) = (op for op in converted.ops if isinstance(op, ops.QLSTM))
    assert 2.0**cell.cell_exponent > np.tanh(3 * x).sum()
