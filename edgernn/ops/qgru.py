"""Gated recurrent unit in integers, one layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgernn.ops.cell import Cell
from edgernn.program import Op, Operand


@dataclass(frozen=True, kw_only=True)
class QGRU(Cell, Op):
    """`GRU` in integers; docs/int8.md has the arithmetic.

    x int8 or int16 `[frames, batch, in]`, h int32 `[batch, hidden]` in units of 2^-30, weight_ih int8 `[3 hidden, in]`,
    weight_hh int8 `[3 hidden, hidden]`, bias_ih int32 `[3 hidden]` (those of r and z are both biases' sum), bias_hh
    int32 `[hidden]` (that of n), multipliers int32 `[3 hidden]` from the sums to units of 2^-12. The matrix product
    takes h as `h_dtype` in units of 2^-h_shift; y is `y_dtype` in units of 2^-y_shift. `active` as in `GRU`.
    """

    STATES: ClassVar[dict[str, str]] = {"h": "int32"}

    x: Operand
    h: Operand = ""
    weight_ih: Operand
    weight_hh: Operand
    bias_ih: Operand
    bias_hh: Operand
    multiplier_ih: Operand
    multiplier_hh: Operand
    active: Operand = ""
    shift: int = 26
    h_dtype: str = "int8"
    h_shift: int = 7
    y_dtype: str = "int8"
    y_shift: int = 7
    reverse: bool = False
