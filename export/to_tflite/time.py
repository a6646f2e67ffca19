"""Operations that look at time: windows, counters, masks, convolutions, transforms."""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.to_tflite.builder import Builder
from edgernn.export.to_tflite.graph import Tensor
from edgernn.export.to_tflite.products import product
from edgernn.export.to_tflite.rows import row
from edgernn.program import Array

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
    if op.left:  # q - delay < (left + offset) // period
        tests.append((op.left, (q - op.delay + 1) * op.period - op.offset))
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
    fill = b.graph.constant(np.asarray(op.fill, x.dtype), x.scale)
    b.put(op.outputs[0], b.where(valid, x, fill))


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
    last = b.binary("ADD", length, b.constant(kept + op.delay - 1, "int64"))
    index = b.constant(np.arange(size), "int64")
    index = b.binary("ADD", first, _magnitude(b, b.binary("SUB", index, first)))
    index = b.binary("SUB", last, _magnitude(b, b.binary("SUB", last, index)))
    index = b.binary("MAXIMUM", b.binary("MINIMUM", index, b.constant(size - 1, "int64")), b.constant(0, "int64"))
    b.put(op.outputs[0], b.gather(window, index, 0))


def _magnitude(b: Builder, x: Tensor) -> Tensor:
    """|x| of int64, which ABS does not take."""
    return b.binary("MAXIMUM", x, b.unary("NEG", x))


@row(ops.Conv1d)
def conv1d(b: Builder, op: ops.Conv1d) -> None:
    """Without groups a product over the taps of each output frame, with them CONV_2D of height 1."""
    weight, bias = b.parameter(op.weight), b.parameter(op.bias) if op.bias else None
    out, inputs, taps = weight.shape
    if op.groups == 1:
        matrix = weight.transpose(0, 2, 1).reshape(out, taps * inputs)
        b.put(op.outputs[0], product(b, taken(b, op, taps), matrix, bias))
    else:
        b.put(op.outputs[0], grouped(b, op, weight, b.graph.constant(np.zeros(out, "f") if bias is None else bias)))


def taken(b: Builder, op: ops.Conv1d | ops.QConv1d, taps: int) -> Tensor:
    """What each output frame reads, `[count * batch, taps * in]`."""
    kept, batch, inputs = b.shape(op.window)
    span = (taps - 1) * op.dilation + 1
    if op.count == 1 and batch == 1:
        if kept == taps:
            return b.get(op.window, (1, taps * inputs))
        part = b.slice(b.get(op.window), 0, op.first, op.first + span, op.dilation)
        return b.reshape(part, (1, taps * inputs))
    index = op.first + op.stride * np.arange(op.count)[:, None] + op.dilation * np.arange(taps)
    frames = b.gather(b.get(op.window), b.constant(index, "int32"), 0)  # [count, taps, batch, in]
    frames = b.transpose(frames, (0, 2, 1, 3))
    return b.reshape(frames, (op.count * batch, taps * inputs))


def grouped(b: Builder, op: ops.Conv1d | ops.QConv1d, weight: Array, bias: Tensor) -> Tensor:
    """A float convolution with groups, `[count, batch, out]`."""
    out, inputs, taps = weight.shape
    batch, used = b.shape(op.window)[1], (op.count - 1) * op.stride + (taps - 1) * op.dilation + 1
    frames = b.transpose(b.slice(b.get(op.window), 0, op.first, op.first + used), (1, 0, 2))
    image = b.reshape(frames, (batch, used, 1, inputs * op.groups))
    depthwise = inputs == 1
    options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    options.padding = schema.Padding.VALID
    options.strideH, options.strideW = op.stride, 1 if op.stride == 1 or not depthwise else op.stride
    options.dilationHFactor = op.dilation
    shape = (batch, op.count, 1, out)
    if depthwise:
        options.depthMultiplier = out // op.groups
        matrix = b.graph.constant(weight.transpose(1, 2, 0)[:, :, None])  # [1, taps, 1, out]
        at_least = (2, "1.12.0") if op.dilation > 1 else None
        y = b.make("DEPTHWISE_CONV_2D", [image, matrix, bias], shape, options=options, at_least=at_least)
    else:
        matrix = b.graph.constant(weight.transpose(0, 2, 1)[:, :, None])  # [out, taps, 1, in]
        y = b.make("CONV_2D", [image, matrix, bias], shape, options=options, at_least=(6, "2.9.0"))
    return b.transpose(b.reshape(y, (batch, op.count, out)), (1, 0, 2))


@row(ops.STFT)
def stft(b: Builder, op: ops.STFT) -> None:
    """RFFT2D of one row, whose length must be a power of two."""
    taper = b.parameter(op.taper)
    n = len(taper)
    if n & (n - 1):
        raise UnsupportedError(
            f"TFLite's RFFT2D has no transform of {n} points",
            place=op.name,
            hint="use a power of two for n_fft; win_length may stay as it is",
        )
    batch = b.shape(op.samples)[1]
    samples = b.get(op.samples)
    if op.count == 1:
        pieces = b.slice(samples, 0, op.first, op.first + n)
        pieces = b.reshape(pieces, (1, n, batch)) if batch > 1 else b.reshape(pieces, (1, 1, n))
    else:
        index = op.first + op.stride * np.arange(op.count)[:, None] + np.arange(n)
        pieces = b.gather(samples, b.constant(index, "int32"), 0)  # [count, n, batch]
    if pieces.shape != (op.count, batch, n):
        pieces = b.transpose(pieces, (0, 2, 1))
    tapered = b.binary("MUL", pieces, b.constant(taper * np.float32(op.scale)))
    rows = b.reshape(tapered, (op.count * batch, 1, n))
    bins = n // 2 + 1
    spectra = b.make("RFFT2D", [rows, b.constant([1, n], "int32")], (op.count * batch, 1, bins), "complex64")
    shape = (op.count, batch, bins, 1)
    parts = [b.reshape(b.make(kind, [spectra], spectra.shape, "float32"), shape) for kind in ("REAL", "IMAG")]
    b.put(op.outputs[0], b.concat(parts, 3))
