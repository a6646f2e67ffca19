"""Operations that only move or copy elements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgernn.program import Array, Op, Operand, Operands, Type, present


@dataclass(frozen=True, kw_only=True)
class Reshape(Op):
    """The same elements in the same order as `shape`."""

    x: Operand
    shape: tuple[int, ...]

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        return (Type(present(operands[0]).dtype, self.shape),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        return (present(operands[0]).reshape(self.shape),)


@dataclass(frozen=True, kw_only=True)
class Transpose(Op):
    """Axes in the order `axes`."""

    x: Operand
    axes: tuple[int, ...]

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        x = present(operands[0])
        return (Type(x.dtype, tuple(x.shape[axis] for axis in self.axes)),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        return (present(operands[0]).transpose(self.axes),)


@dataclass(frozen=True, kw_only=True)
class Slice(Op):
    """Elements `start:end:stride` of `axis`."""

    x: Operand
    axis: int
    start: int
    end: int
    stride: int = 1

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        x = present(operands[0])
        size = len(range(self.start, self.end, self.stride))
        return (Type(x.dtype, (*x.shape[: self.axis], size, *x.shape[self.axis + 1 :])),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        index = (slice(None),) * self.axis + (slice(self.start, self.end, self.stride),)
        return (present(operands[0])[index],)


@dataclass(frozen=True, kw_only=True)
class Gather(Op):
    """Elements `index` (int, `[count]`) of `axis`."""

    x: Operand
    index: Operand
    axis: int

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        x, index = present(operands[0]), present(operands[1])
        return (Type(x.dtype, (*x.shape[: self.axis], *index.shape, *x.shape[self.axis + 1 :])),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        return (np.take(present(operands[0]), present(operands[1]), axis=self.axis),)


@dataclass(frozen=True, kw_only=True)
class Concat(Op):
    """`parts` joined along `axis`."""

    parts: Operands
    axis: int

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        parts = [present(operand) for operand in operands]
        size = sum(part.shape[self.axis] for part in parts)
        shape = parts[0].shape
        return (Type(parts[0].dtype, (*shape[: self.axis], size, *shape[self.axis + 1 :])),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        return (np.concatenate([present(operand) for operand in operands], axis=self.axis),)


@dataclass(frozen=True, kw_only=True)
class Expand(Op):
    """Axes of size 1 repeated up to `shape`."""

    x: Operand
    shape: tuple[int, ...]

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        return (Type(present(operands[0]).dtype, self.shape),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        return (np.broadcast_to(present(operands[0]), self.shape),)


@dataclass(frozen=True, kw_only=True)
class Fill(Op):
    """`shape` filled with `value`: a constant that the module makes for the whole sequence."""

    shape: tuple[int, ...]
    value: float
    dtype: str

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        return (Type(self.dtype, self.shape),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        return (np.full(self.shape, self.value, self.dtype),)


@dataclass(frozen=True, kw_only=True)
class PadFeatures(Op):
    """`before` and `after` elements of `value` added to `axis`, which is not the frames'."""

    x: Operand
    axis: int
    before: int
    after: int
    value: float = 0.0

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        x = present(operands[0])
        size = self.before + x.shape[self.axis] + self.after
        return (Type(x.dtype, (*x.shape[: self.axis], size, *x.shape[self.axis + 1 :])),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        x = present(operands[0])
        widths = [(self.before, self.after) if axis == self.axis else (0, 0) for axis in range(x.ndim)]
        return (np.pad(x, widths, constant_values=self.value),)


@dataclass(frozen=True, kw_only=True)
class Cast(Op):
    """Elements converted to `dtype`."""

    x: Operand
    dtype: str

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        return (Type(self.dtype, present(operands[0]).shape),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        return (present(operands[0]).astype(self.dtype),)
