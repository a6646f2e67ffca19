"""Matrix products over the features of a frame."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.program import Array, Op, Operand, Type, broadcast, present, volume


@dataclass(frozen=True, kw_only=True)
class Linear(Op):
    """`y = x weightᵀ + bias`: x `[frames, …, in]`, weight `[out, in]`, bias `[out]` or absent."""

    x: Operand
    weight: Operand
    bias: Operand = ""

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        x, weight = present(operands[0]), present(operands[1])
        return (Type(x.dtype, (*x.shape[:-1], weight.shape[0])),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        x, weight, bias = present(operands[0]), present(operands[1]), operands[2]
        y = x @ weight.T
        return (y if bias is None else y + bias,)

    def macs(self, *operands: Type | None) -> int:
        x, weight = present(operands[0]), present(operands[1])
        return volume(x.shape) * int(weight.shape[0])


@dataclass(frozen=True, kw_only=True)
class MatMul(Op):
    """`a @ b` over the last two axes; leading axes (frames among them) broadcast."""

    a: Operand
    b: Operand

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        a, b = present(operands[0]), present(operands[1])
        batch = broadcast(Type(a.dtype, a.shape[:-2]), Type(b.dtype, b.shape[:-2]))
        return (Type(a.dtype, (*batch, a.shape[-2], b.shape[-1])),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        return (present(operands[0]) @ present(operands[1]),)

    def macs(self, *operands: Type | None) -> int:
        a = present(operands[0])
        return volume(self.infer(*operands)[0].shape) * int(a.shape[-1])
