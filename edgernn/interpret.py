"""Run a `Program` in NumPy with the float references of its operations: slow, exact in its meaning, on any machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from edgernn.program import Array, Op, Program
from edgernn.spec import LEFT_UNKNOWN

Evaluate = Callable[..., tuple[Array, ...]]  # of an operation and its operands' arrays


def float_reference(op: Op, *operands: Array | None) -> tuple[Array, ...]:
    """The float meaning of an operation."""
    return op.evaluate(*operands)


def settled(program: Program, evaluate: Evaluate) -> Program:
    """The program with every operation evaluated that reads parameters alone."""
    parameters: dict[str, Any] = dict(program.parameters)
    left = []
    for op in program.ops:
        names = [name for name in op.operands if name]
        if names and all(name in parameters for name in names):
            results = evaluate(op, *(parameters.get(name) for name in op.operands))
            parameters.update(zip(op.outputs, results, strict=True))
        else:
            left.append(op)
    return replace(program, parameters=parameters, ops=tuple(left))


class Interpreter:
    """One stream through a program; the state lives here and starts at its initial value."""

    def __init__(self, program: Program, evaluate: Evaluate = float_reference) -> None:
        self.program = program
        self._evaluate = evaluate
        self.states = {state.input: state.initial() for state in program.spec.states}

    def step(self, inputs: Mapping[str, Array], left: int = LEFT_UNKNOWN) -> dict[str, Array]:
        """One hop: inputs and outputs by name as the file's tensors (`[frames, …]` with the batch axis).

        `left` is the number of input frames from the start of this step to the end of the sequence. Advances the
        state.
        """
        spec = self.program.spec
        values: dict[str, Array | None] = {"": None, **self.program.parameters, **inputs, **self.states}
        if spec.frames_left is not None:
            values[spec.frames_left] = np.asarray(left, np.int64)
        with np.errstate(all="ignore"):  # frames before the first true one may hold anything
            for op in self.program.ops:
                results = self._evaluate(op, *(values[name] for name in op.operands))
                values.update(zip(op.outputs, results, strict=True))
        self.states = {state.input: _array(values[state.output]) for state in spec.states}
        return {output.name: _array(values[output.name]) for output in spec.outputs}


def _array(value: Array | None) -> Array:
    assert value is not None
    return np.asarray(value)
