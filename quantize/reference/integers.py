"""Borders, products and element-wise operations in integers."""

from __future__ import annotations

import numpy as np

from edgernn import ops
from edgernn.program import Array
from edgernn.quantize.reference.fixed import LIMITS, activate, clamp, product, round_shift
from edgernn.quantize.reference.ieee import flush
from edgernn.quantize.reference.registry import reference


@reference(ops.Quantize)
def quantize(op: ops.Quantize, x: Array, inverse: Array, offset: Array | None) -> tuple[Array, ...]:
    """Each step rounds to float32; clamping before the rounding to an integer gives the same as after it."""
    x = flush(x)
    x = x if offset is None else flush(x - offset)
    limit = LIMITS[op.dtype]
    scaled = np.nan_to_num(flush(x * inverse), nan=0.0, posinf=limit, neginf=-limit)
    return (np.rint(clamp(scaled, -limit, limit)).astype(op.dtype),)


@reference(ops.Dequantize)
def dequantize(op: ops.Dequantize, q: Array) -> tuple[Array, ...]:
    """The integer rounds to float32 first, then the product."""
    return (flush(q.astype(np.float32) * np.float32(op.scale)),)


@reference(ops.Rescale)
def rescale(op: ops.Rescale, q: Array) -> tuple[Array, ...]:
    """One product, one rounding; a total of hours is limited to what the product's 64 bits hold."""
    most = 2**62 // max(1, abs(op.multiplier))
    total = np.clip(q.astype(np.int64), -most, most) * op.multiplier
    return (clamp(round_shift(total, op.shift), op.low, op.high).astype(op.dtype),)


@reference(ops.Int4)
def int4(op: ops.Int4, packed: Array, step: Array) -> tuple[Array, ...]:
    """Unpack and multiply."""
    codes = np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(packed), -1).astype(np.int8) - np.int8(8)
    columns = int(np.prod(op.shape[1:]))
    steps = np.repeat(step, op.group, axis=1)[:, :columns]
    return ((codes[:, :columns] * steps).reshape(op.shape),)


def requantize(op: ops.QLinear | ops.QConv1d | ops.QConv2d, total: Array, multiplier: Array) -> Array:
    """Sums `[…, out]` as the operation's result."""
    if op.dtype == "float32":
        return flush(total.astype(np.float32) * multiplier)
    return clamp(round_shift(total * multiplier.astype(np.int64), op.shift), op.low, op.high).astype(op.dtype)


@reference(ops.QLinear)
def qlinear(op: ops.QLinear, x: Array, weight: Array, bias: Array, multiplier: Array) -> tuple[Array, ...]:
    """Sum, bias, one rounding."""
    return (requantize(op, product(x, weight) + bias, multiplier),)


@reference(ops.QConv1d)
def qconv1d(op: ops.QConv1d, window: Array, weight: Array, bias: Array, multiplier: Array) -> tuple[Array, ...]:
    """Each output frame is a matrix product per group."""
    out, inputs, taps = weight.shape
    grouped = weight.reshape(op.groups, out // op.groups, inputs * taps)
    rows = []
    for j in range(op.count):
        index = op.first + j * op.stride + op.dilation * np.arange(taps)
        frames = window[index].reshape(taps, window.shape[1], op.groups, inputs)
        flat = frames.transpose(2, 1, 3, 0).reshape(op.groups, window.shape[1], inputs * taps)
        total = (flat.astype(np.float64) @ grouped.astype(np.float64).swapaxes(1, 2)).astype(np.int64)
        rows.append(total.swapaxes(0, 1).reshape(window.shape[1], out))
    return (requantize(op, np.stack(rows) + bias, multiplier),)


@reference(ops.QConv2d)
def qconv2d(op: ops.QConv2d, window: Array, weight: Array, bias: Array, multiplier: Array) -> tuple[Array, ...]:
    """A matrix product per group over what each output reads."""
    taken, rows = op.take(window, weight.shape), op.by_group(weight)
    total = np.stack([product(taken[:, g], rows[g]) for g in range(op.groups)], axis=1)
    total = total + bias.reshape(op.groups, 1, 1, -1)
    return (op.give(requantize(op, total, multiplier.reshape(op.groups, 1, 1, -1))),)


@reference(ops.QUnary)
def qunary(op: ops.QUnary, x: Array) -> tuple[Array, ...]:
    """The table."""
    return (activate(x, op.kind).astype(np.int16),)


@reference(ops.QAdd)
def qadd(op: ops.QAdd, a: Array, b: Array) -> tuple[Array, ...]:
    """Both products are exact; their sum is rounded once."""
    total = a.astype(np.int64) * op.multiplier_a + b.astype(np.int64) * op.multiplier_b
    return (clamp(round_shift(total, op.shift), op.low, op.high).astype(op.dtype),)


@reference(ops.QMul)
def qmul(op: ops.QMul, a: Array, b: Array) -> tuple[Array, ...]:
    """The exact product, rounded once."""
    total = a.astype(np.int64) * b.astype(np.int64) * op.multiplier
    return (clamp(round_shift(total, op.shift), op.low, op.high).astype(op.dtype),)
