"""Operations that only move integers: what they moved keeps its scale."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgernn import ops
from edgernn.quantize.convert.converter import Converter, converts
from edgernn.quantize.convert.forms import Coded
from edgernn.quantize.reference.fixed import LIMITS


@converts(ops.Embedding)
def embedding(c: Converter, op: ops.Embedding) -> None:
    """An int8 table of one scale."""
    table = c.weight(op.weight)
    scale = float(np.float32(max(np.abs(table).max(), 1e-12) / 127))
    weight = c.parameter(f"{op.name}.weight", np.rint(table / scale).astype(np.int8))
    c.units[weight] = np.broadcast_to(scale, table.shape)
    made = Coded(f"{op.outputs[0]}.q", "int8", scale)
    c.emit(ops.Embedding(name=op.name, outputs=(made.name,), ids=op.ids, weight=weight), op.outputs[0])
    c.leave(op.outputs[0], made)


@converts(ops.History)
def history(c: Converter, op: ops.History) -> None:
    """Its past is in the integers of its input."""
    dtype = "int16" if c.demand.dtype(op.outputs[0]) == "int16" else "int8"
    code = c.as_factor(op.x, dtype, centred=False)
    c.state(op.past, dtype, code.scale, LIMITS[dtype])
    outputs = (f"{op.outputs[0]}.q", op.outputs[1])
    c.emit(ops.History(name=op.name, outputs=outputs, x=code.name, past=op.past), op.outputs[0])
    c.leave(op.outputs[0], replace(code, name=outputs[0]))
    c.leave(op.outputs[1], replace(code, name=op.outputs[1]))


@converts(ops.Concat)
def concat(c: Converter, op: ops.Concat) -> None:
    """All parts come to one scale."""
    result = op.outputs[0]
    dtype = c.demand.integer_dtype(result)
    made, parts = Coded(f"{result}.q", dtype, c.scale_of(result, dtype)), []
    for name in op.parts:
        code = c.as_operand(name, dtype)
        same = (code.dtype, code.scale) == (dtype, made.scale)
        parts.append(code if same else c.rescaled(name, code, made.scale, dtype))
    c.emit(replace(op, outputs=(made.name,), parts=tuple(part.name for part in parts)), result)
    c.leave(result, made)


@converts(ops.Slice, ops.Reshape, ops.Transpose, ops.Gather, ops.Expand, ops.PadFeatures, ops.Mask)
def move(c: Converter, op: Any) -> None:
    """Padding and masks fill with 0, which is 0 in any scale, or with what is below everything."""
    code, made = c.as_left(op.x), f"{op.outputs[0]}.q"
    fields: dict[str, Any] = {"x": code.name, "outputs": (made,)}
    if isinstance(op, ops.Gather):
        c.parameter(op.index, c.program.parameters[op.index])
    if isinstance(op, (ops.Mask, ops.PadFeatures)):
        field = "fill" if isinstance(op, ops.Mask) else "value"
        fields[field] = 0.0 if getattr(op, field) == 0 else float(-np.iinfo(code.dtype).max)
    c.emit(replace(op, **fields), op.outputs[0])
    c.leave(op.outputs[0], replace(code, name=made))
