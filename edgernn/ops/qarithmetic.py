"""Element-wise operations on integers. Operands broadcast as in NumPy."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.program import Op, Operand, Type, broadcast, present


@dataclass(frozen=True, kw_only=True)
class QUnary(Op):
    """sigmoid or tanh (`kind`) of int16 in units of 2^-12; int16 in units of 2^-15."""

    x: Operand
    kind: str

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        return (Type("int16", present(operands[0]).shape),)


@dataclass(frozen=True, kw_only=True)
class QAdd(Op):
    """`clamp((a * multiplier_a + b * multiplier_b + half) >> shift, low, high)`: a sum of two scales."""

    a: Operand
    b: Operand
    multiplier_a: int
    multiplier_b: int
    shift: int
    low: int
    high: int
    dtype: str = "int8"

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        return (Type(self.dtype, broadcast(present(operands[0]), present(operands[1]))),)


@dataclass(frozen=True, kw_only=True)
class QMul(Op):
    """`clamp((a * b * multiplier + half) >> shift, low, high)`: a product of two scales."""

    a: Operand
    b: Operand
    multiplier: int
    shift: int
    low: int
    high: int
    dtype: str = "int8"

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        return (Type(self.dtype, broadcast(present(operands[0]), present(operands[1]))),)
