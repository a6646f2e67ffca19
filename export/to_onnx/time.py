"""Bodies of the operations that look at time: windows, counters, masks, convolutions, transforms."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgernn import ops
from edgernn.export.to_onnx.body import ONNX_TYPES, Body, body_of

_FAR = 2**20  # periods added so that an integer division is of a positive number: ONNX rounds towards zero


@body_of(ops.History)
def history(body: Body, op: ops.History) -> list[str]:
    """Join, and keep the end."""
    frames, kept = body.type("x").shape[0], body.type("past").shape[0]
    window = body.node("Concat", "past", "x", axis=0)
    return [window, body.slice(window, 0, frames, frames + kept)]


@body_of(ops.CountSteps)
def count_steps(body: Body, op: ops.CountSteps) -> list[str]:
    """steps + 1."""
    return [body.node("Add", "steps", body.constant(1))]


@body_of(ops.Validity)
def validity(body: Body, op: ops.Validity) -> list[str]:
    """Both conditions solved for the counter and for `left`, so that each is one comparison."""
    q = np.arange(1 if op.scalar else op.frames)
    tests = []
    if op.steps:
        first = -((q - op.delay) // op.frames)  # steps * frames + q >= delay
        tests.append(("steps", first))
    if op.left:
        # q - delay < (left + offset) // period * group + extra
        tests.append(("left", ((q - op.delay - op.extra) // op.group + 1) * op.period - op.offset))
    checks = [
        body.node("GreaterOrEqual", name, body.constant(bound[0] if op.scalar else bound)) for name, bound in tests
    ]
    return [checks[0] if len(checks) == 1 else body.node("And", *checks)]


@body_of(ops.Mask)
def mask(body: Body, op: ops.Mask) -> list[str]:
    """Where."""
    x = body.type("x")
    valid = "valid"
    if x.shape[0] > 1 and len(x.shape) > 1:
        valid = body.reshape(valid, (-1, *[1] * (len(x.shape) - 1)))
    return [body.where(valid, "x", body.constant(op.fill, x.dtype), x.dtype)]


@body_of(ops.FrameIndex)
def frame_index(body: Body, op: ops.FrameIndex) -> list[str]:
    """In integers as long as start and step are: a float32 counter would stop at 2^24."""
    offsets = np.arange(op.frames)
    if op.start == int(op.start) and op.step_size == int(op.step_size):
        scaled = body.node("Mul", "steps", body.constant(op.frames * int(op.step_size)))
        index = body.node("Add", scaled, body.constant(int(op.start) + int(op.step_size) * offsets))
        return [index if op.dtype == "int64" else _cast(body, index, op.dtype)]
    index = body.node("Add", body.node("Mul", "steps", body.constant(op.frames)), body.constant(offsets))
    scaled = body.node("Mul", _cast(body, index, "float32"), body.constant(op.step_size, "float32"))
    return [_cast(body, body.node("Add", scaled, body.constant(op.start, "float32")), op.dtype)]


@body_of(ops.CumSum)
def cumsum(body: Body, op: ops.CumSum) -> list[str]:
    """The step's own sums on top of the total so far."""
    frames, total = body.type("x").shape[0], body.type("total").dtype
    x = "x" if body.type("x").dtype == total else body.cast("x", total)
    inner = x if frames == 1 else body.node("CumSum", x, body.constant(0))
    y = body.node("Add", inner, "total")
    last = body.squeeze(y if frames == 1 else body.slice(y, 0, frames - 1, frames), 0)
    return [y, body.held(last, "total")]


@body_of(ops.RunningMean)
def running_mean(body: Body, op: ops.RunningMean) -> list[str]:
    """Frame by frame."""
    mean, rows = body.unsqueeze("mean", 0), []
    for frame in range(body.type("x").shape[0]):
        x, count = (body.slice(name, 0, frame, frame + 1) for name in ("x", "count"))
        mean = body.node("Add", mean, body.node("Div", body.node("Sub", x, mean), count))
        rows.append(mean)
    return [_joined(body, rows), body.held(body.squeeze(mean, 0), "mean")]


@body_of(ops.CumMax)
def cummax(body: Body, op: ops.CumMax) -> list[str]:
    """Frame by frame, in a type that `Max` takes."""
    x = body.type("x")
    wide = x.dtype if x.dtype in ("float32", "int64", "int32") else "int32"
    largest, frames = (name if wide == x.dtype else body.cast(name, wide) for name in ("largest", "x"))
    largest, rows = body.unsqueeze(largest, 0), []
    for frame in range(x.shape[0]):
        largest = body.node("Max", largest, body.slice(frames, 0, frame, frame + 1))
        rows.append(largest)
    y, last = _joined(body, rows), body.squeeze(largest, 0)
    if wide != x.dtype:
        y, last = body.cast(y, x.dtype), body.cast(last, x.dtype)
    return [y, body.held(last, "largest")]


def _joined(body: Body, rows: list[str]) -> str:
    return rows[0] if len(rows) == 1 else body.node("Concat", *rows, axis=0)


@body_of(ops.Reflect)
def reflect(body: Body, op: ops.Reflect) -> list[str]:
    """A gather by mirrored indices."""
    size = body.type("window").shape[0]
    kept = size - op.frames
    passed = body.node("Mul", "steps", body.constant(op.frames))
    first = body.node("Sub", body.constant(kept + op.delay), passed)
    groups = body.node("Add", "left", body.constant(op.offset + _FAR * op.period))
    if op.period > 1:
        groups = body.node("Div", groups, body.constant(op.period))
    if op.group > 1:
        groups = body.node("Mul", groups, body.constant(op.group))
    last = body.node("Add", groups, body.constant(op.extra + kept + op.delay - 1 - _FAR * op.group))
    index = body.constant(np.arange(size))
    index = body.node("Add", first, body.node("Abs", body.node("Sub", index, first)))
    index = body.node("Sub", last, body.node("Abs", body.node("Sub", last, index)))
    inside = body.node("Clip", index, body.constant(0), body.constant(size - 1))
    return [body.node("Gather", "window", inside, axis=0)]


@body_of(ops.Conv1d)
def conv1d(body: Body, op: ops.Conv1d) -> list[str]:
    """One output frame is one matrix product over the window's taps; several are an ONNX `Conv`."""
    window, weight = body.type("window").shape, body.type("weight").shape
    out, inputs, taps = weight
    bias = ["bias"] if op.bias else []
    span = (taps - 1) * op.dilation + 1
    used = (op.count - 1) * op.stride + span
    frames = "window"
    if op.count == 1 and op.groups == 1 and window[1] == 1:
        if window[0] != taps:
            frames = body.slice(frames, 0, op.first, op.first + span, op.dilation)
        row = body.reshape(frames, (1, taps * inputs))
        matrix = body.reshape(body.node("Transpose", "weight", perm=[0, 2, 1]), (out, taps * inputs))
        return [body.reshape(body.node("Gemm", row, matrix, *bias, transB=1), (1, 1, out))]
    if window[0] != used:
        frames = body.slice(frames, 0, op.first, op.first + used)
    channels = body.node("Transpose", frames, perm=[1, 2, 0])
    sizes = {"strides": [op.stride], "dilations": [op.dilation], "kernel_shape": [taps]}
    y = body.node("Conv", channels, "weight", *bias, group=op.groups, **sizes)
    return [body.node("Transpose", y, perm=[2, 0, 1])]


@body_of(ops.Conv2d)
def conv2d(body: Body, op: ops.Conv2d) -> list[str]:
    """An ONNX `Conv` over the rows that are read."""
    images = patches(body, op, "window")
    y = body.node("Conv", images, "weight", *(["bias"] if op.bias else []), **conv2d_sizes(body, op))
    return [body.node("Transpose", y, perm=[2, 0, 1, 3]) if op.over_time else y]


def patches(body: Body, op: ops.Conv2d | ops.QConv2d, window: str) -> str:
    """A window as `[images, in, rows, width]`, without the rows that nothing reads."""
    used = (op.count - 1) * op.stride + (body.type("weight").shape[2] - 1) * op.dilation + 1
    axis = 0 if op.over_time else 2
    if body.type("window").shape[axis] != used:
        window = body.slice(window, axis, op.first, op.first + used)
    return body.node("Transpose", window, perm=[1, 2, 0, 3]) if op.over_time else window


def conv2d_sizes(body: Body, op: ops.Conv2d | ops.QConv2d) -> dict[str, Any]:
    """The attributes of its `Conv`."""
    return {
        "strides": [op.stride, op.width_stride],
        "dilations": [op.dilation, op.width_dilation],
        "kernel_shape": list(body.type("weight").shape[2:]),
        "group": op.groups,
    }


@body_of(ops.Pool)
def pool(body: Body, op: ops.Pool) -> list[str]:
    """What is pooled side by side, and a reduction; in 32 bits, which all of them take."""
    dtype = body.type("window").dtype
    window = "window" if dtype == "float32" else body.cast("window", "int32")
    taken = body.node("Gather", window, body.constant(op.index()), axis=op.axis)
    y = body.node(f"Reduce{op.kind.capitalize()}", taken, body.constant([op.axis + 1]), keepdims=0)
    return [y if dtype == "float32" or op.kind == "sum" else body.cast(y, dtype)]


@body_of(ops.STFT)
def stft(body: Body, op: ops.STFT) -> list[str]:
    """ONNX `STFT` over the samples that this step's spectra need."""
    samples, n_fft = body.type("samples").shape, body.type("taper").shape[0]
    used = (op.count - 1) * op.stride + n_fft
    signal = "samples" if samples[0] == used else body.slice("samples", 0, op.first, op.first + used)
    batch = samples[1]
    if batch == 1:
        signal = body.reshape(signal, (1, used, 1))
    else:
        signal = body.unsqueeze(body.node("Transpose", signal, perm=[1, 0]), 2)
    spectra = body.node("STFT", signal, body.constant(op.stride), "taper", body.constant(n_fft), onesided=1)
    if op.scale != 1.0:
        spectra = body.node("Mul", spectra, body.constant(op.scale, "float32"))
    if batch == 1:
        return [body.reshape(spectra, (op.count, 1, n_fft // 2 + 1, 2))]
    return [body.node("Transpose", spectra, perm=[1, 0, 2, 3])]


@body_of(ops.IRFFT)
def irfft(body: Body, op: ops.IRFFT) -> list[str]:
    """ONNX `DFT` backwards, over the spectrum and its mirror; a real signal is the real part."""
    frames, batch, bins, _ = body.type("spectrum").shape
    n = body.type("taper").shape[0]
    spectrum = body.reshape("spectrum", (frames * batch, bins, 2))
    mirror = body.node("Mul", body.slice(spectrum, 1, (n - 1) // 2, 0, -1), body.constant([1, -1], "float32"))
    whole = body.node("Concat", spectrum, mirror, axis=1)
    samples = body.node("DFT", whole, "", body.constant(1), inverse=1)
    real = body.reshape(body.slice(samples, 2, 0, 1), (frames, batch, n))
    taper = "taper" if op.scale == 1.0 else body.node("Mul", "taper", body.constant(op.scale, "float32"))
    return [body.node("Mul", real, taper)]


@body_of(ops.OverlapAdd)
def overlap_add(body: Body, op: ops.OverlapAdd) -> list[str]:
    """Slices added."""
    total = ""
    for row, start in op.parts(body.type("window").shape[2]):
        part = body.slice(body.slice("window", 0, row, row + op.count), 2, start, start + op.hop)
        total = body.node("Add", total, part) if total else part
    batch = body.type("window").shape[1]
    if batch > 1:
        total = body.node("Transpose", total, perm=[0, 2, 1])
    return [body.reshape(total, (op.count * op.hop, batch))]


def _cast(body: Body, x: str, dtype: str) -> str:
    return body.node("Cast", x, to=ONNX_TYPES[dtype])
