"""Sum over time since reset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgernn.program import Array, Op, Operand, Type, present


@dataclass(frozen=True, kw_only=True)
class CumSum(Op):
    """Running sum: x `[frames, …]`, total `[…]`. Gives y `[frames, …]` and the new total, both of the total's type.

    Where `active` (bool, `[]`) is given and false, the total is held and y is not meaningful.
    """

    x: Operand
    total: Operand
    active: Operand = ""

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        x, total = present(operands[0]), present(operands[1])
        return Type(total.dtype, x.shape), total

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        x, total, active = present(operands[0]), present(operands[1]), operands[2]
        y = total + np.cumsum(x, axis=0, dtype=total.dtype)
        return y, (y[-1] if active is None or active else total)
