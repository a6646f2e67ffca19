"""Reductions over features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgernn.program import Array, Op, Operand, Type, present

REDUCE: dict[str, Callable[..., Array]] = {
    "sum": np.sum,
    "mean": np.mean,
    "max": np.max,
    "min": np.min,
    "prod": np.prod,
}


@dataclass(frozen=True, kw_only=True)
class Reduce(Op):
    """`kind` (sum, mean, max, min, prod) over `axes` of x `[frames, …]`, never over frames."""

    x: Operand
    kind: str
    axes: tuple[int, ...]
    keepdims: bool

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        x = present(operands[0])
        kept = [(1 if axis in self.axes else size) for axis, size in enumerate(x.shape)]
        shape = tuple(size for axis, size in enumerate(kept) if self.keepdims or axis not in self.axes)
        return (Type(x.dtype, shape),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        x = present(operands[0])
        return (np.asarray(REDUCE[self.kind](x, axis=self.axes, keepdims=self.keepdims)).astype(x.dtype),)
