"""Which frames of a step are frames of the sequence, and the counter that tells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgernn.program import Array, Op, Operand, Type, present


@dataclass(frozen=True, kw_only=True)
class CountSteps(Op):
    """The step counter: `steps + 1`, int64 `[]`."""

    steps: Operand

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        return (present(operands[0]),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        return (np.asarray(present(operands[0]) + 1),)


@dataclass(frozen=True, kw_only=True)
class Validity(Op):
    """True for the frames of this step that lie inside the sequence; bool `[frames]`, or `[]` when `scalar`.

    Frame `q` of step `steps` is whole-sequence frame `steps * frames + q - delay`. It is inside when that is not
    negative (checked when `steps` is given) and below the sequence's length (checked when `left` is given: input
    frames from the start of this step to the end; `period` to `extra` as in `Timing`). `scalar` asks only for the
    first frame: a delay that is a multiple of `frames` starts all frames of a step together.
    """

    steps: Operand = ""
    left: Operand = ""
    frames: int
    period: int
    offset: int
    delay: int
    scalar: bool = False
    group: int = 1
    extra: int = 0

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        return (Type("bool", () if self.scalar else (self.frames,)),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        steps, left = operands
        q = np.arange(1 if self.scalar else self.frames)
        inside = np.ones(len(q), bool)
        if steps is not None:
            inside &= steps * self.frames + q >= self.delay
        if left is not None:
            # T = steps * hop + left, and hop is a multiple of the period: the length counted from this step's start
            inside &= q - self.delay < (left + self.offset) // self.period * self.group + self.extra
        return (inside[0] if self.scalar else inside,)


@dataclass(frozen=True, kw_only=True)
class Mask(Op):
    """x `[frames, …]` with `fill` in the frames where `valid` (bool `[frames]`) is false, NaN or not."""

    x: Operand
    valid: Operand
    fill: float = 0.0

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        return (present(operands[0]),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        x, valid = present(operands[0]), present(operands[1])
        return (np.where(valid.reshape(-1, *[1] * (x.ndim - 1)), x, np.asarray(self.fill, x.dtype)),)
