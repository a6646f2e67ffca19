"""Where the elements of values come from, through all operations that only move them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgernn import ops
from edgernn.program import Array, Op

MOVING = (ops.Reshape, ops.Transpose, ops.Slice, ops.Gather, ops.Concat, ops.Expand)


class Trace:
    """Numbers every element that an operation computes or that comes in; moved elements keep their numbers."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], parameters: Mapping[str, Array], items: Sequence[Op]):
        self._next = 0
        self._arrays: dict[str, Array] = {}
        self._parameters = parameters
        for op in items:
            if not moving(op):
                for name in op.operands:
                    self._number(name, shapes)
                for name in op.outputs:
                    self._number(name, shapes)
                continue
            index = (op.index,) if isinstance(op, ops.Gather) else ()
            operands = [parameters[name] if name in index else self._number(name, shapes) for name in op.operands]
            self._arrays[op.outputs[0]] = op.evaluate(*operands)[0]

    def _number(self, name: str, shapes: Mapping[str, tuple[int, ...]]) -> Array | None:
        if not name:
            return None
        if name not in self._arrays:
            shape = self._parameters[name].shape if name in self._parameters else shapes[name]
            count = int(np.prod(shape))
            self._arrays[name] = np.arange(self._next, self._next + count).reshape(shape)
            self._next += count
        return self._arrays[name]

    def flat(self, name: str) -> Array:
        """The numbers of a value's elements, in memory's order; none for one that no operation touches."""
        found = self._arrays.get(name)
        return np.zeros(0, np.int64) if found is None else found.reshape(-1)

    def values(self) -> list[str]:
        """All values, in the order of the operations."""
        return list(self._arrays)


def moving(op: Op) -> bool:
    """Whether an operation only moves elements, to places that are known."""
    return isinstance(op, MOVING)
