"""Convolution of integers over time and a feature axis, or over two feature axes."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.ops.conv2d import Patches
from edgernn.program import Op, Operand, Type, present, volume


@dataclass(frozen=True, kw_only=True)
class QConv2d(Patches, Op):
    """`Conv2d` of an int8 or int16 window with int8 weights; the sum is requantized as `QLinear`'s."""

    window: Operand
    weight: Operand
    bias: Operand
    multiplier: Operand
    shift: int = 26
    low: int = -127
    high: int = 127
    dtype: str = "int8"

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        window, weight = present(operands[0]), present(operands[1])
        return (Type(self.dtype, self.shape(window.shape, weight.shape)),)

    def macs(self, *operands: Type | None) -> int:
        window, weight = present(operands[0]), present(operands[1])
        return volume(self.shape(window.shape, weight.shape)) * volume(weight.shape[1:])
