"""Real factors as integer multipliers."""

from __future__ import annotations

import math

import numpy as np

from edgernn.errors import QuantizeError
from edgernn.program import Array, Op

GATE = 2.0**-12  # unit of a gate's pre-activation
UNIT = 2.0**-15  # unit of a gate
LARGEST = 2.0**31 - 1  # a multiplier


def fixed_multiplier(real: float) -> tuple[int, int]:
    """`real` as `multiplier / 2^shift`, the multiplier of 24 to 31 bits where the shift's limits allow."""
    if real == 0:
        return 0, 26
    shift = min(40, max(1, 30 - math.floor(math.log2(abs(real)))))
    multiplier = round(real * 2.0**shift)
    if abs(multiplier) > LARGEST:
        raise QuantizeError(f"a scale of {real:g} cannot be expressed: two values that meet differ too much in range")
    return multiplier, shift


def row_shift(op: Op, *reals: Array) -> int:
    """The shift that all rows of a layer share: 26, less where a multiplier would not fit."""
    largest = max(float(np.abs(real).max(initial=0)) for real in reals)
    shift = min(26, 30 - math.frexp(largest)[1] if largest > 0 else 26)
    if shift < 1:
        raise QuantizeError("its scales are too far apart for integers", place=op.name, hint=f"--exclude {op.name}")
    return shift


def row_multipliers(op: Op, reals: Array, shift: int) -> Array:
    """int32 `[rows]`: each real times 2^shift."""
    whole = np.rint(reals * 2.0**shift)
    if np.abs(whole).max(initial=0) > LARGEST:
        raise QuantizeError("its scales are too far apart for integers", place=op.name, hint=f"--exclude {op.name}")
    return np.asarray(whole.astype(np.int32))
