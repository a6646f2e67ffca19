"""What a conversion is asked for, and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgernn.program import Array, Program
from edgernn.quantize.convert.scales import GATE, UNIT
from edgernn.quantize.reference.fixed import LIMITS, WORD
from edgernn.quantize.rounding import Rounding


@dataclass(frozen=True)
class Options:
    """What a caller may choose."""

    rounding: Rounding = field(default_factory=Rounding)
    activation_type: str = "int8"
    observer: str = "mse"
    wide: frozenset[str] = frozenset()  # int16 although `activation_type` is not: some of `product_inputs`


@dataclass(frozen=True)
class Coded:
    """An integer value that stands for a float one: `scale * q + offset`, scale and offset by feature or one."""

    name: str
    dtype: str
    scale: Any
    offset: Any = 0.0

    @property
    def limit(self) -> int | None:
        """The largest magnitude of its integers: that of what enters a product, or of a gate; None for a state."""
        if self.dtype == "int16" and self.plain and self.scale in (GATE, UNIT):
            return WORD
        return LIMITS.get(self.dtype)

    @property
    def plain(self) -> bool:
        """Whether one scale holds for all features."""
        return np.ndim(self.scale) == 0 and np.ndim(self.offset) == 0


@dataclass(frozen=True)
class Converted:
    """The integer program and which of its values stand for those of the float one."""

    program: Program
    coded: Mapping[str, Coded]
    units: Mapping[str, Array]  # what one unit of each rounded parameter is worth, in the float parameter's own terms
