"""Elman network in integers, one layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgernn.ops.cell import Cell
from edgernn.program import Op, Operand


@dataclass(frozen=True, kw_only=True)
class QRNN(Cell, Op):
    """`RNN` in integers; `kind` is tanh or relu; docs/int8.md has the arithmetic.

    x int8 or int16 `[frames, batch, in]`, h int16 `[batch, hidden]` in units of 2^(h_exponent - 15), weight_ih int8
    `[hidden, in]`, weight_hh int8 `[hidden, hidden]`, bias int32 `[hidden]` in units of x's sum, multipliers int32
    `[hidden]` from the sums to units of 2^-12 (tanh) or to h's (relu). The other attributes as in `QLSTM`.
    """

    STATES: ClassVar[dict[str, str]] = {"h": "int16"}

    x: Operand
    h: Operand = ""
    weight_ih: Operand
    weight_hh: Operand
    bias: Operand
    multiplier_ih: Operand
    multiplier_hh: Operand
    active: Operand = ""
    kind: str = "tanh"
    shift: int = 26
    h_exponent: int = 0
    h_dtype: str = "int8"
    h_shift: int = 7
    y_dtype: str = "int8"
    y_shift: int = 7
    reverse: bool = False
