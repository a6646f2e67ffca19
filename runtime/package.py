"""A package of an encoder and a decoder that goes on from it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgernn.errors import InputError, ModelFileError
from edgernn.package import DECODER, ENCODER, check_names, files_in, started
from edgernn.runtime.decode import loop_of
from edgernn.runtime.model import Model, load, load_programs
from edgernn.runtime.stream import Frames, Stream

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Memory:
    """What an encoder gave for a sequence: its outputs by name. Any number of decodings start from it."""

    outputs: Mapping[str, Array]


def load_package(path: str | os.PathLike[str], backend: str = "auto", threads: int = 1) -> Package:
    """Open a package of an encoder and a decoder: a `.ernn` file, or a folder with `package.json`.

    Raises as `load`, and `ModelFileError` for what is no package.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        models = {name: load(file, backend, threads) for name, file in files_in(path).items()}
    else:
        models = load_programs(path, backend, threads)
        check_names(models, path)
    return Package(path, models)


class Package:
    """Named programs of one file or folder; `encode` and `generate` run them as PyTorch's loop would."""

    def __init__(self, path: str, programs: Mapping[str, Model]) -> None:
        self.path = path
        self.programs = dict(programs)
        self.encoder, self.decoder = programs[ENCODER], programs[DECODER]
        self.loop = loop_of(self.decoder.spec)
        made = {port.name: port for port in self.encoder.spec.outputs}
        states = {state.input: state for state in self.decoder.spec.states}
        for start in self.loop.starts:
            size = int(np.prod(states[start.state].shape))
            if start.output not in made or start.offset + size > int(np.prod(made[start.output].frame)):
                raise ModelFileError(f"its encoder has nothing for `{start.state}` to start from", place=path)
        taken = {port.name: port.frame for port in self.decoder.spec.inputs}
        self._room = (0,) if self.loop.memory is None else taken[self.loop.memory]  # [frames, features] of the memory
        if self.loop.memory is not None and (
            self.loop.frames not in made or made[self.loop.frames].frame != self._room[1:]
        ):
            raise ModelFileError("its encoder has no frames for the decoder's memory", place=path)

    def encode(self, *frames: Frames, **named: npt.ArrayLike) -> Memory:
        """Run the encoder over a whole sequence, `[frames, …frame]` as `Model.__call__` takes it.

        Raises `InputError` for arrays that do not fit, or more frames than the decoder's memory declares.
        """
        result = self.encoder(*frames, **named)
        outputs = result if isinstance(result, dict) else {self.encoder.spec.outputs[0].name: result}
        return self.collect(outputs)

    def collect(self, outputs: Mapping[str, Array]) -> Memory:
        """The memory of outputs that a stream of the encoder gave for a sequence, `[frames, …]` or the newest frame.

        Raises `InputError` for more frames than the decoder's memory declares.
        """
        if self.loop.frames is not None:
            count, most = len(outputs[self.loop.frames]), self._room[0]
            if count > most:
                raise InputError(
                    f"{count} frames were encoded; the memory has room for {most}",
                    place=self.path,
                    hint="export it with a larger `max_memory`, or encode shorter sequences",
                )
        return Memory(outputs)

    def stream(self, memory: Memory) -> Stream:
        """A stream of the decoder at the beginning of a sequence; the memory stands in its inputs until it ends."""
        stream = self.decoder.stream()
        states = {state.input: state for state in self.decoder.spec.states}
        arrays = dict(zip(states, stream.states(), strict=True))
        for start in self.loop.starts:
            arrays[start.state] = started(start, states[start.state], memory.outputs[start.output])
        stream.set_states(list(arrays.values()))
        if self.loop.frames is not None and self.loop.memory is not None and self.loop.length is not None:
            frames = memory.outputs[self.loop.frames]
            room = stream.inputs[self.loop.memory][0]
            room[: len(frames)], room[len(frames) :] = frames, 0
            stream.inputs[self.loop.length][...] = len(frames)
        return stream

    def tokens(self, x: Memory | Frames, prompt: Sequence[int] = (), **options: Any) -> Iterator[int]:
        """Tokens as they are chosen, for a memory or what `encode` takes. `options` are those of `Model.tokens`."""
        return self.decoder.tokens(prompt, stream=self._stream_of(x), **options)

    def generate(self, x: Memory | Frames, prompt: Sequence[int] = (), **options: Any) -> list[int]:
        """The tokens for a memory or what `encode` takes. `options` are those of `Model.generate`."""
        return self.decoder.generate(prompt, stream=self._stream_of(x), **options)

    def selftest(self) -> dict[str, bool]:
        """As `Model.selftest`, of all programs together."""
        results = [model.selftest() for model in self.programs.values()]
        return {isa: all(result[isa] for result in results) for isa in results[0]}

    def _stream_of(self, x: Memory | Frames) -> Stream:
        return self.stream(x if isinstance(x, Memory) else self.encode(x))
