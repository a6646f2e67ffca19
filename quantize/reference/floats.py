"""The float islands of an int8 file, exact: what is not quantized has one meaning too."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgernn import ops
from edgernn.ops.arithmetic import BINARY
from edgernn.program import Array
from edgernn.quantize.reference.functions import EXACT, exp, log, power, sigmoid, tanh
from edgernn.quantize.reference.ieee import dot, flush, lane_sum, matmul
from edgernn.quantize.reference.registry import reference

_F = np.float32
_ROUNDED = ("add", "sub", "mul", "div")


def _plus(x: Array, bias: Array | None) -> Array:
    return x if bias is None else flush(x + flush(bias))


@reference(ops.Unary)
def unary(op: ops.Unary, x: Array) -> tuple[Array, ...]:
    """Integers and bools are exact as they are."""
    if x.dtype != np.float32:
        return op.evaluate(x)
    return (np.asarray(EXACT[op.kind](flush(x)), np.float32),)


@reference(ops.Binary)
def binary(op: ops.Binary, a: Array, b: Array) -> tuple[Array, ...]:
    """One rounding."""
    if a.dtype != np.float32:
        return op.evaluate(a, b)
    a, b = flush(a), flush(b)
    if op.kind == "pow":
        return (power(a, b),)
    if op.kind in _ROUNDED:
        return (flush(BINARY[op.kind](a, b)),)
    return op.evaluate(a, b)


@reference(ops.Clip)
def clip(op: ops.Clip, x: Array) -> tuple[Array, ...]:
    """Comparisons only."""
    return op.evaluate(flush(x) if x.dtype == np.float32 else x)


@reference(ops.Cast)
def cast(op: ops.Cast, x: Array) -> tuple[Array, ...]:
    """Integers round to the nearest float32; float32 is cut towards zero."""
    return op.evaluate(x)


@reference(ops.FrameIndex)
def frame_index(op: ops.FrameIndex, steps: Array) -> tuple[Array, ...]:
    """In float64, rounded once."""
    return op.evaluate(steps)


@reference(ops.Linear)
def linear(op: ops.Linear, x: Array, weight: Array, bias: Array | None) -> tuple[Array, ...]:
    """A dot product, then the bias."""
    return (_plus(dot(x, weight), bias),)


@reference(ops.MatMul)
def matrix_product(op: ops.MatMul, a: Array, b: Array) -> tuple[Array, ...]:
    """Each element a dot product."""
    return (dot(a, b.T) if b.ndim == 2 else matmul(a, b),)


@reference(ops.Conv1d)
def conv1d(op: ops.Conv1d, window: Array, weight: Array, bias: Array | None) -> tuple[Array, ...]:
    """Each output a dot product over its group's `[in, taps]`."""
    out, inputs, taps = weight.shape
    per = out // op.groups
    flat = weight.reshape(op.groups, per, inputs * taps)
    rows = []
    for j in range(op.count):
        index = op.first + j * op.stride + op.dilation * np.arange(taps)
        frames = window[index].reshape(taps, window.shape[1], op.groups, inputs).transpose(2, 1, 3, 0)
        columns = frames.reshape(op.groups, window.shape[1], inputs * taps)
        rows.append(np.concatenate([dot(columns[g], flat[g]) for g in range(op.groups)], axis=-1))
    return (_plus(np.stack(rows), bias),)


@reference(ops.Conv2d)
def conv2d(op: ops.Conv2d, window: Array, weight: Array, bias: Array | None) -> tuple[Array, ...]:
    """Each output a dot product over its group's `[in, taps, width taps]`."""
    taken, rows = op.take(window, weight.shape), op.by_group(weight)
    sums = np.stack([dot(taken[:, g], rows[g]) for g in range(op.groups)], axis=1)
    return (op.give(_plus(sums, None if bias is None else bias.reshape(op.groups, 1, 1, -1))),)


@reference(ops.BatchNorm)
def batch_norm(
    op: ops.BatchNorm, x: Array, mean: Array, variance: Array, weight: Array | None, bias: Array | None
) -> tuple[Array, ...]:
    """x scale + shift, as the file's body has it."""
    scale = flush((_F(1) if weight is None else weight) / flush(np.sqrt(flush(variance + _F(op.eps)))))
    shift = _plus(-flush(mean * scale), bias)
    shape = (-1, *[1] * (x.ndim - 1 - op.axis))
    return (flush(flush(flush(x) * scale.reshape(shape)) + shift.reshape(shape)),)


@reference(ops.LayerNorm)
def layer_norm(op: ops.LayerNorm, x: Array, weight: Array | None, bias: Array | None) -> tuple[Array, ...]:
    """Mean, then mean square of what is left, both by division."""
    flat = flush(x.reshape(*x.shape[: x.ndim - op.axes], -1))
    count = _F(flat.shape[-1])
    centred = flush(flat - flush(lane_sum(flat) / count)[..., None])
    variance = flush(lane_sum(flush(centred * centred)) / count)
    y = flush(centred / flush(np.sqrt(flush(variance + _F(op.eps))))[..., None]).reshape(x.shape)
    return (_plus(y if weight is None else flush(y * weight), bias),)


@reference(ops.Softmax)
def softmax(op: ops.Softmax, x: Array) -> tuple[Array, ...]:
    """Shifted by the maximum."""
    x = np.moveaxis(flush(x), op.axis, -1)
    shifted = flush(x - x.max(-1, keepdims=True))
    powers = exp(shifted)
    total = lane_sum(powers)[..., None]
    y = flush(shifted - log(total)) if op.log else flush(powers / total)
    return (np.moveaxis(y, -1, op.axis),)


@reference(ops.Reduce)
def reduce(op: ops.Reduce, x: Array) -> tuple[Array, ...]:
    """Sums over the axes flattened in order; products one after the other."""
    if x.dtype != np.float32 or op.kind in ("max", "min"):
        return op.evaluate(flush(x) if x.dtype == np.float32 else x)
    axes = [axis % x.ndim for axis in op.axes]
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    flat = flush(x.transpose(*kept, *axes).reshape(*(x.shape[axis] for axis in kept), -1))
    if op.kind == "prod":
        y = flat[..., 0]
        for index in range(1, flat.shape[-1]):
            y = flush(y * flat[..., index])
    else:
        y = lane_sum(flat)
        y = flush(y / _F(flat.shape[-1])) if op.kind == "mean" else y
    return (np.asarray(np.expand_dims(y, tuple(axes)) if op.keepdims else y),)


@reference(ops.Pool)
def pool(op: ops.Pool, window: Array) -> tuple[Array, ...]:
    """A sum of floats runs tap by tap, and a mean is the sum divided."""
    window = flush(window) if window.dtype == np.float32 else window
    if window.dtype != np.float32 or op.kind == "max":
        return op.evaluate(window)
    taps = np.moveaxis(np.take(window, op.index(), axis=op.axis), op.axis + 1, 0)
    y = taps[0]
    for tap in taps[1:]:
        y = flush(y + tap)
    return (flush(y / _F(op.size)) if op.kind == "mean" else y,)


@reference(ops.CumSum)
def cumsum(op: ops.CumSum, x: Array, total: Array, active: Array | None) -> tuple[Array, ...]:
    """Frame by frame; integers are summed in the total's type."""
    old, rows = total, []
    for frame in x.astype(total.dtype):
        total = total + frame if total.dtype != np.float32 else flush(total + flush(frame))
        rows.append(total)
    return np.stack(rows), (total if active is None or active else old)


@reference(ops.CumMax)
def cummax(op: ops.CumMax, x: Array, largest: Array, active: Array | None) -> tuple[Array, ...]:
    """Of integers or floats."""
    if x.dtype == np.float32:
        x, largest = flush(x), flush(largest)
    return op.evaluate(x, largest, active)


@reference(ops.RunningMean)
def running_mean(op: ops.RunningMean, x: Array, mean: Array, count: Array, active: Array | None) -> tuple[Array, ...]:
    """Frame by frame: difference, quotient, sum."""
    old, rows = mean, []
    for frame, n in zip(flush(x), count, strict=True):
        mean = flush(mean + flush(flush(frame - mean) / n))
        rows.append(mean)
    return np.stack(rows), (mean if active is None or active else old)


@reference(ops.GRU)
def gru(op: ops.GRU, x: Array, h: Array, w_ih: Array, w_hh: Array, *rest: Array | None) -> tuple[Array, ...]:
    """A layer that was left in float."""
    b_ih, b_hh, active = rest
    old, rows = h, []
    for frame in _plus(dot(x, w_ih), b_ih):
        kept = _plus(dot(h, w_hh), b_hh)
        xr, xz, xn = np.split(frame, 3, axis=-1)
        hr, hz, hn = np.split(kept, 3, axis=-1)
        r, z = sigmoid(flush(xr + hr)), sigmoid(flush(xz + hz))
        n = tanh(flush(xn + flush(r * hn)))
        h = flush(flush(flush(_F(1) - z) * n) + flush(z * h))
        rows.append(h)
    return np.stack(rows), (h if active is None or active else old)


@reference(ops.LSTM)
def lstm(
    op: ops.LSTM, x: Array, h: Array, c: Array, w_ih: Array, w_hh: Array, *rest: Array | None
) -> tuple[Array, ...]:
    """A layer that was left in float."""
    b_ih, b_hh, w_hr, active = rest
    old, rows = (h, c), []
    for frame in _plus(dot(x, w_ih), b_ih):
        i, f, g, o = np.split(flush(frame + _plus(dot(h, w_hh), b_hh)), 4, axis=-1)
        c = flush(flush(sigmoid(f) * c) + flush(sigmoid(i) * tanh(g)))
        h = flush(sigmoid(o) * tanh(c))
        h = h if w_hr is None else dot(h, w_hr)
        rows.append(h)
    return np.stack(rows), *((h, c) if active is None or active else old)


@reference(ops.RNN)
def rnn(op: ops.RNN, x: Array, h: Array, w_ih: Array, w_hh: Array, *rest: Array | None) -> tuple[Array, ...]:
    """A layer that was left in float."""
    b_ih, b_hh, active = rest
    function: Any = EXACT[op.kind]
    old, rows = h, []
    for frame in _plus(dot(x, w_ih), b_ih):
        h = function(flush(frame + _plus(dot(h, w_hh), b_hh)))
        rows.append(h)
    return np.stack(rows), (h if active is None or active else old)
