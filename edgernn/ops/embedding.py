"""Rows of a table by index."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.program import Array, Op, Operand, Type, present


@dataclass(frozen=True, kw_only=True)
class Embedding(Op):
    """`weight[ids]`: ids int `[frames, …]`, weight `[rows, features]`, result `[frames, …, features]`."""

    ids: Operand
    weight: Operand

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        ids, weight = present(operands[0]), present(operands[1])
        return (Type(weight.dtype, (*ids.shape, weight.shape[1])),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        return (present(operands[1])[present(operands[0])],)
