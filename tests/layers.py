"""Programs of one layer, made without PyTorch: for tests that need many of any size."""

from __future__ import annotations

from typing import Any

from edgernn import ops
from edgernn.program import Array, Program, Timing, Value
from edgernn.spec import InputSpec, OutputSpec, StateSpec, StreamSpec

CELLS: dict[str, tuple[Any, int]] = {"GRU": (ops.GRU, 3), "LSTM": (ops.LSTM, 4), "RNN": (ops.RNN, 1)}


def linear_program(weight: Array, bias: Array) -> Program:
    """`weight x + bias`, weight `[out, in]`."""
    op = ops.Linear(name="layer", outputs=("y",), x="x", weight="weight", bias="bias")
    return _program(op, {"weight": weight, "bias": bias}, weight.shape[1], weight.shape[0], ())


def cell_program(name: str, parameters: dict[str, Array], **fields: Any) -> Program:
    """A recurrent layer; parameters by the operation's fields: weight_ih, weight_hh, bias_ih, bias_hh, weight_hr."""
    cell, gates = CELLS[name]
    rows, inputs = parameters["weight_ih"].shape
    sizes = {"h": parameters["weight_hh"].shape[1]} | ({"c": rows // gates} if name == "LSTM" else {})
    states = tuple(
        StateSpec(input=f"state.{name}", output=f"state.{name}_out", shape=(1, size), dtype="float32", init=0.0)
        for name, size in sizes.items()
    )
    op = cell(
        name="layer",
        outputs=("y", *(state.output for state in states)),
        x="x",
        **{name: f"state.{name}" for name in sizes},
        **{name: name for name in parameters},
        **fields,
    )
    return _program(op, parameters, inputs, sizes["h"], states)


def _program(op: Any, parameters: dict[str, Array], inputs: int, out: int, states: tuple[StateSpec, ...]) -> Program:
    spec = StreamSpec(
        name="layer",
        inputs=(InputSpec(name="x", dtype="float32", shape=(1, 1, inputs), batch_axis=1, hop=1),),
        outputs=(OutputSpec(name="y", dtype="float32", shape=(1, 1, out), batch_axis=1),),
        states=states,
        hop=1,
        delay=0,
        latency=0,
        receptive_field=None,
    )
    values = [Value("x", "float32", (1, 1, inputs), Timing()), Value("y", "float32", (1, 1, out), Timing())]
    values += [Value(name, "float32", state.shape) for state in states for name in (state.input, state.output)]
    return Program(spec, {value.name: value for value in values}, dict(parameters), (op,))
