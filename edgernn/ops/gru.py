"""Gated recurrent unit, one layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgernn.ops.arithmetic import UNARY
from edgernn.ops.cell import Cell
from edgernn.program import Array, Op, Operand, present


@dataclass(frozen=True, kw_only=True)
class GRU(Cell, Op):
    """`torch.nn.GRU`'s cell (reset-after) over the frames of a step; gate order r z n.

    x `[frames, batch, in]`, h `[batch, hidden]`, weight_ih `[3 hidden, in]`, weight_hh `[3 hidden, hidden]`, biases
    `[3 hidden]` or absent. Gives y `[frames, batch, hidden]` and the new h. Where `active` (bool, `[]`) is given
    and false, the state is held: the new h is the old one, and y is not meaningful.
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
    reverse: bool = False

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        if operands[1] is None:
            return self.by_position(self.evaluate, present(operands[0]), *operands[1:])
        x, h, w_ih, w_hh = (present(operand) for operand in operands[:4])
        b_ih, b_hh, active = operands[4:]
        sigmoid = UNARY["sigmoid"]
        zero = np.zeros(w_hh.shape[0], x.dtype)
        old, rows = h, []
        for frame in x:
            xr, xz, xn = np.split(frame @ w_ih.T + (zero if b_ih is None else b_ih), 3, axis=-1)
            hr, hz, hn = np.split(h @ w_hh.T + (zero if b_hh is None else b_hh), 3, axis=-1)
            r, z = sigmoid(xr + hr), sigmoid(xz + hz)
            h = (1 - z) * np.tanh(xn + r * hn) + z * h
            rows.append(h)
        return np.stack(rows), (h if active is None or active else old)
