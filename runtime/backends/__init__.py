"""The engines that can run a step; one file each, found by the model file's suffix."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy.typing as npt

from edgernn.errors import MissingExtraError, ModelFileError
from edgernn.spec import StreamSpec

Array = npt.NDArray[Any]
Port = tuple[str, str, tuple[int, ...]]  # name, dtype, shape
Direct = Callable[[Any, Any], Array | None]  # x, out

BACKENDS = {
    "engine": "edgernn.runtime.backends.engine",
    "litert": "edgernn.runtime.backends.litert",
    "litert-plain": "edgernn.runtime.backends.litert_plain",
    "onnxruntime": "edgernn.runtime.backends.onnxruntime",
    "reference": "edgernn.quantize.backend",  # on hosts only
    "tflite-runtime": "edgernn.runtime.backends.tflite_runtime",
}
# those that take a file; the first that is installed runs it
SUFFIXES = {".ernn": ("engine",), ".onnx": ("onnxruntime",), ".tflite": ("litert", "tflite-runtime")}


class Joined(Protocol):
    """Streams that step together."""

    def run(self) -> None:
        """One `run` of each; a refusal leaves the states of all."""

    def step(self, x: Any, out: Any, /) -> Array | None:
        """As `Stepper.direct`, from and to arrays `[n, …]` of all streams' frames."""


class Stepper(Protocol):
    """One stream's buffers, bound to a loaded model. Arrays keep their place in memory for the stepper's life."""

    inputs: dict[str, Array]  # by name, the file's tensors; written before `run`
    outputs: dict[str, Array]  # by name; valid until the next `run`
    left: Array | None  # int64 []: input frames to the end, where the model asks for it
    steps: int  # made since this was last set

    def run(self) -> None:
        """One step: read the inputs, advance the state, write the outputs, count. What it refuses changes no state."""

    def direct(self, x: Array, y: Array) -> Direct | None:
        """One step from array to array, for a model of one input `x` and one output `y`, views of these buffers.

        It takes an array like `x`, and one like `y` to write the result to, or None for a new one; gives the result,
        or None, having done nothing, for arrays that need a closer look. None where the back end has no such thing.
        """

    def prefetch(self) -> None:
        """Ask the caches for the weights."""

    def joined(self, steppers: Sequence[Stepper], x: Array | None, y: Array | None) -> Joined | None:
        """These steppers, this one's equals, as one. `x` and `y` are like the arrays that its `step` is to take, None
        where the model has several inputs or outputs. None where the back end has no such thing.
        """

    def states(self) -> list[Array]:
        """The current state, in the contract's order."""

    def set_states(self, states: list[Array]) -> None:
        """Copy values into the current state."""


class Engine(Protocol):
    """A loaded model file, shared by any number of steppers."""

    spec_json: str
    summary_json: str

    @property
    def details(self) -> dict[str, Any]:
        """What `inspect` tells of how it runs; for JSON."""

    def check(self, spec: StreamSpec) -> None:
        """Raise `ModelFileError` unless the graph's inputs and outputs are those of the contract."""

    def stepper(self, spec: StreamSpec) -> Stepper:
        """New buffers for one stream."""

    def programs(self) -> Sequence[Engine]:
        """One for each program of the file, in its order: most formats hold one."""

    def selftest(self) -> dict[str, bool] | None:
        """By instruction set, whether the file's own test vectors give its maker's outputs; None without vectors."""


def check_ports(kind: str, promised: Iterable[Port], found: Iterable[Port], place: str) -> None:
    """Raise `ModelFileError` unless the contract promises what the graph has: other sizes lead beyond a buffer."""
    promised, found = set(promised), set(found)
    for odd in sorted(promised ^ found, key=str):
        raise ModelFileError(
            f"its contract and its graph have different {kind}: only the {'contract' if odd in promised else 'graph'}"
            f" has `{odd[0]}`, {odd[1]} {list(odd[2])}",
            place=place,
            hint="export the model again",
        )


def open_engine(path: str, data: bytes, backend: str, threads: int) -> tuple[str, Engine]:
    """The name of the back end for a file, and its bytes `data` loaded by it.

    Raises `ModelFileError` for a suffix or back end that is not known, or a file that the back end refuses, and
    `MissingExtraError` when no back end for the suffix is installed.
    """
    names = SUFFIXES.get(os.path.splitext(path)[1].lower()) if backend == "auto" else (backend,)
    if names is None:
        known = ", ".join(sorted(SUFFIXES))
        raise ModelFileError(f"has no suffix that a back end takes ({known})", place=path)
    missing: MissingExtraError | None = None
    for name in names:
        try:
            return name, _load(name, path, data, threads)
        except MissingExtraError as error:
            missing = missing or error
    assert missing is not None
    raise missing


def _load(name: str, path: str, data: bytes, threads: int) -> Engine:
    if name not in BACKENDS:
        raise ModelFileError(f"no back end is called `{name}`", hint=f"back ends: auto, {', '.join(sorted(BACKENDS))}")
    try:
        module = importlib.import_module(BACKENDS[name])
    except ImportError as error:
        raise MissingExtraError(
            f"`{error.name}` is not installed", place=f"back end {name}", hint="pip install 'edgernn[export]'"
        ) from error
    engine: Engine = module.load_engine(data, path, threads)
    return engine
