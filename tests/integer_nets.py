"""Layers with random integer parameters, as no training would make them: every cell, odd sizes, both widths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgernn import ops
from edgernn.program import Array, Op, Program, Timing, Value
from edgernn.quantize.reference import LIMITS, evaluate
from edgernn.spec import InputSpec, OutputSpec, StateSpec, StreamSpec

GATES = {"QGRU": 3, "QLSTM": 4, "QRNN": 1}


@dataclass(frozen=True)
class Net:
    """A layer: `op` reads the one input `x` and writes `y`; states are zero at the start."""

    name: str
    op: Op
    program: Program
    seed: int

    def frames(self, steps: int) -> Array:
        """Input of so many steps, `[steps * frames, …]`: noise over the whole range, now and then at its limits."""
        port, random = self.program.spec.inputs[0], np.random.default_rng(self.seed)
        shape = (steps * port.shape[0], *port.shape[1:])
        if port.dtype == "float32":
            return random.standard_normal(shape).astype(np.float32)
        limit = LIMITS[port.dtype]
        x = np.clip(random.standard_normal(shape) * limit / 3, -limit, limit)
        x[random.random(shape[0]) < 0.02] = random.choice([-limit, 0, limit])
        return x.astype(port.dtype)

    def reference(self, frames: Array) -> Array:
        """The output for `frames`, from reset."""
        spec = self.program.spec
        states = {s.input: s.initial() for s in spec.states}
        values: dict[str, Any] = {"": None, **self.program.parameters, **states, "x": frames}
        return evaluate(self.op, *(values[name] for name in self.op.operands))[0]


def _program(op: Op, x: Value, states: dict[str, Value], parameters: dict[str, Array]) -> Program:
    """`states` are the op's old states by the names of the new ones."""
    operand_types = {"x": x, **{value.name: value for value in states.values()}}
    program = Program(
        StreamSpec(
            name="net",
            inputs=(InputSpec(name="x", dtype=x.dtype, shape=x.shape, batch_axis=None, hop=x.shape[0]),),
            outputs=(),
            states=tuple(
                StateSpec(input=old.name, output=new, shape=old.shape, dtype=old.dtype, init=0)
                for new, old in states.items()
            ),
            hop=x.shape[0],
            delay=0,
            latency=x.shape[0] - 1,
            receptive_field=None,
        ),
        operand_types,
        parameters,
        (op,),
    )
    types = op.infer(*(program.type_of(name) for name in op.operands))
    values = {name: Value(name, kind.dtype, kind.shape) for name, kind in zip(op.outputs, types, strict=True)}
    y = replace(values["y"], timing=Timing())
    output = OutputSpec(name="y", dtype=y.dtype, shape=y.shape, batch_axis=None)
    return replace(program, spec=replace(program.spec, outputs=(output,)), values={**operand_types, **values, "y": y})


def _bytes(random: np.random.Generator, *shape: int) -> Array:
    return random.integers(-127, 128, shape, dtype=np.int8)


def _multipliers(random: np.random.Generator, rows: int, reach: float, shift: int) -> Array:
    """Sums of size `reach` come to a few units of the gates; some rows saturate, some are zero."""
    usual = 2.0**shift * 8192 / max(reach, 1.0)
    spread = random.choice([0, 0.3, 1, 1, 8] if rows > 8 else [1], rows)
    return np.minimum(usual * spread, 2**31 - 1).astype(np.int32)


def cell(
    kind: str,
    inputs: int,
    hidden: int,
    out: int = 0,
    *,
    x: str = "int8",
    h: str = "int8",
    frames: int = 1,
    batch: int = 1,
) -> Net:
    """A recurrent layer; `out` makes a projection of an LSTM."""
    name = f"{kind} {inputs}-{hidden}" + (f"-{out}" if out else "") + f" {x} {h} {frames}x{batch}"
    seed = sum(map(ord, name))
    random, rows, size = np.random.default_rng(seed), GATES[kind] * hidden, out or hidden
    shift = int(random.integers(18, 27))
    h_shift = 13 if h == "int16" else int(random.integers(7, 11))
    sizes = {
        key: float(np.sqrt(width) * 73 * LIMITS[dtype] / 3)
        for key, width, dtype in (("ih", inputs, x), ("hh", size, h))
    }
    parameters = {
        "weight_ih": _bytes(random, rows, inputs),
        "weight_hh": _bytes(random, rows, size),
        "multiplier_ih": _multipliers(random, rows, sizes["ih"], shift),
        "multiplier_hh": _multipliers(random, rows, sizes["hh"], shift),
    }
    if rows > 8:
        parameters["weight_ih"][random.integers(rows)] = 0
    bias = random.integers(-20000, 20000, rows, dtype=np.int32)
    common: dict[str, Any] = {
        **{key: key for key in parameters},
        "name": "layer",
        "x": "x",
        "h": "h",
        "shift": shift,
        "h_dtype": h,
        "h_shift": h_shift,
        "y_dtype": str(random.choice(["int8", "int16"])),
        "y_shift": int(random.integers(7, 14)),
    }
    states = {"h_out": Value("h", "int32" if kind == "QGRU" else "int16", (batch, size))}
    op: Op
    if kind == "QGRU":
        parameters |= {"bias_ih": bias, "bias_hh": random.integers(-20000, 20000, hidden, dtype=np.int32)}
        op = ops.QGRU(outputs=("y", "h_out"), bias_ih="bias_ih", bias_hh="bias_hh", **common)
    elif kind == "QRNN":
        parameters["bias"] = bias
        op = ops.QRNN(outputs=("y", "h_out"), bias="bias", kind=str(random.choice(["tanh", "relu"])), **common)
    else:
        parameters["bias"] = bias
        if out:
            parameters["weight_hr"] = _bytes(random, out, hidden)
            parameters["multiplier_hr"] = _multipliers(random, out, np.sqrt(hidden) * 73 * 64 / 4, shift)
            common |= {"weight_hr": "weight_hr", "multiplier_hr": "multiplier_hr"}
        states["c_out"] = Value("c", "int32", (batch, hidden))
        exponent = int(random.integers(0, 9))
        op = ops.QLSTM(outputs=("y", "h_out", "c_out"), c="c", bias="bias", cell_exponent=exponent, **common)
    value = Value("x", x, (frames, batch, inputs), Timing())
    return Net(name, op, _program(op, value, states, parameters), seed)


def linear(inputs: int, out: int, *, x: str = "int8", y: str = "int8", rows: int = 1) -> Net:
    """A matrix product."""
    name = f"QLinear {inputs}-{out} {x} {y} {rows}"
    seed = sum(map(ord, name))
    random, shift = np.random.default_rng(seed), 26
    spread = int(np.sqrt(inputs) * 73 * LIMITS[x] / 3)
    scale: Array = _multipliers(random, out, spread * (64 if y == "int8" else 1), shift)
    if y == "float32":
        scale = random.standard_normal(out).astype(np.float32)
    parameters = {
        "weight": _bytes(random, out, inputs),
        "bias": random.integers(-spread, spread + 1, out, dtype=np.int32),
        "multiplier": scale,
    }
    limit = LIMITS.get(y, 0)
    op = ops.QLinear(
        name="layer",
        outputs=("y",),
        x="x",
        weight="weight",
        bias="bias",
        multiplier="multiplier",
        shift=shift,
        dtype=y,
        low=-limit,
        high=limit,
    )
    return Net(name, op, _program(op, Value("x", x, (1, rows, inputs), Timing()), {}, parameters), seed)


_SIZES = ((1, 1), (3, 5), (17, 33), (40, 64), (129, 100))
CELLS: tuple[Callable[[], Net], ...] = (
    *(lambda k=k, i=i, n=n: cell(k, i, n) for k in GATES for i, n in _SIZES),
    *(lambda k=k: cell(k, 20, 40, x="int16") for k in GATES),
    *(lambda k=k: cell(k, 20, 40, h="int16") for k in GATES),
    *(lambda k=k: cell(k, 33, 17, x="int16", h="int16") for k in GATES),
    *(lambda k=k: cell(k, 7, 19, frames=3, batch=2) for k in GATES),
    lambda: cell("QLSTM", 12, 48, 20),
    lambda: cell("QLSTM", 9, 33, 7, h="int16", batch=3),
    lambda: cell("QGRU", 4096, 3, x="int16"),
    lambda: cell("QLSTM", 3000, 5, x="int16"),
    lambda: cell("QRNN", 4096, 70),
)
LINEARS: tuple[Callable[[], Net], ...] = (
    *(
        lambda i=i, o=o, y=y: linear(i, o, y=y)
        for i, o in ((1, 1), (40, 12), (33, 130))
        for y in ("int8", "int16", "float32")
    ),
    lambda: linear(4096, 20),
    lambda: linear(100, 70, x="int16", rows=3),
    lambda: linear(4096, 9, x="int16", y="float32"),
)
