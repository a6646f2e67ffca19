"""Matrix product of integers."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.program import Op, Operand, Type, present, volume


@dataclass(frozen=True, kw_only=True)
class QLinear(Op):
    """`requantize(x weightᵀ + bias)`.

    x int8 or int16 `[frames, …, in]`, weight int8 `[out, in]`, bias int32 `[out]` in units of the sum. `dtype` int8
    or int16: multiplier int32 `[out]`, the result `clamp((sum * multiplier + half) >> shift, low, high)`. `dtype`
    float32: multiplier float32 `[out]`, the result `float32(sum) * multiplier`.
    """

    x: Operand
    weight: Operand
    bias: Operand
    multiplier: Operand
    shift: int = 26
    low: int = -127
    high: int = 127
    dtype: str = "int8"

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        x, weight = present(operands[0]), present(operands[1])
        return (Type(self.dtype, (*x.shape[:-1], weight.shape[0])),)

    def macs(self, *operands: Type | None) -> int:
        x, weight = present(operands[0]), present(operands[1])
        return volume(x.shape) * int(weight.shape[0])
