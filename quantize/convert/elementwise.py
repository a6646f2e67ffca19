"""Activations, limits, sums and products of two scales."""

from __future__ import annotations

import math
from typing import Any

from edgernn import ops
from edgernn.quantize.convert.converter import Converter, converts
from edgernn.quantize.convert.forms import Coded
from edgernn.quantize.convert.scales import GATE, UNIT, fixed_multiplier
from edgernn.quantize.reference.fixed import LIMITS, WORD


@converts(ops.Unary)
def unary(c: Converter, op: ops.Unary) -> None:
    """relu is a limit; sigmoid and tanh are tables of gates."""
    if op.kind == "relu":
        _limit(c, op, 0.0, math.inf)
        return
    code, result = c.as_left(op.x), op.outputs[0]
    if (code.dtype, code.scale) != ("int16", GATE):
        gate = Coded(f"{op.x}.gate", "int16", GATE)
        c.rescale(gate, code, -WORD - 1, WORD, like=op.x)
        code = gate
    made = Coded(f"{result}.q", "int16", UNIT)
    c.emit(ops.QUnary(name=op.name, outputs=(made.name,), x=code.name, kind=op.kind), result)
    c.leave(result, made)


@converts(ops.Clip)
def clip(c: Converter, op: ops.Clip) -> None:
    """Two limits."""
    _limit(c, op, op.low, op.high)


def _limit(c: Converter, op: ops.Unary | ops.Clip, low: float, high: float) -> None:
    result = op.outputs[0]
    if c.demand.joined(op):
        c.fuse(op.x, result)
        return
    dtype = c.demand.integer_dtype(result)
    made, limit = Coded(f"{result}.q", dtype, c.scale_of(result, dtype)), LIMITS[dtype]
    lowest, highest = round(max(-limit, low / made.scale)), round(min(limit, high / made.scale))
    c.rescale(made, c.as_left(op.x), lowest, highest, like=result, name=op.name)
    c.leave(result, made)


@converts(ops.Binary)
def binary(c: Converter, op: ops.Binary) -> None:
    """Two integer values of any scales."""
    result = op.outputs[0]
    dtype = c.demand.integer_dtype(result)
    made, limit = Coded(f"{result}.q", dtype, c.scale_of(result, dtype)), LIMITS[dtype]
    a, b = c.as_operand(op.a, dtype), c.as_operand(op.b, dtype)
    fields: dict[str, Any] = {"name": op.name, "outputs": (made.name,), "a": a.name, "b": b.name}
    fields |= {"low": -limit, "high": limit, "dtype": dtype}
    if op.kind == "mul":
        multiplier, shift = fixed_multiplier(a.scale * b.scale / made.scale)
        c.emit(ops.QMul(**fields, multiplier=multiplier, shift=shift), result)
    else:
        reals = a.scale / made.scale, (-1 if op.kind == "sub" else 1) * b.scale / made.scale
        _, shift = fixed_multiplier(max(map(abs, reals)))
        first, second = (round(real * 2.0**shift) for real in reals)
        c.emit(ops.QAdd(**fields, multiplier_a=first, multiplier_b=second, shift=shift), result)
    c.leave(result, made)
