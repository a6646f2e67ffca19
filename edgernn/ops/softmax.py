"""Softmax over features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgernn.program import Array, Op, Operand, Type, present


@dataclass(frozen=True, kw_only=True)
class Softmax(Op):
    """Softmax (or its logarithm) over `axis` of x `[frames, …]`, never over frames."""

    x: Operand
    axis: int
    log: bool = False

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        return (present(operands[0]),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        x = present(operands[0])
        shifted = x - x.max(self.axis, keepdims=True)
        total = np.exp(shifted).sum(self.axis, keepdims=True)
        return (shifted - np.log(total) if self.log else np.exp(shifted) / total,)
