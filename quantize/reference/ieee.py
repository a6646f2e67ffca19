"""Float32 arithmetic with the same bits on every machine: one rounding an operation, no FMA, subnormals are zero.

Sums run in 16 lanes: lane `l` adds elements `l`, `l + 16`, … in order; then the upper half of the lanes is added to the
lower one, four times. Elements missing at the end are +0.
"""

from __future__ import annotations

import numpy as np

from edgernn.program import Array

LANES = 16
SMALLEST = np.float32(2.0**-126)
_CHUNK = 1 << 22  # elements of a partial sum held at a time


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
    rows, columns = _blocks(flush(x.reshape(-1, x.shape[-1]))), _blocks(flush(weight))
    size = max(1, _CHUNK // (LANES * len(columns)))
    parts = [_dot(rows[start : start + size], columns) for start in range(0, len(rows), size)]
    return np.concatenate(parts).reshape(*x.shape[:-1], len(weight))


def matmul(a: Array, b: Array) -> Array:
    """`a @ b` over the last two axes, leading ones broadcast; each element a `lane_sum` of its products."""
    return lane_sum(flush(flush(a)[..., :, None, :] * flush(b).swapaxes(-1, -2)[..., None, :, :]))


def _dot(rows: Array, columns: Array) -> Array:
    total = flush(rows[:, None, 0] * columns[None, :, 0])
    for index in range(1, rows.shape[1]):
        total = flush(total + flush(rows[:, None, index] * columns[None, :, index]))
    return _fold(total)


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
