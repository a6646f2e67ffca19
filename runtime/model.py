"""Load a model file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgernn.content import content_hash
from edgernn.errors import InputError, ModelFileError
from edgernn.runtime.backends import Engine, open_engine
from edgernn.runtime.stream import Stream
from edgernn.spec import StreamSpec

Array = npt.NDArray[Any]


def load(path: str | Path, backend: str = "auto", threads: int = 1) -> Model:
    """Open a streaming model file.

    `backend` is `auto` (by the file's suffix) or the name of one; `threads` are those of one step. Raises
    `ModelFileError` for a file that is missing, damaged or not ours, `SpecError` for a contract that can't be read,
    `MissingExtraError` when the back end is not installed.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except IsADirectoryError:
        raise ModelFileError("is a folder, not a model file", place=str(path)) from None
    except OSError as error:
        raise ModelFileError(f"cannot be read: {error.strerror}", place=str(path)) from None
    name, engine = open_engine(path, backend, threads)
    spec = StreamSpec.from_json(engine.spec_json, str(path))
    if content_hash(data) != spec.content_sha256:
        raise ModelFileError(
            "is damaged or was changed after it was written: its hash does not match",
            place=str(path),
            hint="export the model again",
        )
    return Model(path, name, engine, spec)


class Model:
    """A loaded model file. It holds no stream's state: any number of streams share it, also across threads."""

    def __init__(self, path: Path, backend: str, engine: Engine, spec: StreamSpec) -> None:
        self.path = path
        self.backend = backend
        self.spec = spec
        self._engine = engine

    @property
    def summary(self) -> list[dict[str, Any]]:
        """One entry per operation: name, op, inputs, shape, params, macs and parameter bytes of a step."""
        rows: list[dict[str, Any]] = json.loads(self._engine.summary_json)
        return rows

    def stream(self, rate_hz: float | None = None) -> Stream:
        """A new stream in its initial state.

        `rate_hz` is the rate of the frames that will come, when the caller knows it: raises `InputError` when the
        model was made for another one.
        """
        wanted = self.spec.inputs[0].rate_hz
        if rate_hz is not None and wanted is not None and rate_hz != wanted:
            raise InputError(
                f"frames come at {rate_hz:g} Hz; the model takes {wanted:g} Hz",
                place=self.spec.inputs[0].name,
                hint=f"resample the input to {wanted:g} Hz",
            )
        return Stream(self.spec, lambda: self._engine.stepper(self.spec))

    def __call__(self, *frames: npt.ArrayLike, **named: npt.ArrayLike) -> Array | dict[str, Array]:
        """Run a whole sequence through a fresh stream; gives what the PyTorch module gives, without its batch axis.

        Takes `[frames, …frame]` for each input, in the contract's order or by name. Gives `[frames, …frame]` (the
        newest frame alone where the module returns only that), by name when there are several outputs.
        """
        names = [port.name for port in self.spec.inputs]
        if len(frames) > len(names) or set(named) - set(names[len(frames) :]):
            raise InputError(f"takes {len(names)} inputs: {', '.join(names)}", place=self.spec.name)
        given: Any = {**dict(zip(names, frames, strict=False)), **named}
        if len(names) == 1 and len(given) == 1:
            (given,) = given.values()
        stream = self.stream()
        head, tail = stream.push(given), stream.flush()
        whole = {}
        for port in self.spec.outputs:
            parts = [part[port.name] if isinstance(part, dict) else part for part in (head, tail)]
            joined = np.concatenate(parts)
            if port.newest and not len(joined):
                raise InputError("the sequence is too short for one output frame", place=port.name)
            whole[port.name] = joined[-1] if port.newest else joined
        return whole if len(whole) > 1 else next(iter(whole.values()))
