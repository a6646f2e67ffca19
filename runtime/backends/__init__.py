"""The engines that can run a step; one file each, found by the model file's suffix."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from edgernn.errors import MissingExtraError, ModelFileError
from edgernn.spec import StreamSpec

Array = npt.NDArray[Any]

BACKENDS = {
    "onnxruntime": "edgernn.runtime.backends.onnxruntime",
    "reference": "edgernn.quantize.backend",  # on hosts only
}
SUFFIXES = {".onnx": "onnxruntime"}


class Stepper(Protocol):
    """One stream's buffers, bound to a loaded model. Arrays keep their place in memory for the stepper's life."""

    inputs: dict[str, Array]  # by name, the file's tensors; written before `run`
    outputs: dict[str, Array]  # by name; valid until the next `run`
    left: Array | None  # int64 []: input frames to the end, where the model asks for it

    def run(self) -> None:
        """One step: read the inputs, advance the state, write the outputs."""

    def states(self) -> list[Array]:
        """The current state, in the contract's order."""

    def set_states(self, states: list[Array]) -> None:
        """Copy values into the current state."""


class Engine(Protocol):
    """A loaded model file, shared by any number of steppers."""

    spec_json: str
    summary_json: str

    def check(self, spec: StreamSpec) -> None:
        """Raise `ModelFileError` unless the graph's inputs and outputs are those of the contract."""

    def stepper(self, spec: StreamSpec) -> Stepper:
        """New buffers for one stream."""


def open_engine(path: Path, data: bytes, backend: str, threads: int) -> tuple[str, Engine]:
    """The name of the back end for a file, and its bytes `data` loaded by it.

    Raises `ModelFileError` for a suffix or back end that is not known, or a file that the back end refuses.
    """
    name = SUFFIXES.get(path.suffix.lower()) if backend == "auto" else backend
    if name is None:
        known = ", ".join(sorted(SUFFIXES))
        raise ModelFileError(f"has no suffix that a back end takes ({known})", place=str(path))
    if name not in BACKENDS:
        raise ModelFileError(f"no back end is called `{name}`", hint=f"back ends: auto, {', '.join(sorted(BACKENDS))}")
    try:
        module = importlib.import_module(BACKENDS[name])
    except ImportError as error:
        raise MissingExtraError(
            f"`{error.name}` is not installed", place=f"back end {name}", hint="pip install 'edgernn[export]'"
        ) from error
    engine: Engine = module.load_engine(data, str(path), threads)
    return name, engine
