"""Mean and largest value since reset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgernn.program import Array, Op, Operand, Type, present


@dataclass(frozen=True, kw_only=True)
class RunningMean(Op):
    """Mean of the frames since reset: x `[frames, …]`, mean `[…]`; count `[frames, 1, …]` says how many they are.

    Each frame moves the mean by `(x - mean) / count`. Gives y `[frames, …]` and the new mean. Where `active` (bool,
    `[]`) is given and false, the mean is held and y is not meaningful.
    """

    x: Operand
    mean: Operand
    count: Operand
    active: Operand = ""

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        return present(operands[0]), present(operands[1])

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        x, mean, count, active = present(operands[0]), present(operands[1]), present(operands[2]), operands[3]
        old, rows = mean, []
        for frame, n in zip(x, count, strict=True):
            mean = mean + (frame - mean) / n
            rows.append(mean)
        return np.stack(rows), (mean if active is None or active else old)


@dataclass(frozen=True, kw_only=True)
class CumMax(Op):
    """Largest value of each element since reset: x `[frames, …]`, largest `[…]`. Gives y `[frames, …]` and the new one.

    Where `active` (bool, `[]`) is given and false, the state is held and y is not meaningful.
    """

    x: Operand
    largest: Operand
    active: Operand = ""

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        return present(operands[0]), present(operands[1])

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        x, largest, active = present(operands[0]), present(operands[1]), operands[2]
        y = np.maximum.accumulate(np.concatenate([largest[None], x]), axis=0)[1:]
        return y, (y[-1] if active is None or active else largest)
