"""What is kept of all frames since reset: sums, means, largest values."""

from __future__ import annotations

import math

from ai_edge_litert import schema_py_generated as schema

from edgernn import ops
from edgernn.export.to_tflite.builder import Builder
from edgernn.export.to_tflite.graph import Tensor
from edgernn.export.to_tflite.rows import row
from edgernn.export.to_tflite.scales import shifted, unit_of


@row(ops.CumSum)
def cumsum(b: Builder, op: ops.CumSum) -> None:
    """The step's own sums on top of the total so far."""
    frames, total = b.shape(op.x)[0], b.get(op.total)
    inner = b.cast(b.get(op.x), total.dtype)
    if frames > 1:
        inner = b.make("CUMSUM", [inner, b.constant(0, "int32")], inner.shape, options=schema.CumsumOptionsT())
    y = b.binary("ADD", inner, total)
    last = b.reshape(b.slice(y, 0, frames - 1, frames), total.shape)
    b.put(op.outputs[0], y)
    b.put(op.outputs[1], b.held(op.active, last, total))


@row(ops.RunningMean)
def running_mean(b: Builder, op: ops.RunningMean) -> None:
    """Frame by frame."""
    mean, x, count, rows = _row(b, op.mean), b.get(op.x), b.get(op.count), []
    for frame in range(x.shape[0]):
        here, number = (b.slice(item, 0, frame, frame + 1) for item in (x, count))
        mean = b.binary("ADD", mean, b.binary("DIV", b.binary("SUB", here, mean), number))
        rows.append(mean)
    b.put(op.outputs[0], b.concat(rows, 0))
    b.put(op.outputs[1], b.held(op.active, mean, _row(b, op.mean)))


@row(ops.CumMax)
def cummax(b: Builder, op: ops.CumMax) -> None:
    """Frame by frame."""
    largest, x, rows = _row(b, op.largest), b.get(op.x), []
    if x.dtype == "int32":  # a sum, perhaps in finer steps than its state has
        x = shifted(b, x, round(math.log2(unit_of(largest) / unit_of(x))))
    for frame in range(x.shape[0]):
        largest = b.binary("MAXIMUM", largest, b.slice(x, 0, frame, frame + 1), scale=largest.scale)
        rows.append(largest)
    b.put(op.outputs[0], b.concat(rows, 0))
    b.put(op.outputs[1], b.held(op.active, largest, _row(b, op.largest)))


def _row(b: Builder, state: str) -> Tensor:
    """A state with an axis of one frame in front."""
    return b.get(state, (1, *b.shape(state)))
