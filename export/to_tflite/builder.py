"""Built-in operations with the shapes of their results, and the tensors that stand for a Program's values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.to_tflite.builtins import version
from edgernn.export.to_tflite.graph import Graph, Tensor
from edgernn.program import Array, Op, Program, Type, broadcast, volume

_NARROWING = ("log", "sqrt", "pow")  # what squeezes a range that 8 bits would not hold
_BETWEEN = (ops.Binary, ops.Clip, ops.Gather, ops.Mask, ops.Pool, ops.Reshape, ops.Slice, ops.Transpose, ops.Unary)
_TRANSPOSED, _BROADCAST = 5, 4  # axes that every runtime transposes and broadcasts; old ones end the process at more
_COMPARISONS = ("EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL")


class Builder:
    """The graph of one Program.

    A value may stand in the graph in several shapes of the same elements in the same order; a reshape is made only
    where an operation asks for a shape that is not there yet.
    """

    def __init__(self, program: Program, precision: str, per_channel: bool) -> None:
        self.program = program
        self.precision = precision
        self.graph = Graph(program.spec.name)
        self.place = ""  # the operation being written, for errors and names
        self.per_channel = per_channel
        self._forms: dict[str, list[Tensor]] = {}
        self._count = 0
        self._readers: dict[str, list[Op]] = {}
        for op in program.ops:
            for name in op.operands:
                self._readers.setdefault(name, []).append(op)

    # --- values ----------------------------------------------------------------------------------------------

    def type(self, name: str) -> Type:
        """Type of an operand that is there."""
        found = self.program.type_of(name)
        assert found is not None
        return found

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of an operand that is there."""
        return self.type(name).shape

    def fixed(self, name: str) -> Array | None:
        """A parameter's values; None for a value of the step, or an absent operand."""
        return self.program.parameters.get(name)

    def parameter(self, name: str) -> Array:
        """A parameter's values. Raises `UnsupportedError` for one that is computed in the step."""
        found = self.fixed(name)
        if found is None:
            raise UnsupportedError(f"its `{name}` is computed in every step, which TFLite can't use", place=self.place)
        return found

    def narrowed(self, name: str) -> bool:
        """Whether only a logarithm or a root reads a value: mel powers span ten decades, which takes float."""
        readers = self._readers.get(name, [])
        return bool(readers) and all(
            (isinstance(op, (ops.Unary, ops.Binary)) and op.kind in _NARROWING)
            or (isinstance(op, _BETWEEN) and self.narrowed(op.outputs[0]))
            for op in readers
        )

    def get(self, name: str, shape: Sequence[int] | None = None) -> Tensor:
        """The tensor of a value or parameter, in the Program's shape or another of as many elements.

        A scalar comes as `[1]` or `[]`, which broadcast alike.
        """
        wanted = self.shape(name) if shape is None else tuple(shape)
        if name not in self._forms:
            self._forms[name] = [self._constant_of(name)]
        forms = self._forms[name]
        for form in forms:
            if form.shape == wanted or (wanted == () and form.shape == (1,)):
                return form
        forms.append(self.reshape(forms[0], wanted))
        return forms[-1]

    def _constant_of(self, name: str) -> Tensor:
        """A parameter among the step's values, such as a table's rows: its integers have their unit and width."""
        array = self.parameter(name)
        if self.precision == "int16x8" and array.dtype == np.int8:
            return self.graph.constant(array.astype(np.int16) * 256, 1 / 256)
        return self.graph.constant(array, 1.0 if array.dtype in (np.int8, np.int16) else None)

    def either(self, name: str) -> Tensor:
        """The tensor of a value in whatever shape it has."""
        return self._forms[name][0] if name in self._forms else self.get(name)

    def put(self, name: str, tensor: Tensor) -> None:
        """Let `tensor` stand for a value."""
        assert volume(tensor.shape) == volume(self.shape(name)), name
        self._forms[name] = [tensor]

    def same(self, name: str, other: str) -> None:
        """Let the value `name` be the elements of `other`, in its own shape."""
        self.either(other)
        self._forms[name] = list(self._forms[other])

    # --- operations ------------------------------------------------------------------------------------------

    def make(
        self,
        kind: str,
        inputs: Sequence[Tensor | None],
        shape: Sequence[int],
        dtype: str = "",
        options: Any = None,
        *,
        scale: float | None = None,
        at_least: tuple[int, str] | None = None,
    ) -> Tensor:
        """Add an operation with one result, by default of the first input's element type and scale."""
        first = next(tensor for tensor in inputs if tensor is not None)
        result = self._tensor(dtype or first.dtype, shape, first.scale if scale is None and not dtype else scale)
        self.graph.operator(kind, inputs, [result], options, place=self.place, at_least=at_least)
        return result

    def _tensor(self, dtype: str, shape: Sequence[int], scale: float | None) -> Tensor:
        self._count += 1
        return self.graph.tensor(f"{self.place}.{self._count}", dtype, shape, scale)

    def constant(self, value: Any, dtype: str = "float32") -> Tensor:
        """A constant without a scale."""
        return self.graph.constant(np.asarray(value, dtype))

    def unary(self, kind: str, x: Tensor, **result: Any) -> Tensor:
        """An operation of one operand, element by element."""
        return self.make(kind, [x], x.shape, **result)

    def binary(self, kind: str, a: Tensor, b: Tensor, *, scale: float | None = None) -> Tensor:
        """An operation of two operands that broadcast."""
        shape = _broadcast(a, b)
        if len(shape) > _BROADCAST and a.shape != b.shape:
            return self.reshape(self.binary(kind, *self._folded(a, b), scale=scale), shape)
        if kind in _COMPARISONS:
            return self.make(kind, [a, b], shape, "bool")
        options = schema.AddOptionsT() if kind == "ADD" else schema.SubOptionsT() if kind == "SUB" else None
        if options is not None:
            options.potScaleInt16 = False  # int16 scales are any, not powers of two
        return self.make(kind, [a, b], shape, a.dtype, options, scale=scale)

    def _folded(self, *operands: Tensor) -> list[Tensor]:
        """Operands that broadcast, in so few axes that every runtime takes them; else all in their common shape."""
        shapes = _fold(*(operand.shape for operand in operands))
        folded = [self.reshape(operand, shape) for operand, shape in zip(operands, shapes, strict=True)]
        if len(shapes[0]) <= _BROADCAST:
            return folded
        return [self.expand(operand, _broadcast(*folded)) for operand in folded]

    def expand(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """x repeated along its axes of size 1."""
        if x.shape == tuple(shape):
            return x
        return self.make("BROADCAST_TO", [x, self.constant(list(shape), "int32")], shape)

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """The same elements in another shape; also a copy."""
        options = schema.ReshapeOptionsT()
        options.newShape = list(shape)
        return self.make("RESHAPE", [x, self.constant(list(shape), "int32")], shape, options=options)

    def slice(self, x: Tensor, axis: int, start: int, end: int, stride: int = 1) -> Tensor:
        """x[start:end:stride] of an axis."""
        end = min(end, x.shape[axis])
        if (start, end, stride) == (0, x.shape[axis], 1):
            return x
        shape = [len(range(start, end, stride)) if i == axis else size for i, size in enumerate(x.shape)]
        begin = [start if i == axis else 0 for i in range(len(shape))]
        if stride == 1:
            return self.make("SLICE", [x, self.constant(begin, "int32"), self.constant(shape, "int32")], shape)
        ends = [end if i == axis else size for i, size in enumerate(x.shape)]
        steps = [stride if i == axis else 1 for i in range(len(shape))]
        inputs = [x, *(self.constant(item, "int32") for item in (begin, ends, steps))]
        return self.make("STRIDED_SLICE", inputs, shape, options=schema.StridedSliceOptionsT())

    def split(self, x: Tensor, parts: int) -> list[Tensor]:
        """Equal parts of the last axis."""
        options = schema.SplitOptionsT()
        options.numSplits = parts
        shape = (*x.shape[:-1], x.shape[-1] // parts)
        results = [self._tensor(x.dtype, shape, x.scale) for _ in range(parts)]
        needs = version("SPLIT", x.dtype, self.place)  # of the second input, the one that is split
        axis = self.constant(len(shape) - 1, "int32")
        self.graph.operator("SPLIT", [axis, x], results, options, place=self.place, at_least=needs)
        return results

    def concat(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        """Tensors joined along an axis."""
        if len(parts) == 1:
            return parts[0]
        options = schema.ConcatenationOptionsT()
        options.axis = axis
        shape = list(parts[0].shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        return self.make("CONCATENATION", parts, shape, options=options)

    def transpose(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        """x with its axes in another order; a reshape when only axes of size 1 move."""
        shape = [x.shape[axis] for axis in axes]
        if [axis for axis in axes if x.shape[axis] != 1] == [i for i, size in enumerate(x.shape) if size != 1]:
            return x if list(axes) == list(range(len(axes))) else self.reshape(x, shape)
        if len(axes) > _TRANSPOSED:
            sizes, order = _together(x.shape, axes)
            if len(order) > _TRANSPOSED:
                raise UnsupportedError(f"TFLite's TRANSPOSE moves {_TRANSPOSED} axes at most", place=self.place)
            return self.reshape(self.transpose(self.reshape(x, sizes), order), shape)
        return self.make(
            "TRANSPOSE", [x, self.constant(list(axes), "int32")], shape, options=schema.TransposeOptionsT()
        )

    def gather(self, x: Tensor, index: Tensor, axis: int) -> Tensor:
        """Elements of an axis by index."""
        options = schema.GatherOptionsT()
        options.axis = axis
        shape = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
        return self.make("GATHER", [x, index], shape, options=options)

    def reduced(self, kind: str, x: Tensor, axes: Sequence[int]) -> Tensor:
        """A reduction that keeps its axes."""
        options = schema.ReducerOptionsT()
        options.keepDims = True
        shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
        return self.make(kind, [x, self.constant(list(axes), "int32")], shape, options=options)

    def cast(self, x: Tensor, dtype: str) -> Tensor:
        """Elements converted."""
        return x if x.dtype == dtype else self.make("CAST", [x], x.shape, dtype, schema.CastOptionsT())

    def where(self, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """a where the condition holds, else b."""
        shape = _broadcast(condition, a, b)
        if len(shape) > _BROADCAST and not condition.shape == a.shape == b.shape:
            return self.reshape(self.where(*self._folded(condition, a, b)), shape)
        return self.make("SELECT_V2", [condition, a, b], shape, a.dtype, scale=a.scale)

    def held(self, active: str, new: Tensor, old: Tensor) -> Tensor:
        """A new state, or the old one where the operation's `active` is there and false."""
        return self.where(self.get(active), new, old) if active else new


def _together(shape: Sequence[int], axes: Sequence[int]) -> tuple[list[int], list[int]]:
    """A shape and an order of its axes with fewer axes, of the same meaning: those that move side by side are one."""
    runs: list[list[int]] = []
    for axis in (axis for axis in axes if shape[axis] != 1):
        if runs and volume(shape[runs[-1][-1] + 1 : axis]) == 1 and axis > runs[-1][-1]:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    sizes = [volume([shape[axis] for axis in run]) for run in sorted(runs)]
    return sizes, [sorted(runs).index(run) for run in runs]


def _broadcast(*operands: Tensor) -> tuple[int, ...]:
    return broadcast(*(Type(operand.dtype, operand.shape) for operand in operands))


def _fold(*shapes: tuple[int, ...]) -> list[list[int]]:
    """Shapes that broadcast as these do, with axes joined that are repeated in the same operands."""
    rank = max(map(len, shapes))
    folded: list[tuple[int, ...]] = []  # of each axis its size in each operand
    for sizes in zip(*((1,) * (rank - len(shape)) + shape for shape in shapes), strict=True):
        if max(sizes) == 1:
            continue
        if folded and [size == 1 for size in folded[-1]] == [size == 1 for size in sizes]:
            sizes = tuple(a * b for a, b in zip(folded.pop(), sizes, strict=True))
        folded.append(sizes)
    return [list(shape) for shape in zip(*folded, strict=True)] if folded else [[1] for _ in shapes]
