"""Long short-term memory, one layer, with or without projection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgernn.ops.arithmetic import UNARY
from edgernn.ops.cell import Cell
from edgernn.program import Array, Op, Operand, present


@dataclass(frozen=True, kw_only=True)
class LSTM(Cell, Op):
    """`torch.nn.LSTM`'s cell over the frames of a step; gate order i f g o.

    x `[frames, batch, in]`, h `[batch, out]`, c `[batch, hidden]`, weight_ih `[4 hidden, in]`, weight_hh
    `[4 hidden, out]`, biases `[4 hidden]` or absent, weight_hr `[out, hidden]` or absent (then out = hidden). Gives y
    `[frames, batch, out]`, the new h and the new c, both held where `active` is false (see `GRU`).
    Without a state it runs over the positions of each frame: see `Cell`.
    """

    STATES: ClassVar[dict[str, str]] = {"h": "float32", "c": "float32"}

    x: Operand
    h: Operand = ""
    c: Operand = ""
    weight_ih: Operand
    weight_hh: Operand
    bias_ih: Operand = ""
    bias_hh: Operand = ""
    weight_hr: Operand = ""
    active: Operand = ""
    reverse: bool = False

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        if operands[1] is None:
            return self.by_position(self.evaluate, present(operands[0]), *operands[1:])
        x, h, c, w_ih, w_hh = (present(operand) for operand in operands[:5])
        b_ih, b_hh, w_hr, active = operands[5:]
        sigmoid = UNARY["sigmoid"]
        old, rows = (h, c), []
        for frame in x:
            total = frame @ w_ih.T + h @ w_hh.T
            for bias in (b_ih, b_hh):
                total = total if bias is None else total + bias
            i, f, g, o = np.split(total, 4, axis=-1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            h = h if w_hr is None else h @ w_hr.T
            rows.append(h)
        return np.stack(rows), *((h, c) if active is None or active else old)
