"""The index of each frame since reset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgernn.program import Array, Op, Operand, Type, present


@dataclass(frozen=True, kw_only=True)
class FrameIndex(Op):
    """`start + step_size * index` of each frame since reset, `[frames]`; `steps` `[]` is the step counter."""

    steps: Operand
    frames: int
    start: float
    step_size: float
    dtype: str

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        return (Type(self.dtype, (self.frames,)),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        index = present(operands[0]) * self.frames + np.arange(self.frames)
        return ((self.start + self.step_size * index).astype(self.dtype),)
