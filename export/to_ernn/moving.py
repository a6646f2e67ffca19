"""Operations that move, count and select."""

from __future__ import annotations

import struct

import numpy as np

from edgernn import ops
from edgernn.export.to_ernn.builder import Builder, broadcast_strides, strides_of
from edgernn.export.to_ernn.rows import row
from edgernn.program import volume


@row(ops.Reshape)
def reshape(b: Builder, op: ops.Reshape) -> None:
    """The same elements under another name."""
    b.alias(op.outputs[0], b.value(op.x))


@row(ops.Transpose)
def transpose(b: Builder, op: ops.Transpose) -> None:
    """One strided copy."""
    shape = b.type(op.x).shape
    steps, result = strides_of(shape), [shape[axis] for axis in op.axes]
    b.copy(b.value(op.x), b.result(op.outputs[0]), result, [steps[axis] for axis in op.axes], strides_of(result))


@row(ops.Slice)
def slice_(b: Builder, op: ops.Slice) -> None:
    """One strided copy; backwards by indices."""
    shape = b.type(op.x).shape
    if op.stride < 0:
        _take(b, op.x, b.constant(np.arange(op.start, op.end, op.stride)), op.axis, op.outputs[0])
        return
    steps, result = strides_of(shape), b.type(op.outputs[0]).shape
    from_ = [step * (op.stride if axis == op.axis else 1) for axis, step in enumerate(steps)]
    start = op.start * steps[op.axis]
    b.copy(b.value(op.x), b.result(op.outputs[0]), result, from_, strides_of(result), start)


def _take(b: Builder, x: str, index: int, axis: int, name: str) -> None:
    shape = b.type(x).shape
    ids = b.slots[index].count
    attributes = (volume(shape[:axis]), shape[axis], volume(shape[axis + 1 :]), ids)
    b.node("take", (b.value(x), index), (b.result(name),), *attributes)


@row(ops.Gather)
def gather(b: Builder, op: ops.Gather) -> None:
    """Rows by index."""
    _take(b, op.x, b.value(op.index), op.axis, op.outputs[0])


@row(ops.Embedding)
def embedding(b: Builder, op: ops.Embedding) -> None:
    """Rows of a table by index."""
    _take(b, op.weight, b.value(op.ids), 0, op.outputs[0])


@row(ops.Concat)
def concat(b: Builder, op: ops.Concat) -> None:
    """One copy a part."""
    result = b.type(op.outputs[0]).shape
    to, y, at = strides_of(result), b.result(op.outputs[0]), 0
    for part in op.parts:
        shape = b.type(part).shape
        b.copy(b.value(part), y, shape, strides_of(shape), to, 0, at)
        at += shape[op.axis] * to[op.axis]


@row(ops.Expand)
def expand(b: Builder, op: ops.Expand) -> None:
    """A copy that stands still along repeated axes."""
    from_ = broadcast_strides(b.type(op.x).shape, op.shape)
    b.copy(b.value(op.x), b.result(op.outputs[0]), op.shape, from_, strides_of(op.shape))


@row(ops.Fill)
def fill(b: Builder, op: ops.Fill) -> None:
    """A constant."""
    b.alias(op.outputs[0], b.constant(np.full(op.shape, op.value, op.dtype)))


@row(ops.PadFeatures)
def pad_features(b: Builder, op: ops.PadFeatures) -> None:
    """The fill, then the elements."""
    x, y = b.type(op.x), b.type(op.outputs[0])
    value, to = b.result(op.outputs[0]), strides_of(y.shape)
    b.copy(b.constant(np.full(1, op.value, y.dtype)), value, y.shape, [0] * len(to), to)
    b.copy(b.value(op.x), value, x.shape, strides_of(x.shape), to, 0, op.before * to[op.axis])


@row(ops.History)
def history(b: Builder, op: ops.History) -> None:
    """Past and frames into the window; its end is the next past."""
    x, past = b.type(op.x), b.type(op.past)
    window, old = b.result(op.outputs[0]), b.value(op.past)
    kept, new = volume(past.shape), volume(x.shape)
    b.copy(old, window, [kept], [1], [1])
    b.copy(b.value(op.x), window, [new], [1], [1], 0, kept)
    b.copy(window, b.next_state(op.outputs[1], op.past), [kept], [1], [1], new)


@row(ops.Where)
def where(b: Builder, op: ops.Where) -> None:
    """Element by element."""
    shape = b.type(op.outputs[0]).shape
    spread = b.spread(shape, *(b.type(name).shape for name in (op.condition, op.a, op.b)))
    b.node("where", (b.value(op.condition), b.value(op.a), b.value(op.b)), (b.result(op.outputs[0]),), *spread)


@row(ops.Mask)
def mask(b: Builder, op: ops.Mask) -> None:
    """The frames, or the fill."""
    x = b.type(op.x)
    frames = (x.shape[0], *[1] * (len(x.shape) - 1))
    fill = b.constant(np.full(1, op.fill, x.dtype))
    spread = b.spread(x.shape, frames, x.shape, (1,))
    b.node("where", (b.value(op.valid), b.value(op.x), fill), (b.result(op.outputs[0]),), *spread)


@row(ops.Cast)
def cast(b: Builder, op: ops.Cast) -> None:
    """Element by element; to the same type, nothing."""
    if b.type(op.x).dtype == op.dtype:
        b.alias(op.outputs[0], b.value(op.x))
    else:
        b.node("cast", (b.value(op.x),), (b.result(op.outputs[0]),))


@row(ops.CountSteps)
def count_steps(b: Builder, op: ops.CountSteps) -> None:
    """The counter plus one."""
    one = b.constant(np.ones(1, np.int64))
    y = b.next_state(op.outputs[0], op.steps)
    b.node("binary", (b.value(op.steps), one), (y,), *b.spread((), (), ()), 0)


def _clock(op: ops.Validity | ops.Reflect) -> tuple[int, ...]:
    return op.frames, op.period, op.offset, op.delay, op.group, op.extra


@row(ops.Validity)
def validity(b: Builder, op: ops.Validity) -> None:
    """Counter and rest of the sequence against the frames."""
    ins = (b.value(op.steps), b.value(op.left))
    b.node("validity", ins, (b.result(op.outputs[0]),), *_clock(op), int(op.scalar))


@row(ops.FrameIndex)
def frame_index(b: Builder, op: ops.FrameIndex) -> None:
    """Start and step as float64, low word first."""
    words = [word for number in (op.start, op.step_size) for word in struct.unpack("<2I", struct.pack("<d", number))]
    b.node("frame_index", (b.value(op.steps),), (b.result(op.outputs[0]),), op.frames, *words)


@row(ops.Reflect)
def reflect(b: Builder, op: ops.Reflect) -> None:
    """Rows of the window by computed index."""
    shape = b.type(op.window).shape
    attributes = (*_clock(op), shape[0], volume(shape[1:]))
    ins = (b.value(op.window), b.value(op.steps), b.value(op.left))
    b.node("reflect", ins, (b.result(op.outputs[0]),), *attributes)
