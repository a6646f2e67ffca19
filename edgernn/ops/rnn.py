"""Elman network, one layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgernn.ops.arithmetic import UNARY
from edgernn.ops.cell import Cell
from edgernn.program import Array, Op, Operand, present


@dataclass(frozen=True, kw_only=True)
class RNN(Cell, Op):
    """`torch.nn.RNN`'s cell over the frames of a step; `kind` is tanh or relu.

    x `[frames, batch, in]`, h `[batch, hidden]`, weight_ih `[hidden, in]`, weight_hh `[hidden, hidden]`, biases
    `[hidden]` or absent. Gives y `[frames, batch, hidden]` and the new h, held where `active` is false (see `GRU`).
    Without a state it runs over the positions of each frame: see `Cell`.
    """

    STATES: ClassVar[dict[str, str]] = {"h": "float32"}

    x: Operand
    h: Operand = ""
    weight_ih: Operand
    weight_hh: Operand
    bias_ih: Operand = ""
    bias_hh: Operand = ""
    active: Operand = ""
    kind: str = "tanh"
    reverse: bool = False

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        if operands[1] is None:
            return self.by_position(self.evaluate, present(operands[0]), *operands[1:])
        x, h, w_ih, w_hh = (present(operand) for operand in operands[:4])
        b_ih, b_hh, active = operands[4:]
        old, rows = h, []
        for frame in x:
            total = frame @ w_ih.T + h @ w_hh.T
            for bias in (b_ih, b_hh):
                total = total if bias is None else total + bias
            h = UNARY[self.kind](total)
            rows.append(h)
        return np.stack(rows), (h if active is None or active else old)
