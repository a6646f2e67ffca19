"""Float32 arithmetic with the same bits on every machine: one rounding an operation, no FMA, subnormals are zero.

Sums over an axis run in 16 lanes: lane `l` adds elements `l`, `l + 16`, … in order; then the upper half of the lanes
is added to the lower one, four times. Elements missing at the end are +0. The sum of a matrix product starts at +0 and
adds the products in the order of the columns, so that many rows can share a register.
"""

from __future__ import annotations

import numpy as np

from edgernn.program import Array

LANES = 16
SMALLEST = np.float32(2.0**-126)
_SAFE = (
    2.0**-102
)  # products of at least this size are multiples of 2^-125, and so is every sum of them: none is subnormal
_CHUNK = 1 << 22  # products held at a time


def flush(x: Array) -> Array:
    """x as float32 with subnormals as zeros of their sign: some machines flush them, so all do."""
    x = np.asarray(x, np.float32)
    small = np.abs(x) < SMALLEST
    return np.where(small, np.copysign(np.float32(0), x), x) if small.any() else x


def lane_sum(x: Array) -> Array:
    """Sum over the last axis."""
    blocks = _blocks(x)
    total = blocks[..., 0, :]
    for index in range(1, blocks.shape[-2]):
        total = flush(total + blocks[..., index, :])
    return _fold(total)


def dot(x: Array, weight: Array) -> Array:
    """`x weightᵀ` over the last axes: x `[…, in]`, weight `[out, in]`; each product rounds before it is added."""
    rows, columns = flush(x.reshape(-1, x.shape[-1])), flush(weight)
    size = max(1, _CHUNK // max(1, columns.size))
    parts = [_in_order(rows[at : at + size, None], columns[None]) for at in range(0, len(rows), size)]
    return np.concatenate(parts).reshape(*x.shape[:-1], len(weight))


def matmul(a: Array, b: Array) -> Array:
    """`a @ b` over the last two axes, leading ones broadcast."""
    return _in_order(flush(a)[..., :, None, :], flush(b).swapaxes(-1, -2)[..., None, :, :])


def _in_order(a: Array, b: Array) -> Array:
    """Σ a b over the last axis, one after the other, from +0."""
    if not a.shape[-1]:
        return np.zeros(np.broadcast_shapes(a.shape, b.shape)[:-1], np.float32)
    products = a * b
    if _smallest(a) * _smallest(b) >= _SAFE:
        return np.asarray(np.add.accumulate(products, axis=-1)[..., -1] + np.float32(0))
    total = np.zeros(products.shape[:-1], np.float32)
    for index in range(products.shape[-1]):
        total = flush(total + flush(products[..., index]))
    return total


def _smallest(x: Array) -> float:
    """The smallest size of the elements that are not zero."""
    size = np.abs(x[x != 0]).astype(np.float64)
    return float(size.min()) if size.size else 1.0


def _blocks(x: Array) -> Array:
    missing = -x.shape[-1] % LANES if x.shape[-1] else LANES
    padded = np.concatenate([x, np.zeros((*x.shape[:-1], missing), x.dtype)], axis=-1)
    return padded.reshape(*x.shape[:-1], -1, LANES)


def _fold(total: Array) -> Array:
    width = LANES
    while width > 1:
        width //= 2
        total = flush(total[..., :width] + total[..., width:])
    return np.asarray(total[..., 0])
