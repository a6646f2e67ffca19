"""Which function is the exact meaning of an operation in an int8 file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from edgernn import ops
from edgernn.errors import ModelFileError
from edgernn.ops.cell import Cell
from edgernn.program import Array, Op, present

Meaning = Callable[..., tuple[Array, ...]]

_MEANINGS: dict[type[Op], Meaning] = {}

# operations that move, count or select: their float reference is already exact for every dtype
_EXACT: tuple[type[Op], ...] = (
    ops.Concat,
    ops.CountSteps,
    ops.Embedding,
    ops.Expand,
    ops.Fill,
    ops.Gather,
    ops.History,
    ops.Mask,
    ops.PadFeatures,
    ops.Reflect,
    ops.Reshape,
    ops.Slice,
    ops.Transpose,
    ops.Validity,
    ops.Where,
)


def reference(kind: type[Op]) -> Callable[[Meaning], Meaning]:
    """Register a function of an operation and its operands' arrays as the meaning of `kind`."""

    def register(function: Meaning) -> Meaning:
        _MEANINGS[kind] = function
        return function

    return register


def evaluate(op: Op, *operands: Array | None) -> tuple[Array, ...]:
    """The exact results of an operation. Raises `ModelFileError` when it has no exact meaning."""
    if isinstance(op, _EXACT):
        return op.evaluate(*operands)
    meaning = _MEANINGS.get(type(op))
    if meaning is None:
        raise ModelFileError(f"`{type(op).__name__}` has no exact meaning", place=op.name)
    with np.errstate(all="ignore"):
        if isinstance(op, Cell) and operands[1] is None:
            return op.by_position(partial(meaning, op), present(operands[0]), *operands[1:])
        return meaning(op, *operands)
