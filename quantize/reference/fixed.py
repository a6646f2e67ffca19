"""Fixed-point steps that the integer operations are made of. All arithmetic is in int64; nothing wraps."""

from __future__ import annotations

import numpy as np

from edgernn.program import Array
from edgernn.quantize.reference.tables import SIGMOID, TANH

LIMITS = {
    "int8": 127,
    "int16": 16319,
}  # of what enters a matrix product: int16 is 128 hi + lo, hi int8, lo in [-64, 63]
WORD = 32767  # limit of other int16 values, and of gates

_COEFFICIENTS = {"sigmoid": np.array(SIGMOID, np.int64), "tanh": np.array(TANH, np.int64)}


def product(x: Array, weight: Array) -> Array:
    """`x weightᵀ` of integers, int64. In float64 it is exact in any order: every partial sum is below 2^53."""
    return (x.astype(np.float64) @ weight.T.astype(np.float64)).astype(np.int64)


def round_shift(x: Array, shift: int) -> Array:
    """`x / 2^shift`, rounded half up."""
    return np.asarray((x + (1 << shift >> 1)) >> shift)


def clamp(x: Array, low: float, high: float) -> Array:
    """x limited to [low, high]."""
    return np.asarray(np.minimum(np.maximum(x, low), high))


def word(x: Array) -> Array:
    """x saturated to int16."""
    return clamp(x, -WORD - 1, WORD)


def mulhrs(a: Array, b: Array) -> Array:
    """Product in units of 2^-15, rounded half up: one instruction on most ISAs."""
    return np.asarray((a * b + (1 << 14)) >> 15)


def activate(x: Array, kind: str) -> Array:
    """sigmoid or tanh of int16 values in units of 2^-12; in units of 2^-15, int64."""
    x = x.astype(np.int64)
    size = np.minimum(np.abs(x), WORD)
    c0, c1, c2, c3 = np.moveaxis(_COEFFICIENTS[kind][size >> 11], -1, 0)
    place = ((size & 2047) << 5) - 32768
    y = np.minimum(c0 + mulhrs(place, c1 + mulhrs(place, c2 + mulhrs(place, c3))), WORD)
    return np.asarray(np.where(x < 0, (32768 if kind == "sigmoid" else 0) - y, y))


def narrow(h: Array, shift: int, dtype: str) -> Array:
    """int16 in units of 2^-15 as `dtype` in units of 2^-shift: what a matrix product takes."""
    limit = LIMITS[dtype]
    return np.asarray(clamp(round_shift(h, 15 - shift), -limit, limit).astype(dtype))
