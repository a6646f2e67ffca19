"""Back end `reference`: the exact meaning of a file, step by step in NumPy. It needs onnx, so it is for hosts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgernn import content
from edgernn.export import parse_program, summarize
from edgernn.interpret import Interpreter, settled
from edgernn.program import Array, Program
from edgernn.quantize.reference import evaluate
from edgernn.spec import LEFT_UNKNOWN, StreamSpec


def load_engine(data: bytes, place: str, threads: int) -> ReferenceEngine:
    """Load a file by its bytes; `threads` is of no use here. Raises `ModelFileError` for what is not ours."""
    return ReferenceEngine(data, place)


class ReferenceEngine:
    """A program whose operations on parameters alone are done."""

    def __init__(self, data: bytes, place: str) -> None:
        program = parse_program(data, place)
        self.spec_json = program.spec.with_hash(content.content_hash(data)).to_json()
        self.summary_json = summarize(program)
        self._program = settled(program, evaluate)

    @property
    def details(self) -> dict[str, Any]:
        """NumPy's version, which the bits do not depend on."""
        return {"numpy": np.__version__}

    def programs(self) -> list[ReferenceEngine]:
        """The file's only one."""
        return [self]

    def selftest(self) -> dict[str, bool] | None:
        """The reference is what test vectors are made with."""
        return None

    def check(self, spec: StreamSpec) -> None:
        """The interpreter takes its shapes from the contract itself."""

    def stepper(self, spec: StreamSpec) -> ReferenceStepper:
        """A stream of its own."""
        return ReferenceStepper(self._program)


class ReferenceStepper:
    """Buffers around an `Interpreter`."""

    def __init__(self, program: Program) -> None:
        spec = program.spec
        self._run = Interpreter(program, evaluate)
        self.steps = 0
        self.inputs = {port.name: np.zeros(port.shape, port.dtype) for port in spec.inputs}
        self.outputs = {port.name: np.zeros(port.shape, port.dtype) for port in spec.outputs}
        self.left: Array | None = None if spec.frames_left is None else np.full((), LEFT_UNKNOWN, np.int64)

    def run(self) -> None:
        """One step."""
        results = self._run.step(self.inputs, LEFT_UNKNOWN if self.left is None else int(self.left))
        for name, array in self.outputs.items():
            array[...] = results[name]
        self.steps += 1

    def direct(self, x: Array, y: Array) -> None:
        """There is no shorter way than `run`."""

    def joined(self, steppers: Sequence[Any], x: Array | None, y: Array | None) -> None:
        """Streams are stepped one after the other."""

    def prefetch(self) -> None:
        """There is nothing to gain."""

    def states(self) -> list[Array]:
        """The current state's arrays."""
        return list(self._run.states.values())

    def set_states(self, states: list[Array]) -> None:
        """Copy values into the current state."""
        names = list(self._run.states)
        self._run.states = {name: np.array(array) for name, array in zip(names, states, strict=True)}
