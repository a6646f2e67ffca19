"""Back end for `.ernn` files: the engine in C, which is part of this package."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from edgernn.errors import EdgeRNNError, InputError, MissingExtraError, ModelFileError
from edgernn.runtime.backends import Direct, Joined, Stepper, check_ports
from edgernn.spec import StreamSpec

try:
    from edgernn.runtime import _engine
except ImportError as error:
    raise MissingExtraError(
        f"the engine's extension module cannot be loaded ({error})",
        place="back end engine",
        hint="install edgernn from its wheel; in a checkout, `pip install -e .` compiles it",
    ) from error

Array = npt.NDArray[Any]

ISA_VARIABLE = "ERNN_ISA"  # the environment's choice of an instruction set
# MACs from which on a step lets other threads run, so that streams in several threads run on several cores. It costs
# 0.1 µs, and beside a busy Python thread the wait for the GIL: a step of 45 µs (GRU 512) took 145 µs instead of 83.
LONG_STEP = 1_000_000


def load_engine(data: bytes, place: str, threads: int) -> NativeEngine:
    """Load a file by its bytes.

    Raises `ModelFileError` for bytes that the engine refuses, `EdgeRNNError` when `ERNN_ISA` names an instruction set
    that this CPU cannot run, `InputError` for more than one thread.
    """
    if threads != 1:
        raise InputError(
            f"{threads} threads for a step; the engine takes one", place=place, hint="leave `threads` at 1"
        )
    isa = _chosen_isa()
    return NativeEngine(_engine.Model(data, place), place, isa, len(data))


def usable_isas() -> list[str]:
    """Instruction sets that this build has and this CPU can run, best first."""
    return [name for name, usable in _engine.isas() if usable]


def _chosen_isa() -> str:
    usable = usable_isas()
    wanted = os.environ.get(ISA_VARIABLE)
    if not wanted:
        return usable[0]
    if wanted not in usable:
        built = wanted in (name for name, _ in _engine.isas())
        raise EdgeRNNError(
            f"`{wanted}` is {'beyond this CPU' if built else 'no instruction set of this build'}",
            place=ISA_VARIABLE,
            hint=f"usable here: {', '.join(usable)}",
        )
    return wanted


class NativeEngine:
    """One program of a file's bytes, which the engine has checked."""

    def __init__(self, model: _engine.Model, place: str, isa: str, size: int, program: int = 0) -> None:
        self._model = model
        self._place = place
        self._isa = isa
        self._size = size
        self._program = program
        self.spec_json = self._model.spec(self._program)
        self.summary_json = self._model.summary(self._program)

    @property
    def details(self) -> dict[str, Any]:
        """The instruction set that steps are run with, and their memory."""
        stream = self._model.stream_bytes(self._program)
        return {"isa": self._isa, "usable_isas": usable_isas(), "file_bytes": self._size, "stream_bytes": stream}

    def check(self, spec: StreamSpec) -> None:
        """Compare the contract with the file's tables."""
        inputs, outputs, states = self._model.ports(self._program)
        check_ports("inputs", [(port.name, port.dtype, port.shape) for port in spec.inputs], inputs, self._place)
        check_ports("outputs", [(port.name, port.dtype, port.shape) for port in spec.outputs], outputs, self._place)
        check_ports("states", [(state.input, state.dtype, state.shape) for state in spec.states], states, self._place)

    def programs(self) -> list[NativeEngine]:
        """All programs of the file, over the same bytes."""
        count = self._model.programs()
        return [NativeEngine(self._model, self._place, self._isa, self._size, index) for index in range(count)]

    def selftest(self) -> dict[str, bool] | None:
        """On every usable instruction set."""
        return {isa: self._model.selftest(self._program, isa) for isa in usable_isas()}

    @cached_property
    def _long_steps(self) -> bool:
        try:
            return sum(int(row["macs"]) for row in json.loads(self.summary_json)) >= LONG_STEP
        except (ValueError, TypeError, KeyError):  # `Model.summary` says so to whoever asks for it
            return False

    def stepper(self, spec: StreamSpec) -> NativeStepper:
        """A stream of the engine. Raises `ModelFileError` when the file asks for more memory than there is."""
        try:
            stream = _engine.Stream(self._model, self._program, self._isa, self._long_steps)
        except MemoryError:
            wanted = self._model.stream_bytes(self._program)
            raise ModelFileError(f"a stream of it takes {wanted:,} bytes of memory", place=self._place) from None
        if (stream.frames_left() is None) != (spec.frames_left is None):
            raise ModelFileError("its contract and its graph differ about the end of a sequence", place=self._place)
        return NativeStepper(stream, self._model.ports(self._program), spec)


class NativeStepper:
    """Views of a stream's memory, and the functions that step it."""

    def __init__(self, stream: _engine.Stream, ports: _engine.Ports, spec: StreamSpec) -> None:
        inputs, outputs, states = ports
        self._stream = stream
        self.inputs = {name: np.asarray(stream.input(index)) for index, (name, _, _) in enumerate(inputs)}
        self.outputs = {name: np.asarray(stream.output(index)) for index, (name, _, _) in enumerate(outputs)}
        kept = {name: np.asarray(stream.state(index)) for index, (name, _, _) in enumerate(states)}
        self._states: list[Array] = [kept[state.input] for state in spec.states]
        left = stream.frames_left()
        self.left: Array | None = None if left is None else np.asarray(left)
        self.run = stream.run
        self.prefetch = stream.prefetch

    @property
    def steps(self) -> int:
        """The engine counts them itself: a count in Python takes as long as a third of a call."""
        return self._stream.steps

    @steps.setter
    def steps(self, steps: int) -> None:
        self._stream.steps = steps

    def direct(self, x: Array, y: Array) -> Direct | None:
        """A step that does not come back to Python on its way."""
        return _engine.Step((self._stream,), x, y).step

    def joined(self, steppers: Sequence[Stepper], x: Array | None, y: Array | None) -> Joined | None:
        """The engine reads a layer's weights once for several streams."""
        streams = tuple(stepper._stream for stepper in steppers if isinstance(stepper, NativeStepper))
        return _engine.Step(streams, x, y) if len(streams) == len(steppers) else None

    def states(self) -> list[Array]:
        """The current state, where it lies."""
        return self._states

    def set_states(self, states: list[Array]) -> None:
        """Copy values into the current state."""
        for target, source in zip(self._states, states, strict=True):
            target[...] = source
