"""Long short-term memory in integers, one layer, with or without projection."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.program import Op, Operand, Type, present, volume


@dataclass(frozen=True, kw_only=True)
class QLSTM(Op):
    """`LSTM` in integers; docs/int8.md has the arithmetic.

    x int8 or int16 `[frames, batch, in]`, h int16 `[batch, out]` in units of 2^(h_exponent - 15), c int32
    `[batch, hidden]` in units of 2^(cell_exponent - 30), weight_ih int8 `[4 hidden, in]`, weight_hh int8
    `[4 hidden, out]`, bias int32 `[4 hidden]` in units of x's sum, multipliers int32 `[4 hidden]` from the sums to
    units of 2^-12. A projection has weight_hr int8 `[out, hidden]` and multiplier_hr int32 `[out]`. h_dtype, h_shift,
    y_dtype, y_shift (units of 2^(h_exponent - shift)) and `active` as in `QGRU`.
    """

    x: Operand
    h: Operand
    c: Operand
    weight_ih: Operand
    weight_hh: Operand
    bias: Operand
    multiplier_ih: Operand
    multiplier_hh: Operand
    weight_hr: Operand = ""
    multiplier_hr: Operand = ""
    active: Operand = ""
    shift: int = 26
    cell_exponent: int = 3
    h_exponent: int = 0
    h_dtype: str = "int8"
    h_shift: int = 7
    y_dtype: str = "int8"
    y_shift: int = 7

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        x, h, c = (present(operand) for operand in operands[:3])
        return Type(self.y_dtype, (*x.shape[:2], h.shape[-1])), h, c

    def macs(self, *operands: Type | None) -> int:
        x = present(operands[0])
        weights = [operands[index] for index in (3, 4, 8)]
        return int(x.shape[0] * x.shape[1]) * sum(volume(w.shape) for w in weights if w is not None)
