"""Convolution of integers over time."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.program import Op, Operand, Type, present, volume


@dataclass(frozen=True, kw_only=True)
class QConv1d(Op):
    """`Conv1d` of an int8 or int16 window with int8 weights; the sum is requantized as `QLinear`'s."""

    window: Operand
    weight: Operand
    bias: Operand
    multiplier: Operand
    count: int
    first: int = 0
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    shift: int = 26
    low: int = -127
    high: int = 127
    dtype: str = "int8"

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        window, weight = present(operands[0]), present(operands[1])
        return (Type(self.dtype, (self.count, window.shape[1], weight.shape[0])),)

    def macs(self, *operands: Type | None) -> int:
        window, weight = present(operands[0]), present(operands[1])
        return int(self.count * window.shape[1]) * volume(weight.shape)
