"""Operations that look at time: windows, counters, masks."""

from __future__ import annotations

import numpy as np

from edgernn import ops
from edgernn.export.to_tflite.builder import Builder
from edgernn.export.to_tflite.graph import Tensor
from edgernn.export.to_tflite.rows import row

_BELOW = -(2**24)  # int32 that no sum of int8 or int16 reaches
_FAR = 2**30  # what an int32 index is limited to before it is divided


@row(ops.History)
def history(b: Builder, op: ops.History) -> None:
    """Join, and keep the end."""
    frames = b.shape(op.x)[0]
    past = b.get(op.past)
    window = b.concat([past, b.get(op.x)], 0)
    b.put(op.outputs[0], window)
    b.put(op.outputs[1], b.slice(window, 0, frames, frames + past.shape[0]))


@row(ops.CountSteps)
def count_steps(b: Builder, op: ops.CountSteps) -> None:
    """steps + 1."""
    b.put(op.outputs[0], b.binary("ADD", b.get(op.steps), b.constant(1, "int64")))


@row(ops.Validity)
def validity(b: Builder, op: ops.Validity) -> None:
    """Both conditions solved for the counter and for `left`, so that each is one comparison."""
    q = np.arange(1 if op.scalar else op.frames)
    tests = []
    if op.steps:  # steps * frames + q >= delay
        tests.append((op.steps, -((q - op.delay) // op.frames)))
    if op.left:  # q - delay < (left + offset) // period * group + extra
        tests.append((op.left, ((q - op.delay - op.extra) // op.group + 1) * op.period - op.offset))
    checks = [
        b.binary("GREATER_EQUAL", b.get(name), b.constant(bound[0] if op.scalar else bound, "int64"))
        for name, bound in tests
    ]
    b.put(op.outputs[0], checks[0] if len(checks) == 1 else b.binary("LOGICAL_AND", *checks))


@row(ops.Mask)
def mask(b: Builder, op: ops.Mask) -> None:
    """SELECT_V2."""
    x = b.get(op.x)
    valid = b.get(op.valid, (x.shape[0], *[1] * (len(x.shape) - 1)))
    b.put(op.outputs[0], b.where(valid, x, filling(b, op.fill, x)))


def filling(b: Builder, value: float, x: Tensor) -> Tensor:
    """A constant among the elements of x, `value` in the Program's units; the least int32 could not be scaled."""
    steps = value / (x.scale or 1.0)
    return b.graph.constant(np.asarray(max(steps, _BELOW) if x.dtype == "int32" else steps, x.dtype), x.scale)


@row(ops.FrameIndex)
def frame_index(b: Builder, op: ops.FrameIndex) -> None:
    """In integers as long as start and step are: a float32 counter would stop at 2^24."""
    offsets, steps = np.arange(op.frames), b.get(op.steps)
    if op.start == int(op.start) and op.step_size == int(op.step_size):
        scaled = b.binary("MUL", steps, b.constant(op.frames * int(op.step_size), "int64"))
        index = b.binary("ADD", scaled, b.constant(int(op.start) + int(op.step_size) * offsets, "int64"))
        b.put(op.outputs[0], b.cast(index, op.dtype))
        return
    index = b.binary("ADD", b.binary("MUL", steps, b.constant(op.frames, "int64")), b.constant(offsets, "int64"))
    scaled = b.binary("MUL", b.cast(index, "float32"), b.constant(op.step_size))
    b.put(op.outputs[0], b.cast(b.binary("ADD", scaled, b.constant(op.start)), op.dtype))


@row(ops.Reflect)
def reflect(b: Builder, op: ops.Reflect) -> None:
    """A gather by mirrored indices."""
    window = b.get(op.window)
    size = window.shape[0]
    kept = size - op.frames
    passed = b.binary("MUL", b.get(op.steps), b.constant(op.frames, "int64"))
    first = b.binary("SUB", b.constant(kept + op.delay, "int64"), passed)
    near = b.binary("MINIMUM", b.get(op.left), b.constant(_FAR, "int64"))
    length = b.binary("ADD", near, b.constant(op.offset, "int64"))
    if op.period > 1:  # FLOOR_DIV has no int64
        length = b.binary("FLOOR_DIV", b.cast(length, "int32"), b.constant(op.period, "int32"))
        length = b.cast(length, "int64")
    if op.group > 1:
        length = b.binary("MUL", length, b.constant(op.group, "int64"))
    last = b.binary("ADD", length, b.constant(op.extra + kept + op.delay - 1, "int64"))
    index = b.constant(np.arange(size), "int64")
    index = b.binary("ADD", first, _magnitude(b, b.binary("SUB", index, first)))
    index = b.binary("SUB", last, _magnitude(b, b.binary("SUB", last, index)))
    index = b.binary("MAXIMUM", b.binary("MINIMUM", index, b.constant(size - 1, "int64")), b.constant(0, "int64"))
    b.put(op.outputs[0], b.gather(window, index, 0))


def _magnitude(b: Builder, x: Tensor) -> Tensor:
    """|x| of int64, which ABS does not take."""
    return b.binary("MAXIMUM", x, b.unary("NEG", x))
