"""Collects the operations, values, parameters and states of a program while it is translated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgernn import ops
from edgernn.program import Array, Op, Timing, Type, Value
from edgernn.spec import StateSpec


class Builder:
    """A program in the making. Names are unique; types are inferred as operations are added."""

    def __init__(self, reserved: frozenset[str] = frozenset()) -> None:
        self._reserved = reserved  # names that are given away later
        self.ops: list[Op] = []
        self.values: dict[str, Value] = {}
        self.parameters: dict[str, Array] = {}
        self.states: list[StateSpec] = []
        self._producers: dict[str, Op] = {}

    def type_of(self, name: str) -> Type | None:
        """Type of a value or parameter; None for the absent operand ""."""
        if not name:
            return None
        if name in self.values:
            return Type(self.values[name].dtype, self.values[name].shape)
        array = self.parameters[name]
        return Type(str(array.dtype), array.shape)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a value or parameter."""
        found = self.type_of(name)
        assert found is not None
        return found.shape

    def dtype(self, name: str) -> str:
        """Element type of a value or parameter."""
        found = self.type_of(name)
        assert found is not None
        return found.dtype

    def producer(self, name: str) -> Op | None:
        """The operation that makes a value; None for inputs, states and parameters."""
        return self._producers.get(name)

    def add(
        self,
        kind: type[Op],
        name: str,
        timings: Timing | tuple[Timing | None, ...] | None,
        outputs: tuple[str, ...] | None = None,
        /,
        **fields: Any,
    ) -> tuple[str, ...]:
        """Append an operation; gives the names of its results, which are `outputs` or derived from its own name."""
        name = self.unique(name)
        # files hold float32 attributes: what is written is what is read back
        fields = {key: float(np.float32(item)) if type(item) is float else item for key, item in fields.items()}
        draft = kind(name=name, outputs=(), **fields)
        types = draft.infer(*(self.type_of(operand) for operand in draft.operands))
        if not isinstance(timings, tuple):
            timings = (timings,) * len(types)
        if outputs is None:
            outputs = (name,) if len(types) == 1 else tuple(f"{name}:{index}" for index in range(len(types)))
        op = kind(name=name, outputs=outputs, **fields)
        for output, kind_of, timing in zip(outputs, types, timings, strict=True):
            self.values[output] = Value(output, kind_of.dtype, tuple(int(size) for size in kind_of.shape), timing)
            self._producers[output] = op
        self.ops.append(op)
        return outputs

    def parameter(self, name: str, array: Array) -> str:
        """Keep `array` under `name`, or under a name like it when another array has that one."""
        array = np.require(array, requirements="C")
        known = self.parameters.get(name)
        if known is not None and known.shape == array.shape and known.tobytes() == array.tobytes():
            return name
        name = self.unique(name)
        self.parameters[name] = array
        return name

    def state(self, node: str, suffix: str, initial: Array) -> tuple[str, str]:
        """Add a state pair; gives the names of its input and its output."""
        incoming = self.unique(f"state.{node}.{suffix}")
        outgoing = f"{incoming}_out"
        spec = StateSpec(
            input=incoming,
            output=outgoing,
            shape=initial.shape,
            dtype=str(initial.dtype),
            init=StateSpec.encode(initial),
        )
        self.states.append(spec)
        self.values[incoming] = Value(incoming, spec.dtype, spec.shape)
        return incoming, outgoing

    def unique(self, name: str) -> str:
        """`name`, or the first of `name.1`, `name.2` … that nothing has yet."""
        taken, candidate, count = self._taken(), name, 0
        while candidate in taken:
            count += 1
            candidate = f"{name}.{count}"
        return candidate

    def publish(self, value: str, name: str) -> None:
        """Call a value by the reserved name of an output."""
        producer = self.producer(value)
        states = {state.output for state in self.states}
        if producer is None or value in states or value in self._reserved:
            found = self.values[value]
            op = ops.Reshape(name=self.unique(f"{name}.copy"), outputs=(name,), x=value, shape=found.shape)
            self.ops.append(op)
            self.values[name] = replace(found, name=name)
            return
        self.values[name] = replace(self.values.pop(value), name=name)
        self.ops = [_renamed(op, value, name) for op in self.ops]
        self._producers = {output: op for op in self.ops for output in op.outputs}

    def prune(self, outputs: set[str]) -> None:
        """Drop operations, values, parameters and states that no output depends on."""
        needed, kept = set(outputs), set[str]()
        pairs = {state.output: state.input for state in self.states}
        while True:
            before = len(needed)
            for op in reversed(self.ops):
                if needed.intersection(op.outputs):
                    kept.add(op.name)
                    needed.update(op.operands)
            needed.update(outgoing for outgoing, incoming in pairs.items() if incoming in needed)
            if len(needed) == before:
                break
        self.ops = [op for op in self.ops if op.name in kept]
        self.states = [state for state in self.states if state.input in needed]
        made = {name for op in self.ops for name in op.outputs}
        self.values = {name: value for name, value in self.values.items() if name in made or name in needed}
        self.parameters = {name: array for name, array in self.parameters.items() if name in needed}

    def _taken(self) -> set[str]:
        return {
            *self._reserved,
            *self.values,
            *self.parameters,
            *(op.name for op in self.ops),
            *(s.output for s in self.states),
        }


def _renamed(op: Op, old: str, new: str) -> Op:
    if old not in op.outputs and old not in op.operands:
        return op

    def rename(field: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(field, tuple):
            return tuple(new if item == old else item for item in field)
        return new if field == old else field

    fields: dict[str, Any] = {name: rename(getattr(op, name)) for name in ("outputs", *op.operand_fields())}
    return replace(op, **fields)
