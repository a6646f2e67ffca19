"""Weights and biases of a layer in units of what it multiplies."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgernn import ops
from edgernn.errors import QuantizeError
from edgernn.program import Array, Op
from edgernn.quantize.convert.converter import Converter
from edgernn.quantize.moments import Moments
from edgernn.quantize.rounding import Rows

_NOISE = 1 / 12  # variance of a rounding to integers
_LARGEST_BIAS = 2.0**30


def bias_floor(bias: Array) -> Array:
    """The least unit of a row's sums whose int32 can hold its bias."""
    return np.asarray(np.abs(bias) * 2.0**-24)


def integer_moments(c: Converter, moments: Moments | None, scale: Array, offset: Array) -> Array | None:
    """E[q qᵀ] of the integers q that columns are multiplied with, and a 1 behind them; None for plain rounding.

    `scale` and `offset` `[columns]` are those of `Coded`.
    """
    if moments is None or not moments.frames or not c.options.rounding.compensated:
        return None
    change = np.diag(np.append(1 / scale, 1.0))
    change[:-1, -1] = -offset / scale
    result = moments.shrunk(change)
    inner = np.arange(len(scale))
    result[inner, inner] += _NOISE
    return result


def store_weight(c: Converter, name: str, rows: Rows, shape: tuple[int, ...], columns: Any) -> str:
    """Keep a weight as int8, or as an `Int4` that gives it; `columns` is the scale of each column's input."""
    c.units[name] = np.broadcast_to(rows.unit[:, None] / columns, rows.weight.shape).reshape(shape)
    if rows.steps is None:
        return c.parameter(name, rows.weight.reshape(shape))
    group = c.options.rounding.group
    wide = np.repeat(rows.steps, group, axis=1)[:, : rows.weight.shape[1]]
    codes = (rows.weight // wide + 8).astype(np.uint8)
    if codes.shape[1] % 2:
        codes = np.concatenate([codes, np.full((len(codes), 1), 8, np.uint8)], axis=1)
    packed = c.parameter(f"{name}.packed", codes[:, 0::2] | codes[:, 1::2] << 4)
    step = c.parameter(f"{name}.step", rows.steps)
    c.unpack(ops.Int4(name=name, outputs=(name,), packed=packed, step=step, shape=tuple(shape), group=group))
    return name


def store_bias(c: Converter, op: Op, field: str, bias: Array, units: Array) -> str:
    """Keep a bias in units of its rows' sums."""
    whole = bias / units
    if np.abs(whole).max(initial=0) > _LARGEST_BIAS:
        raise QuantizeError("its bias is too large for its weights", place=op.name, hint=f"--exclude {op.name}")
    name = f"{op.name}.{field}"
    c.units[name] = units
    return c.parameter(name, np.rint(whole).astype(np.int32))
