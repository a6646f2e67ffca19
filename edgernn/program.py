"""The one representation of a streaming model in memory: typed step operations over named values.

One run of a `Program` is one step. Shapes are static. Every timed value is `[frames, …]`: axis 0 counts the frames
of one step, the other axes are PyTorch's with the time axis taken out. ONNX (and every later format) is a writer of
this; reading a file of ours gives an equal `Program`.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgernn.spec import StreamSpec

Array = npt.NDArray[Any]
LOWEST = float(np.finfo(np.float32).min)  # in the place of minus infinity, which is no number of a contract
Operand = Annotated[str, "operand"]  # name of a value or parameter; "" where an optional operand is absent
Operands = Annotated[tuple[str, ...], "operands"]  # any number of them; only as an op's one operand field


@dataclass(frozen=True, slots=True)
class Timing:
    """How the frames of a value lie in time, counted against the input's frames.

    Stream frame `j` is whole-sequence frame `j - delay`. Frames come in groups, `group` of them for `period` input
    frames: `T` input frames have `(T + offset) // period * group + extra`. A group of one has nothing `extra`.
    """

    period: int = 1  # input frames per group
    offset: int = 0
    delay: int = 0  # frames
    receptive_field: int | None = 1  # input frames; None: all since reset
    group: int = 1
    extra: int = 0

    def length(self, frames: int) -> int:
        """Frames of a sequence of so many input frames."""
        return (frames + self.offset) // self.period * self.group + self.extra

    def input_frames(self, frames: int) -> int:
        """Input frames that so many frames take, rounded up."""
        return -(-frames * self.period // self.group)

    def longer(self, frames: int) -> Timing:
        """With so many frames more in each sequence."""
        if self.group == 1:
            return replace(self, offset=self.offset + frames * self.period)
        return replace(self, extra=self.extra + frames)

    def slower(self, stride: int) -> Timing:
        """One frame for every `stride`; the delay is left to the caller.

        Raises `ValueError` where groups and strides do not divide each other.
        """
        if self.group % stride == 0:
            made = replace(self, group=self.group // stride, extra=self.extra // stride)
            return made if made.group > 1 else replace(made, extra=0).longer(made.extra)
        if stride % self.group:
            raise ValueError(f"groups of {self.group} frames and a stride of {stride}")
        offset = self.offset + self.extra // self.group * self.period
        return replace(self, period=self.period * stride // self.group, offset=offset, group=1, extra=0)

    def faster(self, factor: int) -> Timing:
        """`factor` frames for each; the delay is left to the caller."""
        return replace(self, group=self.group * factor, extra=self.extra * factor)

    def widened(self, frames: int) -> Timing:
        """With a receptive field of so many of its frames more."""
        field = self.receptive_field
        return replace(self, receptive_field=None if field is None else field + self.input_frames(frames))


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the step graph. `timing` is None for states, counters and other values without a time axis."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    timing: Timing | None = None


@dataclass(frozen=True, slots=True)
class Type:
    """Element type and shape of an operand or result."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Op:
    """One operation of a step. Subclasses add operands (`Operand` fields, in order) and attributes (all others)."""

    name: str
    outputs: tuple[str, ...]

    registry: ClassVar[dict[str, type[Op]]] = {}

    def __init_subclass__(cls) -> None:
        Op.registry[cls.__name__] = cls

    @classmethod
    def operand_fields(cls) -> tuple[str, ...]:
        """Names of the fields that hold operands, in order."""
        return _fields(cls)[0]

    @classmethod
    def attribute_fields(cls) -> tuple[str, ...]:
        """Names of the fields that hold attributes: int, float, str, bool or a tuple of int."""
        return _fields(cls)[1]

    @property
    def operands(self) -> tuple[str, ...]:
        """Names of values and parameters, "" where an optional one is absent."""
        values = [getattr(self, field) for field in self.operand_fields()]
        return tuple(values[0]) if values and isinstance(values[0], tuple) else tuple(values)

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        """Types of the results for operands of these types (None where absent)."""
        raise NotImplementedError

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        """The float reference in NumPy: the results for these operands."""
        raise NotImplementedError

    def macs(self, *operands: Type | None) -> int:
        """Multiply-accumulates of one step."""
        return 0


_FIELDS: dict[type, tuple[tuple[str, ...], tuple[str, ...]]] = {}


def _fields(cls: type[Op]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if cls not in _FIELDS:
        hints = typing.get_type_hints(cls, include_extras=True)
        names = [f.name for f in dataclasses.fields(cls) if f.name not in ("name", "outputs")]
        operands = tuple(name for name in names if hints[name] in (Operand, Operands))
        _FIELDS[cls] = operands, tuple(name for name in names if name not in operands)
    return _FIELDS[cls]


@dataclass(frozen=True)
class Program:
    """A step function: contract, values by name, parameters in PyTorch layout by name, operations in order."""

    spec: StreamSpec
    values: Mapping[str, Value]
    parameters: Mapping[str, Array]
    ops: tuple[Op, ...]

    def type_of(self, name: str) -> Type | None:
        """Type of an operand; None for the absent operand ""."""
        if not name:
            return None
        if name in self.values:
            return Type(self.values[name].dtype, self.values[name].shape)
        array = self.parameters[name]
        return Type(str(array.dtype), array.shape)

    def parameter_operands(self, op: Op) -> Iterator[str]:
        """Names of the operands of `op` that are parameters."""
        return (name for name in op.operands if name in self.parameters)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Program):
            return NotImplemented
        return (
            (self.spec, dict(self.values), self.ops) == (other.spec, dict(other.values), other.ops)
            and self.parameters.keys() == other.parameters.keys()
            and all(_same(array, other.parameters[name]) for name, array in self.parameters.items())
        )

    __hash__ = None  # type: ignore[assignment]


def _same(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def present(operand: Any) -> Any:
    """The operand, for those that an op always has."""
    assert operand is not None
    return operand


def broadcast(*types: Type) -> tuple[int, ...]:
    """The common shape of operands that broadcast as NumPy's do."""
    return np.broadcast_shapes(*(t.shape for t in types))


def volume(shape: Sequence[int]) -> int:
    """Number of elements."""
    return math.prod(shape)
