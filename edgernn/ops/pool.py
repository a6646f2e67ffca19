"""Pooling over time or a feature axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgernn.program import Array, Op, Operand, Type, present, volume

POOL: dict[str, Callable[..., Array]] = {"max": np.max, "mean": np.mean, "sum": np.sum}


@dataclass(frozen=True, kw_only=True)
class Pool(Op):
    """`kind` (max, mean, sum) over `size` elements of `axis` at a time.

    Axis 0 is that of a window's frames, `[kept + frames, …]`. Element `j` (of `count`) of the result's axis is of
    elements `first + j * stride + tap * dilation`. A sum of integers is int32; a mean is of floats alone.
    """

    window: Operand
    kind: str
    axis: int
    size: int
    count: int
    first: int = 0
    stride: int = 1
    dilation: int = 1

    def index(self) -> Array:
        """What each element of the result is of, `[count, size]`."""
        return self.first + self.stride * np.arange(self.count)[:, None] + self.dilation * np.arange(self.size)

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        window = present(operands[0])
        dtype = "int32" if self.kind == "sum" and window.dtype != "float32" else window.dtype
        return (Type(dtype, (*window.shape[: self.axis], self.count, *window.shape[self.axis + 1 :])),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        window = present(operands[0])
        wide = np.int32 if self.kind == "sum" and window.dtype != np.float32 else window.dtype
        taken = np.take(window, self.index(), axis=self.axis).astype(wide)
        return (POOL[self.kind](taken, axis=self.axis + 1).astype(wide),)

    def macs(self, *operands: Type | None) -> int:
        return volume(self.infer(*operands)[0].shape) * self.size
