"""Weights stored in 4 bits."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.program import Op, Operand, Type, present


@dataclass(frozen=True, kw_only=True)
class Int4(Op):
    """An int8 weight out of 4-bit codes: `code * step` of its group.

    packed uint8 `[rows, bytes]`: two codes in [-7, 7] a byte, the even column in the low half, each stored plus 8.
    step int8 `[rows, groups]`, 1 to 18. Gives int8 `shape`, whose elements after axis 0, flat, are the columns;
    column `c` is of group `c // group`.
    """

    packed: Operand
    step: Operand
    shape: tuple[int, ...]
    group: int

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        present(operands[0])
        return (Type("int8", self.shape),)
