"""Gated recurrent unit, one layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgernn.ops.arithmetic import UNARY
from edgernn.program import Array, Op, Operand, Type, present, volume


@dataclass(frozen=True, kw_only=True)
class GRU(Op):
    """`torch.nn.GRU`'s cell (reset-after) over the frames of a step; gate order r z n.

    x `[frames, batch, in]`, h `[batch, hidden]`, weight_ih `[3 hidden, in]`, weight_hh `[3 hidden, hidden]`, biases
    `[3 hidden]` or absent. Gives y `[frames, batch, hidden]` and the new h. Where `active` (bool, `[]`) is given
    and false, the state is held: the new h is the old one, and y is not meaningful.
    """

    x: Operand
    h: Operand
    weight_ih: Operand
    weight_hh: Operand
    bias_ih: Operand = ""
    bias_hh: Operand = ""
    active: Operand = ""

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        x, h = present(operands[0]), present(operands[1])
        return Type(x.dtype, (*x.shape[:2], h.shape[-1])), h

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
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

    def macs(self, *operands: Type | None) -> int:
        x, w_ih, w_hh = present(operands[0]), present(operands[2]), present(operands[3])
        return int(x.shape[0] * x.shape[1]) * (volume(w_ih.shape) + volume(w_hh.shape))
