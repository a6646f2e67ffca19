"""Elman network, one layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgernn.ops.arithmetic import UNARY
from edgernn.program import Array, Op, Operand, Type, present, volume


@dataclass(frozen=True, kw_only=True)
class RNN(Op):
    """`torch.nn.RNN`'s cell over the frames of a step; `kind` is tanh or relu.

    x `[frames, batch, in]`, h `[batch, hidden]`, weight_ih `[hidden, in]`, weight_hh `[hidden, hidden]`, biases
    `[hidden]` or absent. Gives y `[frames, batch, hidden]` and the new h, held where `active` is false (see `GRU`).
    """

    x: Operand
    h: Operand
    weight_ih: Operand
    weight_hh: Operand
    bias_ih: Operand = ""
    bias_hh: Operand = ""
    active: Operand = ""
    kind: str = "tanh"

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        x, h = present(operands[0]), present(operands[1])
        return Type(x.dtype, (*x.shape[:2], h.shape[-1])), h

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
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

    def macs(self, *operands: Type | None) -> int:
        x, w_ih, w_hh = present(operands[0]), present(operands[2]), present(operands[3])
        return int(x.shape[0] * x.shape[1]) * (volume(w_ih.shape) + volume(w_hh.shape))
