"""A float program and what calibration saw become the integer program: one small function per operation.

`demand` says which element types the readers of each value want, `converter` keeps the values in their forms, the
other files have the operations.
"""

from edgernn.program import Program
from edgernn.quantize.convert import cells, elementwise, moves, products, running
from edgernn.quantize.convert.converter import Converter
from edgernn.quantize.convert.demand import product_inputs
from edgernn.quantize.convert.forms import Coded, Converted, Options
from edgernn.quantize.observe import Observations
from edgernn.quantize.plan import Plan

__all__ = [
    "Coded",
    "Converted",
    "Options",
    "cells",
    "convert",
    "elementwise",
    "moves",
    "product_inputs",
    "products",
    "running",
]


def convert(program: Program, seen: Observations, plan: Plan, options: Options) -> Converted:
    """The integer program. Raises `QuantizeError` when a scale cannot be expressed."""
    return Converter(program, seen, plan, options).run()
