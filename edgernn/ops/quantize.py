"""Borders between float and integer values, and between integer scales."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.program import Op, Operand, Type, present


@dataclass(frozen=True, kw_only=True)
class Quantize(Op):
    """`q = clamp(rne((x - offset) * inverse))`, NaN to 0; `dtype` is int8 or int16.

    x float32 `[frames, …]`, inverse float32 `[features]` or `[]` (the scale's inverse), offset like it or absent.
    """

    x: Operand
    inverse: Operand
    offset: Operand = ""
    dtype: str = "int8"

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        return (Type(self.dtype, present(operands[0]).shape),)


@dataclass(frozen=True, kw_only=True)
class Dequantize(Op):
    """`q * scale`, float32, of any integer q `[frames, …]`."""

    q: Operand
    scale: float

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        return (Type("float32", present(operands[0]).shape),)


@dataclass(frozen=True, kw_only=True)
class Rescale(Op):
    """`clamp((q * multiplier + half) >> shift, low, high)`, half = 2^(shift - 1): other scale, width or limits."""

    q: Operand
    multiplier: int
    shift: int
    low: int
    high: int
    dtype: str = "int8"

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        return (Type(self.dtype, present(operands[0]).shape),)
