"""The frames before this step's: what convolutions, delays and STFT windows look back on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgernn.program import Array, Op, Operand, Type, present


@dataclass(frozen=True, kw_only=True)
class History(Op):
    """Put the last frames before this step in front of its frames.

    x `[frames, …]`, past `[kept, …]`. Gives the window `[kept + frames, …]` and the new past: the window's last
    `kept` frames.
    """

    x: Operand
    past: Operand

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        x, past = present(operands[0]), present(operands[1])
        return Type(x.dtype, (past.shape[0] + x.shape[0], *x.shape[1:])), past

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        x, past = present(operands[0]), present(operands[1])
        window = np.concatenate([past, x])
        return window, window[x.shape[0] :]
