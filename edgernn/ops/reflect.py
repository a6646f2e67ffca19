"""Reflect padding at both ends of a sequence, as `torch.stft(center=True)` has it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgernn.program import Array, Op, Operand, Type, present


@dataclass(frozen=True, kw_only=True)
class Reflect(Op):
    """A window whose frames before the first and behind the last frame of the sequence mirror those inside.

    window `[kept + frames, …]` as `History` gives it, of a value with this timing; `steps` is the step counter,
    `left` the input frames from the start of this step to the end of the sequence. Frames further outside than the
    window reaches are not meaningful.
    """

    window: Operand
    steps: Operand
    left: Operand
    frames: int
    period: int
    offset: int
    delay: int
    group: int = 1
    extra: int = 0

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        return (present(operands[0]),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        window, steps, left = (present(operand) for operand in operands)
        kept = window.shape[0] - self.frames
        first = kept + self.delay - int(steps) * self.frames  # where whole-sequence frame 0 lies in the window
        length = (int(left) + self.offset) // self.period * self.group + self.extra
        last = length - 1 + kept + self.delay
        index = np.arange(window.shape[0])
        index = first + np.abs(index - first)
        index = last - np.abs(last - index)
        return (window[np.clip(index, 0, window.shape[0] - 1)],)
