"""Operations on float32, and the few on other integers that look alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgernn import ops
from edgernn.errors import ExportError
from edgernn.export.to_ernn.builder import Builder, strides_of
from edgernn.export.to_ernn.cells import GATES, Run
from edgernn.export.to_ernn.format import NONE
from edgernn.export.to_ernn.rows import row
from edgernn.ops.arithmetic import BINARY, UNARY
from edgernn.program import Array, Op, volume
from edgernn.quantize.reference import flush, twiddles

LANES = 16
UNARY_KINDS, BINARY_KINDS = tuple(UNARY), tuple(BINARY)
FLOAT_KINDS, NUMBER_KINDS, TRUTH_KINDS = ("float32",), ("float32", "int64", "int32"), ("bool",)
REDUCE_KINDS = ("sum", "mean", "max", "min", "prod")


def lanes(size: int) -> int:
    """Elements of a row padded to whole blocks of 16."""
    return -(-size // LANES) * LANES


def parameter(b: Builder, name: str) -> Array:
    """A weight: the engine lays it out anew, so it must be known now."""
    if name not in b.program.parameters:
        raise ExportError(f"`{name}` is computed in the stream; the engine needs a constant there", place=name)
    return b.program.parameters[name]


def panels(array: Array, gates: int = 1) -> Array:
    """Rows `[gates * size, in]` as `[panel][in][gate][16]`, zeros where rows end inside; a bias is one column."""
    size, width = len(array) // gates, array.shape[1]
    padded = np.zeros((gates, lanes(size), width), array.dtype)
    padded[:, :size] = array.reshape(gates, size, width)
    return np.ascontiguousarray(padded.reshape(gates, -1, LANES, width).transpose(1, 3, 0, 2))


def product(b: Builder, weight: Array, bias: str, gates: int = 1, groups: int = 1) -> tuple[int, int]:
    """The values of a float product's weight and bias, NONE for no bias."""
    parts = [panels(flush(part), gates).ravel() for part in np.split(weight.astype(np.float32), groups)]
    if not bias:
        return b.constant(np.concatenate(parts)), NONE
    shifts = [panels(part[:, None], gates).ravel() for part in np.split(parameter(b, bias), groups)]
    return b.constant(np.concatenate(parts)), b.constant(np.concatenate(shifts))


def require(op: Op, what: str, dtype: str, known: tuple[str, ...]) -> None:
    """Raise `ExportError` for a dtype that the engine's body does not take."""
    if dtype not in known:
        raise ExportError(f"the engine has no {what} of {dtype}", place=op.name, hint=f"cast to {known[0]} first")


@row(ops.Unary)
def unary(b: Builder, op: ops.Unary) -> None:
    """Element by element."""
    whole = op.kind in ("abs", "neg", "sign")
    require(
        op, op.kind, b.type(op.x).dtype, TRUTH_KINDS if op.kind == "not" else NUMBER_KINDS if whole else FLOAT_KINDS
    )
    b.node("unary", (b.value(op.x),), (b.result(op.outputs[0]),), UNARY_KINDS.index(op.kind))


@row(ops.Binary)
def binary(b: Builder, op: ops.Binary) -> None:
    """Element by element, broadcast."""
    a, other = b.type(op.a), b.type(op.b)
    kinds = FLOAT_KINDS if op.kind in ("div", "pow") else TRUTH_KINDS if op.kind in ("and", "or") else NUMBER_KINDS
    require(op, op.kind, a.dtype, kinds)
    spread = b.spread(b.type(op.outputs[0]).shape, a.shape, other.shape)
    b.node("binary", (b.value(op.a), b.value(op.b)), (b.result(op.outputs[0]),), *spread, BINARY_KINDS.index(op.kind))


@row(ops.Clip)
def clip(b: Builder, op: ops.Clip) -> None:
    """Two comparisons; of integers a maximum and a minimum."""
    x = b.type(op.x)
    if x.dtype == "float32":
        b.node("clip", (b.value(op.x),), (b.result(op.outputs[0]),), float(op.low), float(op.high))
        return
    info, count = np.iinfo(x.dtype), volume(x.shape)
    low, high = (np.full(1, min(max(limit, info.min), info.max), x.dtype) for limit in (op.low, op.high))
    middle, spread = b.new(x.dtype, count), b.spread((count,), (count,), (1,))
    b.node("binary", (b.value(op.x), b.constant(low)), (middle,), *spread, BINARY_KINDS.index("max"))
    b.node("binary", (middle, b.constant(high)), (b.result(op.outputs[0]),), *spread, BINARY_KINDS.index("min"))


@row(ops.BatchNorm)
def batch_norm(b: Builder, op: ops.BatchNorm) -> None:
    """x scale + shift, both known now; each rounds as the reference's."""
    x = b.type(op.x)
    mean, variance = parameter(b, op.mean), parameter(b, op.variance)
    scale = np.float32(1) if not op.weight else parameter(b, op.weight)
    scale = flush(scale / flush(np.sqrt(flush(variance + np.float32(op.eps)))))
    shift = -flush(mean * scale)
    shift = shift if not op.bias else flush(shift + flush(parameter(b, op.bias)))
    channel = (scale.size, *[1] * (len(x.shape) - 1 - op.axis))
    middle, spread = b.new("float32", volume(x.shape)), b.spread(x.shape, x.shape, channel)
    b.node("binary", (b.value(op.x), b.constant(scale)), (middle,), *spread, BINARY_KINDS.index("mul"))
    ins = (middle, b.constant(shift))
    b.node("binary", ins, (b.result(op.outputs[0]),), *spread, BINARY_KINDS.index("add"))


@row(ops.LayerNorm)
def layer_norm(b: Builder, op: ops.LayerNorm) -> None:
    """Over the last axes, which lie together."""
    shape = b.type(op.x).shape
    inner = volume(shape[len(shape) - op.axes :])
    ins = (b.value(op.x), b.value(op.weight), b.value(op.bias))
    b.node("layer_norm", ins, (b.result(op.outputs[0]),), volume(shape) // inner, inner, float(op.eps))


def moved_last(b: Builder, name: str, axes: list[int]) -> tuple[int, list[int]]:
    """An operand with `axes` behind all others, in memory too, and the order of its axes."""
    kind = b.type(name)
    order = [axis for axis in range(len(kind.shape)) if axis not in axes] + axes
    if order == sorted(order):
        return b.value(name), order
    steps, shape = strides_of(kind.shape), [kind.shape[axis] for axis in order]
    y = b.new(kind.dtype, volume(shape))
    b.copy(b.value(name), y, shape, [steps[axis] for axis in order], strides_of(shape))
    return y, order


@row(ops.Softmax)
def softmax(b: Builder, op: ops.Softmax) -> None:
    """Over the last axis, moved there and back."""
    shape = b.type(op.x).shape
    axis = op.axis % len(shape)
    x, order = moved_last(b, op.x, [axis])
    attributes = (volume(shape) // shape[axis], shape[axis], int(op.log))
    if order == sorted(order):
        b.node("softmax", (x,), (b.result(op.outputs[0]),), *attributes)
        return
    y = b.new("float32", volume(shape))
    b.node("softmax", (x,), (y,), *attributes)
    moved = [shape[a] for a in order]
    to = strides_of(shape)
    b.copy(y, b.result(op.outputs[0]), moved, strides_of(moved), [to[a] for a in order])


@row(ops.Reduce)
def reduce(b: Builder, op: ops.Reduce) -> None:
    """Over the last axes, moved there."""
    require(op, f"{op.kind} over", b.type(op.x).dtype, FLOAT_KINDS if op.kind == "mean" else NUMBER_KINDS)
    shape = b.type(op.x).shape
    axes = [axis % len(shape) for axis in op.axes]
    x, _ = moved_last(b, op.x, axes)
    inner = volume([shape[axis] for axis in axes])
    attributes = (volume(shape) // inner, inner, REDUCE_KINDS.index(op.kind))
    b.node("reduce", (x,), (b.result(op.outputs[0]),), *attributes)


@row(ops.Pool)
def pool(b: Builder, op: ops.Pool) -> None:
    """Row by row."""
    shape = b.type(op.window).shape
    sizes = (volume(shape[: op.axis]), shape[op.axis], volume(shape[op.axis + 1 :]))
    attributes = (op.count, op.first, op.stride, op.dilation, op.size, ("max", "mean", "sum").index(op.kind))
    b.node("pool", (b.value(op.window),), (b.result(op.outputs[0]),), *sizes, *attributes)


@row(ops.CumSum)
def cumsum(b: Builder, op: ops.CumSum) -> None:
    """Frame by frame."""
    shape = b.type(op.x).shape
    ins = (b.value(op.x), b.value(op.total), b.value(op.active))
    outs = (b.result(op.outputs[0]), b.next_state(op.outputs[1], op.total))
    b.node("cumsum", ins, outs, shape[0], volume(shape[1:]))


@row(ops.RunningMean)
@row(ops.CumMax)
def running(b: Builder, op: ops.RunningMean | ops.CumMax) -> None:
    """Frame by frame."""
    shape, state = b.type(op.x).shape, op.operands[1]
    outs = (b.result(op.outputs[0]), b.next_state(op.outputs[1], state))
    kind = "cummax" if isinstance(op, ops.CumMax) else "running_mean"
    b.node(kind, [b.value(name) for name in op.operands], outs, shape[0], volume(shape[1:]))


@row(ops.Linear)
def linear(b: Builder, op: ops.Linear) -> None:
    """All frames' rows."""
    shape, array = b.type(op.x).shape, parameter(b, op.weight)
    attributes = (volume(shape[:-1]), 1, shape[-1], len(array), shape[-1], 0)
    b.node("linear", (b.value(op.x), *product(b, array, op.bias)), (b.result(op.outputs[0]),), *attributes)


@row(ops.MatMul)
def matmul(b: Builder, op: ops.MatMul) -> None:
    """By a constant matrix as Linear; else with the right side transposed."""
    a, other, y = b.type(op.a), b.type(op.b), b.type(op.outputs[0])
    if op.b in b.program.parameters and len(other.shape) == 2:
        attributes = (volume(a.shape[:-1]), 1, a.shape[-1], other.shape[1], a.shape[-1], 0)
        ins = (b.value(op.a), *product(b, b.program.parameters[op.b].T, ""))
        b.node("linear", ins, (b.result(op.outputs[0]),), *attributes)
        return
    rows, width, out = a.shape[-2], a.shape[-1], other.shape[-1]
    lead = y.shape[:-2]
    left, right = b.new("float32", volume(lead) * rows * width), b.new("float32", volume(lead) * out * width)
    for name, shape, value, wanted in ((op.a, a.shape, left, (rows, width)), (op.b, other.shape, right, (width, out))):
        padded = (*[1] * (len(lead) + 2 - len(shape)), *shape)
        steps = strides_of(padded)
        from_ = [0 if size == 1 else step for size, step in zip(padded[:-2], steps[:-2], strict=True)]
        full, walk = [*lead, *wanted], [*from_, *steps[-2:]]
        if value == right:
            full, walk = [*lead, out, width], [*from_, steps[-1], steps[-2]]
        b.copy(b.value(name), value, full, walk, strides_of(full))
    b.node("matmul", (left, right), (b.result(op.outputs[0]),), volume(lead), rows, width, out)


def columns(b: Builder, op: Any, dtype: str, taps: int) -> tuple[int, tuple[int, ...]]:
    """The window's frames as rows of a matrix product `[group][in, taps]`; that value and its linear attributes."""
    _, batch, features = b.type(op.window).shape
    out, groups = b.type(op.outputs[0]).shape[2], op.groups
    wide = features // groups * taps
    if taps == 1 and batch == 1:
        start, stride = op.first * features, op.stride * features
        return b.value(op.window), (op.count, groups, wide, out // groups, stride, start)
    y = b.new(dtype, op.count * batch * features * taps)
    dims = [op.count, batch, features, taps]
    from_ = [op.stride * batch * features, features, 1, op.dilation * batch * features]
    b.copy(b.value(op.window), y, dims, from_, strides_of(dims), op.first * batch * features)
    return y, (op.count * batch, groups, wide, out // groups, features * taps, 0)


@row(ops.Conv1d)
def conv1d(b: Builder, op: ops.Conv1d) -> None:
    """A matrix product a frame."""
    array = parameter(b, op.weight)
    x, attributes = columns(b, op, "float32", array.shape[2])
    ins = (x, *product(b, array.reshape(len(array), -1), op.bias, groups=op.groups))
    b.node("linear", ins, (b.result(op.outputs[0]),), *attributes)


def patches(b: Builder, op: ops.Conv2d | ops.QConv2d, dtype: str) -> tuple[int, tuple[int, ...]]:
    """What each output reads, as rows `[group][in, taps, width taps]` of a matrix product, and its attributes."""
    window, weight_shape = b.type(op.window).shape, b.type(op.weight).shape
    out, _, taps, width_taps = weight_shape
    shape, (frame, image, channel, column) = op.shape(window, weight_shape), strides_of(window)
    if op.over_time:
        images, row, inputs = (window[1], image), frame, (window[2], channel)
    else:
        images, row, inputs = (window[0], frame), channel, (window[1], image)
    dims = [images[0], op.count, shape[3], inputs[0], taps, width_taps]
    from_ = [
        images[1],
        op.stride * row,
        op.width_stride * column,
        inputs[1],
        op.dilation * row,
        op.width_dilation * column,
    ]
    y = b.new(dtype, volume(dims))
    b.copy(b.value(op.window), y, dims, from_, strides_of(dims), op.first * row)
    wide = volume(dims[3:])
    return y, (volume(dims[:3]), op.groups, wide // op.groups, out // op.groups, wide, 0)


def give_images(b: Builder, op: ops.Conv2d | ops.QConv2d, rows: int) -> None:
    """Rows `[images, count, columns, out]` of a matrix product as the operation's result."""
    shape = b.type(op.outputs[0]).shape
    images, out = (shape[1], shape[2]) if op.over_time else shape[:2]
    dims = [images, op.count, shape[3], out]
    steps = strides_of(shape)
    to = [steps[1], steps[0], steps[3], steps[2]] if op.over_time else [steps[0], steps[2], steps[3], steps[1]]
    b.copy(rows, b.result(op.outputs[0]), dims, strides_of(dims), to)


@row(ops.Conv2d)
def conv2d(b: Builder, op: ops.Conv2d) -> None:
    """A matrix product a patch."""
    array = parameter(b, op.weight)
    x, attributes = patches(b, op, "float32")
    y = b.new("float32", volume(b.type(op.outputs[0]).shape))
    ins = (x, *product(b, array.reshape(len(array), -1), op.bias, groups=op.groups))
    b.node("linear", ins, (y,), *attributes)
    give_images(b, op, y)


def _cell(b: Builder, op: Any, rest: tuple[int, ...], kind: int = 0) -> None:
    run = Run(b, op)
    gates = GATES[run.kind]
    w_ih, b_ih = product(b, parameter(b, op.weight_ih), op.bias_ih, gates)
    w_hh, b_hh = product(b, parameter(b, op.weight_hh), op.bias_hh, gates)
    run.node((w_ih, w_hh, b_ih, b_hh, *rest), kind)


@row(ops.GRU)
def gru(b: Builder, op: ops.GRU) -> None:
    """Weights row by row."""
    _cell(b, op, (b.value(op.active),))


@row(ops.LSTM)
def lstm(b: Builder, op: ops.LSTM) -> None:
    """With the projection's weights, where there is one."""
    projection = product(b, parameter(b, op.weight_hr), "")[0] if op.weight_hr else NONE
    _cell(b, op, (projection, b.value(op.active)))


@row(ops.RNN)
def rnn(b: Builder, op: ops.RNN) -> None:
    """tanh or relu."""
    _cell(b, op, (b.value(op.active),), ("tanh", "relu").index(op.kind))


def levels(length: int) -> list[int]:
    """Lengths whose twiddles a real transform needs: its own, then those of each level."""
    found = [length]
    m = length if length % 2 else length // 2
    while m > 1:
        found.append(m)
        m //= next(p for p in range(2, m + 1) if m % p == 0)
    return found


@row(ops.STFT)
def stft(b: Builder, op: ops.STFT) -> None:
    """With the tapered window's factors and the transform's."""
    _, batch = b.type(op.samples).shape
    taper = parameter(b, op.taper)
    ins = (b.value(op.samples), b.constant(taper.astype(np.float32)), _factors(b, len(taper)))
    attributes = (op.count, batch, len(taper), op.first, op.stride, float(op.scale))
    b.node("stft", ins, (b.result(op.outputs[0]),), *attributes)


def _factors(b: Builder, length: int) -> int:
    factors = np.concatenate([part for n in levels(length) for part in twiddles(n)])
    return b.constant(factors.astype(np.float32))


@row(ops.IRFFT)
def irfft(b: Builder, op: ops.IRFFT) -> None:
    """All frames' spectra."""
    taper, (frames, batch, _, _) = parameter(b, op.taper), b.type(op.spectrum).shape
    ins = (b.value(op.spectrum), b.constant(taper.astype(np.float32)), _factors(b, len(taper)))
    scale = float(np.float32(op.scale) / np.float32(len(taper)))
    b.node("irfft", ins, (b.result(op.outputs[0]),), frames * batch, len(taper), scale)


@row(ops.OverlapAdd)
def overlap_add(b: Builder, op: ops.OverlapAdd) -> None:
    """Parts of the window's rows, added where they lie."""
    _, batch, length = b.type(op.window).shape
    dims, steps = (op.count, op.hop, batch), (batch * length, 1, length)
    window, size = b.value(op.window), volume((op.count, op.hop, batch))
    parts = op.parts(length)
    total = NONE
    for index, (row_, start) in enumerate(parts):
        last = index == len(parts) - 1
        part = b.result(op.outputs[0]) if last and total == NONE else b.new("float32", size)
        b.copy(window, part, dims, steps, strides_of(dims), row_ * batch * length + start)
        if total != NONE:
            both = b.result(op.outputs[0]) if last else b.new("float32", size)
            b.node("binary", (total, part), (both,), *b.spread((size,), (size,), (size,)), BINARY_KINDS.index("add"))
            part = both
        total = part
