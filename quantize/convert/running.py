"""Sums, means and maxima of all frames since reset, and pooling over some of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgernn import ops
from edgernn.quantize.convert.converter import Converter, converts
from edgernn.quantize.convert.forms import Coded


@converts(ops.CumSum)
def cumsum(c: Converter, op: ops.CumSum) -> None:
    """Its total is int64 in the steps of its input."""
    code = c.as_integer(op.x, "int16")
    c.state(op.total, "int64", code.scale, 2**62)
    made = Coded(f"{op.outputs[0]}.q", "int64", code.scale)
    outputs = (made.name, op.outputs[1])
    c.emit(ops.CumSum(name=op.name, outputs=outputs, x=code.name, total=op.total, active=op.active), op.outputs[0])
    c.leave(op.outputs[0], made)
    c.leave(op.outputs[1], Coded(op.outputs[1], "int64", code.scale))


@converts(ops.RunningMean)
def running_mean(c: Converter, op: ops.RunningMean) -> None:
    """The sum of all frames in integers, which never drifts, over their number."""
    code = c.as_integer(op.x, "int16")
    c.state(op.mean, "int64", code.scale, 2**62)
    (result, state), total = op.outputs, f"{op.outputs[0]}.total"
    sum_ = ops.CumSum(
        name=f"{op.name}.sum", outputs=(f"{total}.q", state), x=code.name, total=op.mean, active=op.active
    )
    c.emit(sum_, result)
    scale = float(np.float32(code.scale))
    c.emit(ops.Dequantize(name=total, outputs=(total,), q=f"{total}.q", scale=scale), result)
    c.emit(ops.Binary(name=op.name, outputs=(result,), a=total, b=c.as_float(op.count), kind="div"), result)
    c.leave_float(result)


@converts(ops.CumMax)
def cummax(c: Converter, op: ops.CumMax) -> None:
    """In the integers of its input."""
    code, made = c.as_left(op.x), f"{op.outputs[0]}.q"
    c.state(op.largest, code.dtype, code.scale, np.iinfo(code.dtype).max)
    c.emit(replace(op, x=code.name, outputs=(made, op.outputs[1])), op.outputs[0])
    c.leave(op.outputs[0], replace(code, name=made))
    c.leave(op.outputs[1], replace(code, name=op.outputs[1]))


@converts(ops.Pool)
def pool(c: Converter, op: ops.Pool) -> None:
    """A maximum keeps the scale; a mean is a sum of finer steps."""
    code, made = c.as_left(op.window), f"{op.outputs[0]}.q"
    kind, share = (op.kind, 1) if op.kind == "max" else ("sum", op.size if op.kind == "mean" else 1)
    c.emit(replace(op, window=code.name, outputs=(made,), kind=kind), op.outputs[0])
    c.leave(op.outputs[0], Coded(made, c.dtype_of(made), code.scale / share, code.offset))
