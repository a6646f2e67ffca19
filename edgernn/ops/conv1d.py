"""Convolution over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgernn.program import Array, Op, Operand, Type, present, volume


@dataclass(frozen=True, kw_only=True)
class Conv1d(Op):
    """`torch.nn.Conv1d` without padding over a window of frames.

    window `[kept + frames, batch, in]`, weight `[out, in / groups, taps]`, bias `[out]` or absent. Output frame `j`
    `[batch, out]` (of `count`) reads window frames `first + j * stride + tap * dilation`.
    """

    window: Operand
    weight: Operand
    bias: Operand = ""
    count: int
    first: int = 0
    stride: int = 1
    dilation: int = 1
    groups: int = 1

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        window, weight = present(operands[0]), present(operands[1])
        return (Type(window.dtype, (self.count, window.shape[1], weight.shape[0])),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        window, weight, bias = present(operands[0]), present(operands[1]), operands[2]
        out, inputs, taps = weight.shape
        grouped = weight.reshape(self.groups, out // self.groups, inputs, taps)
        rows = []
        for j in range(self.count):
            index = self.first + j * self.stride + self.dilation * np.arange(taps)
            frames = window[index].reshape(taps, window.shape[1], self.groups, inputs)
            rows.append(np.einsum("kbgi,goik->bgo", frames, grouped).reshape(window.shape[1], out))
        y = np.stack(rows)
        return (y if bias is None else y + bias,)

    def macs(self, *operands: Type | None) -> int:
        window, weight = present(operands[0]), present(operands[1])
        return int(self.count * window.shape[1]) * volume(weight.shape)
