"""States that a file stacks, packs or flattens into one tensor, taken apart into what the operations read of them.

A layer's own state is then a state of the stream, which it carries by itself, and nothing is copied in and out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgernn import ops
from edgernn.export.builder import Builder
from edgernn.export.onnx_in.trace import Trace, moving
from edgernn.ops.cell import Cell
from edgernn.program import Array, Op, Value
from edgernn.spec import StateSpec


def separate(builder: Builder, published: frozenset[str]) -> None:
    """Replace each state by the parts of it that are read, if any; `published` are the program's outputs."""
    for state in list(builder.states):
        _State(builder, state, published).split()


class _State:
    def __init__(self, builder: Builder, state: StateSpec, published: frozenset[str]) -> None:
        self.builder, self.state, self.published = builder, state, published
        shapes = {name: value.shape for name, value in builder.values.items()}
        self.trace = Trace(shapes, builder.parameters, builder.ops)
        self.old, self.new = self.trace.flat(state.input), self.trace.flat(state.output)

    def split(self) -> None:
        parts = self._parts()
        if not parts:
            return
        b, state = self.builder, self.state
        holders = [self._holder(part) for part in parts]
        if holders == [state.input] or any(holder is None for holder in holders):
            return  # it is one already, or is read in an order that no value has
        b.states.remove(state)
        names, starts, initial = [], [], state.initial().reshape(-1)
        for index, (part, holder) in enumerate(zip(parts, holders, strict=True)):
            starts.append(initial[part - self.old[0]].reshape(self._shape(holder or "")))
            names.append(b.unique(f"{state.input}.{index}"))
            b.values[names[-1]] = Value(names[-1], state.dtype, starts[-1].shape)
        self._replace(parts, names)
        for part, name, start in zip(parts, names, starts, strict=True):
            made = self._following(self.new[part - self.old[0]], start.shape, f"{name}.next")
            init = StateSpec.encode(start)
            b.states.append(StateSpec(input=name, output=made, shape=start.shape, dtype=state.dtype, init=init))

    def _parts(self) -> list[Array]:
        """The elements that are read together, as their numbers in the order that they are read in."""
        groups: list[Array] = []
        for op in self.builder.ops:
            names = [] if moving(op) else [name for name in op.operands if name]
            for name in (*names, *self.published.intersection(op.outputs)):
                numbers = self.trace.flat(name)
                mine = numbers[np.isin(numbers, self.old)]
                if mine.size:
                    groups.append(mine)
        merged: list[Array] = []
        for group in groups:
            for other in [item for item in merged if np.isin(group, item).any()]:
                merged = [item for item in merged if item is not other]
                if group.size != other.size or not np.array_equal(group, other):
                    group = np.union1d(group, other)
            merged.append(group)
        return [np.unique(group) if np.unique(group).size < group.size else group for group in merged]

    def _holder(self, part: Array) -> str | None:
        """The value that holds exactly these elements: what a layer takes as its state, else the first."""
        found = [name for name in self.trace.values() if np.array_equal(self.trace.flat(name), part)]
        cells = {getattr(op, field) for op in self.builder.ops if isinstance(op, Cell) for field in type(op).STATES}
        return next((name for name in found if name in cells), found[0] if found else None)

    def _shape(self, value: str) -> tuple[int, ...]:
        """Of a value of the step without its axis of frames."""
        found = self.builder.values[value]
        return found.shape if found.timing is None else found.shape[1:]

    def _replace(self, parts: list[Array], names: list[str]) -> None:
        """Let every value that holds a part, or the whole state, come from the new states."""
        b = self.builder
        kept: list[Op] = []
        same: dict[str, str] = {}
        outlive = self.published | {state.output for state in b.states} | {self.state.output}
        for op in b.ops:
            index = self._part_of(op, parts)
            if index is None:
                kept.append(renamed(op, same))
            elif op.outputs[0] not in outlive and b.shape(op.outputs[0]) == b.shape(names[index]):
                same[op.outputs[0]] = names[index]
            else:
                shape = b.values[op.outputs[0]].shape
                kept.append(ops.Reshape(name=op.name, outputs=op.outputs, x=names[index], shape=shape))
        b.ops = kept
        if any(self.state.input in op.operands for op in kept):
            self._rebuild(parts, names)

    def _part_of(self, op: Op, parts: list[Array]) -> int | None:
        if not moving(op):
            return None
        numbers = self.trace.flat(op.outputs[0])
        return next((index for index, part in enumerate(parts) if np.array_equal(numbers, part)), None)

    def _rebuild(self, parts: list[Array], names: list[str]) -> None:
        """The whole state from its parts, for what still reads it; elements that nothing reads are any."""
        b, count = self.builder, len(self.builder.ops)
        flats = [
            b.add(ops.Reshape, f"{name}.flat", None, x=name, shape=(part.size,))[0]
            for name, part in zip(names, parts, strict=True)
        ]
        joined = (
            flats[0] if len(flats) == 1 else b.add(ops.Concat, f"{names[0]}.all", None, parts=tuple(flats), axis=0)[0]
        )
        numbers = np.concatenate(parts)
        places = np.zeros(self.old.size, np.int64)
        places[numbers - self.old[0]] = np.arange(numbers.size)
        if not np.array_equal(places, np.arange(numbers.size)):
            index = b.parameter(f"{self.state.input}.places", places)
            joined = b.add(ops.Gather, f"{names[0]}.ordered", None, x=joined, index=index, axis=0)[0]
        whole = b.add(ops.Reshape, f"{names[0]}.whole", None, x=joined, shape=self.state.shape)[0]
        made = b.ops[count:]
        b.ops = made + [renamed(op, {self.state.input: whole}) for op in b.ops[:count]]

    def _following(self, numbers: Array, shape: tuple[int, ...], output: str) -> str:
        """The value with a part's elements in the next step: one that is there, or a new one."""
        b = self.builder
        taken = {state.input for state in b.states} | {state.output for state in b.states} | self.published
        made = {name for op in b.ops for name in op.outputs}
        found = [
            name for name in self.trace.values() if name in made and np.array_equal(self.trace.flat(name), numbers)
        ]
        for name in found:
            if b.values[name].shape == shape and name not in taken and not self._moved(name):
                return name
        if found:
            return b.add(ops.Reshape, output, None, x=found[0], shape=shape)[0]
        flat = b.add(ops.Reshape, f"{output}.flat", None, x=self.state.output, shape=(self.new.size,))[0]
        places = np.array([np.flatnonzero(self.new == number)[0] for number in numbers], np.int64)
        index = b.parameter(f"{output}.places", places)
        part = b.add(ops.Gather, f"{output}.part", None, x=flat, index=index, axis=0)[0]
        return b.add(ops.Reshape, output, None, x=part, shape=shape)[0]

    def _moved(self, name: str) -> bool:
        """Whether a value only holds what another one holds, as a state may."""
        return moving(next(op for op in self.builder.ops if name in op.outputs))


def renamed(op: Op, names: dict[str, str]) -> Op:
    """An operation that reads values under other names."""
    fields: dict[str, Any] = {
        field: tuple(names.get(item, item) for item in value) if isinstance(value, tuple) else names.get(value, value)
        for field, value in ((field, getattr(op, field)) for field in op.operand_fields())
    }
    return replace(op, **fields)
