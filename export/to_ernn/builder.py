"""A program on its way into a file: values with their places in memory, nodes with their words."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgernn.errors import ExportError
from edgernn.export.to_ernn.format import DTYPES, NONE, OPS, SLACK, Blobs, align, value_record
from edgernn.program import Array, Op, Program, Type, volume

MAX_RANK = 6
Attribute = int | float


@dataclass
class Slot:
    """A value: a constant's blob, or a place in the arena from one node to another."""

    dtype: str
    count: int
    blob: int = NONE
    born: int = 0
    dies: int = 0
    offset: int = 0

    @property
    def room(self) -> int:
        """Bytes in the arena; a kernel may touch those behind the elements."""
        return align(self.count * np.dtype(self.dtype).itemsize) + SLACK


@dataclass
class Builder:
    """Collects one program's values and nodes. `value(name)` is a value's number, aliases share one."""

    program: Program
    blobs: Blobs
    slots: list[Slot] = field(default_factory=list)
    words: list[int] = field(default_factory=list)
    nodes: int = 0
    _of: dict[str, int] = field(default_factory=dict)
    _constants: dict[tuple[str, int, int], int] = field(default_factory=dict)
    _last: dict[str, int] = field(default_factory=dict)
    _op: int = 0

    def __post_init__(self) -> None:
        for index, op in enumerate(self.program.ops):
            for name in op.operands:
                self._last[name] = index

    # --- values ----------------------------------------------------------------------------------------------

    def type(self, name: str) -> Type:
        """Type of a value or parameter that is there."""
        found = self.program.type_of(name)
        assert found is not None
        return found

    def value(self, name: str) -> int:
        """The number of an operand's value; NONE for the absent operand."""
        if not name:
            return NONE
        if name not in self._of:
            self._of[name] = self.constant(self.program.parameters[name])
        return self._of[name]

    def constant(self, array: Array) -> int:
        """A value that lies in the file."""
        blob = self.blobs.add(np.ascontiguousarray(array).tobytes())
        key = (str(array.dtype), blob, array.size)
        if key not in self._constants:
            self._constants[key] = len(self.slots)
            self.slots.append(Slot(str(array.dtype), array.size, blob))
        return self._constants[key]

    def new(self, dtype: str, count: int) -> int:
        """A value in the arena."""
        if dtype not in DTYPES:
            raise ExportError(f"the engine has no dtype {dtype}", place=self.program.ops[self._op].name)
        self.slots.append(Slot(dtype, count, NONE, self.nodes, self.nodes))
        return len(self.slots) - 1

    def port(self, name: str, dtype: str, shape: Sequence[int]) -> int:
        """A value that outlives the step."""
        self._of[name] = self.new(dtype, volume(shape))
        self.pin(self._of[name])
        return self._of[name]

    def pin(self, value: int) -> None:
        """Keep a value's place to itself for the whole step."""
        self.slots[value].born, self.slots[value].dies = -1, 1 << 40

    def alias(self, name: str, value: int) -> None:
        """Another name for the same elements."""
        self._of[name] = value

    def result(self, name: str) -> int:
        """A new value for an operation's result."""
        kind = self.type(name)
        self._of[name] = self.new(kind.dtype, volume(kind.shape))
        return self._of[name]

    def next_state(self, name: str, old: str) -> int:
        """The result that follows state `old`: in its place where nothing reads the old one later."""
        pairs = {state.output: state.input for state in self.program.spec.states}
        if pairs.get(name) == old and self._last[old] == self._op and name not in self._last:
            self._of[name] = self._of[old]
            return self._of[old]
        return self.result(name)

    def is_constant(self, name: str) -> bool:
        """Whether an operand lies in the file."""
        return self.slots[self.value(name)].blob != NONE

    # --- nodes -----------------------------------------------------------------------------------------------

    def enter(self, index: int) -> Op:
        """The next operation of the program."""
        self._op = index
        return self.program.ops[index]

    def node(self, kind: str, ins: Sequence[int], outs: Sequence[int], *attributes: Attribute) -> None:
        """Append a node. Attributes are words; a float is its bits."""
        while ins and ins[-1] == NONE:
            ins = ins[:-1]
        self.words += [OPS.index(kind) | len(ins) << 16 | len(outs) << 24, len(attributes), *ins, *outs]
        self.words += [_word(attribute) for attribute in attributes]
        for value in (*ins, *outs):
            if value != NONE:
                self.slots[value].dies = max(self.slots[value].dies, self.nodes)
        self.nodes += 1

    def copy(
        self, x: int, y: int, dims: Sequence[int], from_: Sequence[int], to: Sequence[int], start: int = 0, at: int = 0
    ) -> None:
        """Elements of x, `from_` strides from `start`, to elements of y, `to` strides from `at`."""
        dims, (from_, to) = merge(dims, from_, to)
        order = walk(dims, from_, to, np.dtype(self.slots[x].dtype).itemsize)
        dims, from_, to = ([row[axis] for axis in order] for row in (dims, from_, to))
        self.node("copy", (x,), (y,), len(dims), *_six(dims), *_six(from_), *_six(to), start, at)

    def spread(self, shape: Sequence[int], *operands: Sequence[int]) -> list[int]:
        """Attributes of operands that broadcast to `shape`."""
        strides = [broadcast_strides(operand, shape) for operand in operands]
        dims, merged = merge(shape, *strides)
        merged = [*merged, *[[0] * len(dims)] * (3 - len(merged))]
        return [len(dims), *_six(dims), *(word for row in merged for word in _six(row))]

    # --- the end ---------------------------------------------------------------------------------------------

    def place(self) -> int:
        """Give every value its offset: the lowest that no value alive at the same time has. Gives the arena's size."""
        placed: list[Slot] = []
        for slot in sorted((s for s in self.slots if s.blob == NONE), key=lambda s: (s.born, -s.room)):
            taken = [p for p in placed if p.born <= slot.dies and slot.born <= p.dies]
            for other in sorted(taken, key=lambda p: p.offset):
                if other.offset < slot.offset + slot.room and slot.offset < other.offset + other.room:
                    slot.offset = other.offset + other.room
            placed.append(slot)
        return max((slot.offset + slot.room for slot in placed), default=0)

    def value_records(self) -> bytes:
        """The table of values."""
        return b"".join(value_record(s.dtype, s.blob, s.offset, s.count) for s in self.slots)

    def node_records(self) -> bytes:
        """The table of nodes."""
        return struct.pack(f"<{len(self.words)}I", *self.words)


def strides_of(shape: Sequence[int]) -> list[int]:
    """Elements between neighbours along each axis of a contiguous array."""
    return [volume(shape[axis + 1 :]) for axis in range(len(shape))]


def broadcast_strides(shape: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """Strides of an operand of `shape` along the axes of `wanted`, 0 where it is repeated."""
    padded = (*[1] * (len(wanted) - len(shape)), *shape)
    steps = strides_of(padded)
    return [0 if size == 1 else step for size, step in zip(padded, steps, strict=True)]


def merge(dims: Sequence[int], *strides: Sequence[int]) -> tuple[list[int], list[list[int]]]:
    """The same walk in fewer axes. Raises `ExportError` beyond six."""
    sizes: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for axis, size in enumerate(dims):
        if size == 1:
            continue
        if sizes and all(s[-1] == row[axis] * size for s, row in zip(steps, strides, strict=True)):
            sizes[-1] *= size
            for s, row in zip(steps, strides, strict=True):
                s[-1] = row[axis]
            continue
        sizes.append(size)
        for s, row in zip(steps, strides, strict=True):
            s.append(row[axis])
    if len(sizes) > MAX_RANK:
        raise ExportError(f"an array of {len(sizes)} axes is more than the engine walks")
    return sizes, steps


def walk(dims: Sequence[int], from_: Sequence[int], to: Sequence[int], itemsize: int) -> list[int]:
    """The order in which a copy's axes are walked, the fastest last: the longest inside, so that most elements are
    moved by the engine's innermost loops. A run of neighbours stays innermost where it is longer than a word."""
    order = list(range(len(dims)))
    if not order:
        return order
    last = order[-1]
    if from_[last] != 1 or to[last] != 1 or dims[last] * itemsize <= 8:
        last = max(order, key=lambda axis: dims[axis])
    order.remove(last)
    if order:
        order.append(order.pop(order.index(max(order, key=lambda axis: dims[axis]))))
    return [*order, last]


def _six(numbers: Sequence[int]) -> list[int]:
    return [*numbers, *[0] * (MAX_RANK - len(numbers))]


def _word(attribute: Attribute) -> int:
    if isinstance(attribute, float):
        return int(np.float32(attribute).view(np.uint32))
    return int(attribute) & 0xFFFFFFFF
