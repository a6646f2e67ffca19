"""Integer tensors and their scales.

An integer tensor's scale is in units of the Program's integer: 1, or 1/256 where `int16x8` widened it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgernn.export.to_tflite.builder import Builder
from edgernn.export.to_tflite.graph import Tensor
from edgernn.program import Array

_LIMITS = {"int8": (-128, 127), "int16": (-32768, 32767)}
_ROOM = 2.0**30  # what int32 sums are kept below


def unit_of(x: Tensor) -> float:
    """What one step of an integer tensor is in the Program's units."""
    return 1.0 if x.scale is None else x.scale


def as_wide(b: Builder, x: Tensor, unit: float | None = None) -> Tensor:
    """As int32, whose scale is taken to be `unit`."""
    return b.make("CAST", [x], x.shape, "int32", schema.CastOptionsT(), scale=unit_of(x) if unit is None else unit)


def form_of(b: Builder, dtype: str) -> tuple[str, float]:
    """Element type and unit in which this precision keeps the Program's integers."""
    return ("int16", 1 / 256) if b.precision == "int16x8" and dtype == "int8" else (dtype, 1.0)


def as_narrow(
    b: Builder, x: Tensor, dtype: str, unit: float = 1.0, low: int | None = None, high: int | None = None
) -> Tensor:
    """int32, or float in the Program's units, rounded to the steps and limits of `dtype`, and to those given."""
    y = b.make("QUANTIZE", [x], x.shape, dtype, scale=unit)
    return limited(b, y, low, high)


def limited(b: Builder, x: Tensor, low: int | None, high: int | None) -> Tensor:
    """Limits in the Program's units, where they are narrower than the element type's."""
    least, most = _LIMITS[x.dtype]
    for kind, limit, edge in (("MAXIMUM", low, least + 1), ("MINIMUM", high, most)):
        whole = None if limit is None else round(limit / unit_of(x))
        if whole is not None and abs(whole) < abs(edge):
            x = b.binary(kind, x, b.graph.constant(np.asarray(whole, x.dtype), x.scale), scale=x.scale)
    return x


def shifted(b: Builder, x: Tensor, bits: int) -> Tensor:
    """int32 divided by a power of two, rounded half up."""
    if bits == 0:
        return x
    x = b.binary("ADD", x, b.constant(2 ** (bits - 1), "int32"))
    return b.binary("FLOOR_DIV", x, b.constant(2**bits, "int32"))


def row_factors(reals: Sequence[Array], bounds: Sequence[Array]) -> tuple[float, list[Array]]:
    """Integer multipliers for int32 sums of several parts, and the unit of their total.

    `reals` are a row's factors, `bounds` the largest magnitudes of its sums; the total stays below `_ROOM`.
    """
    largest = np.sum([np.abs(real) * bound for real, bound in zip(reals, bounds, strict=True)], axis=0)
    unit = max(float(largest.max()), 1e-30) / _ROOM * 1.001
    return unit, [np.maximum(np.rint(real / unit), np.sign(real)).astype(np.int32) for real in reals]
