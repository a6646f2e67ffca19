"""Long short-term memory in integers, one layer, with or without projection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgernn.ops.cell import Cell
from edgernn.program import Op, Operand


@dataclass(frozen=True, kw_only=True)
class QLSTM(Cell, Op):
    """`LSTM` in integers; docs/int8.md has the arithmetic.

    x int8 or int16 `[frames, batch, in]`, h int16 `[batch, out]` in units of 2^(h_exponent - 15), c int32
    `[batch, hidden]` in units of 2^(cell_exponent - 30), weight_ih int8 `[4 hidden, in]`, weight_hh int8
    `[4 hidden, out]`, bias int32 `[4 hidden]` in units of x's sum, multipliers int32 `[4 hidden]` from the sums to
    units of 2^-12. A projection has weight_hr int8 `[out, hidden]` and multiplier_hr int32 `[out]`. h_dtype, h_shift,
    y_dtype, y_shift (units of 2^(h_exponent - shift)) and `active` as in `QGRU`.
    """

    STATES: ClassVar[dict[str, str]] = {"h": "int16", "c": "int32"}

    x: Operand
    h: Operand = ""
    c: Operand = ""
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
    reverse: bool = False
