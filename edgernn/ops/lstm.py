"""Long short-term memory, one layer, with or without projection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgernn.ops.arithmetic import UNARY
from edgernn.program import Array, Op, Operand, Type, present, volume


@dataclass(frozen=True, kw_only=True)
class LSTM(Op):
    """`torch.nn.LSTM`'s cell over the frames of a step; gate order i f g o.

    x `[frames, batch, in]`, h `[batch, out]`, c `[batch, hidden]`, weight_ih `[4 hidden, in]`, weight_hh
    `[4 hidden, out]`, biases `[4 hidden]` or absent, weight_hr `[out, hidden]` or absent (then out = hidden). Gives y
    `[frames, batch, out]`, the new h and the new c, both held where `active` is false (see `GRU`).
    """

    x: Operand
    h: Operand
    c: Operand
    weight_ih: Operand
    weight_hh: Operand
    bias_ih: Operand = ""
    bias_hh: Operand = ""
    weight_hr: Operand = ""
    active: Operand = ""

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        x, h, c = (present(operand) for operand in operands[:3])
        return Type(x.dtype, (*x.shape[:2], h.shape[-1])), h, c

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
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

    def macs(self, *operands: Type | None) -> int:
        x = present(operands[0])
        weights = [operands[index] for index in (3, 4, 7)]
        return int(x.shape[0] * x.shape[1]) * sum(volume(w.shape) for w in weights if w is not None)
