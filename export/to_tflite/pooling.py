"""Pooling over time or a feature axis."""

from __future__ import annotations

from ai_edge_litert import schema_py_generated as schema

from edgernn import ops
from edgernn.export.to_tflite.builder import Builder
from edgernn.export.to_tflite.builtins import BUILTINS
from edgernn.export.to_tflite.graph import Tensor
from edgernn.export.to_tflite.rows import row
from edgernn.export.to_tflite.scales import as_wide
from edgernn.program import volume

_POOLS = {"max": "MAX_POOL_2D", "mean": "AVERAGE_POOL_2D", "sum": ""}
_REDUCTIONS = {"max": "REDUCE_MAX", "mean": "MEAN", "sum": "SUM"}


@row(ops.Pool)
def pool(b: Builder, op: ops.Pool) -> None:
    """TFLite's own; where it has none, what is pooled side by side and reduced. Sums of integers are int32."""
    x, shape = b.get(op.window), b.shape(op.outputs[0])
    if op.kind == "sum" and x.dtype != "float32":
        x = as_wide(b, x)
    end = op.first + (op.count - 1) * op.stride + (op.size - 1) * op.dilation + 1
    if op.size == 1:
        y = b.slice(x, op.axis, op.first, end, op.stride)
    elif op.dilation == 1 and x.dtype in BUILTINS.get(_POOLS[op.kind], {}):
        y = _pooled(b, op, b.slice(x, op.axis, op.first, end))
    else:
        before, behind = volume(x.shape[: op.axis]), volume(x.shape[op.axis + 1 :])
        if op.count == 1:
            x = b.slice(x, op.axis, op.first, end, op.dilation)
        else:
            x = b.gather(x, b.constant(op.index(), "int32"), op.axis)
        y = b.reduced(_REDUCTIONS[op.kind], b.reshape(x, (before, op.count, op.size, behind)), [2])
    b.put(op.outputs[0], y if y.shape == shape else b.reshape(y, shape))


def _pooled(b: Builder, op: ops.Pool, x: Tensor) -> Tensor:
    """MAX_POOL_2D or AVERAGE_POOL_2D: the axis as rows of one column, all axes behind it as channels."""
    before, behind = volume(x.shape[: op.axis]), volume(x.shape[op.axis + 1 :])
    options = schema.Pool2DOptionsT()
    options.padding = schema.Padding.VALID
    options.filterHeight, options.filterWidth = op.size, 1
    options.strideH, options.strideW = op.stride if op.count > 1 else 1, 1
    image = b.reshape(x, (before, x.shape[op.axis], 1, behind))
    return b.make(_POOLS[op.kind], [image], (before, op.count, 1, behind), options=options)
