"""Load a model file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgernn.content import content_hash, stored_hash
from edgernn.errors import InputError, ModelFileError, SpecError
from edgernn.runtime import decode
from edgernn.runtime.backends import Engine, Stepper, open_engine
from edgernn.runtime.fading import FadingStepper
from edgernn.runtime.stream import Frames, Stream
from edgernn.runtime.streams import Streams
from edgernn.spec import RATE_HINT, StreamSpec, is_rate

Array = npt.NDArray[Any]

_THREADS = 64  # that may be asked for anywhere; some back ends start them all at once, and thousands take minutes
_STREAMS_HINT = "streams(64) is 64 of them"
_SUMMARY = {"name": str, "op": str, "inputs": list, "shape": list, "params": int, "macs": int, "bytes": int}


def load(path: str | os.PathLike[str], backend: str = "auto", threads: int = 1, *, program: str | None = None) -> Model:
    """Open a streaming model file.

    `backend` is `auto` (by the file's suffix) or the name of one; `threads` are those of one step. Of a `.ernn` file
    the environment's `ERNN_ISA` may choose the instruction set. `program` names one of a file's programs, else it is
    the first. Raises `ModelFileError` for a file that is missing, damaged or not ours, or has no such program,
    `SpecError` for a contract that can't be read, `MissingExtraError` when the back end is not installed,
    `EdgeRNNError` for an instruction set that this CPU cannot run.
    """
    models = load_programs(path, backend, threads)
    if program is None:
        return next(iter(models.values()))
    if program not in models:
        raise ModelFileError(f"has no program `{program}`", place=os.fspath(path), hint=f"it has: {', '.join(models)}")
    return models[program]


def load_programs(path: str | os.PathLike[str], backend: str = "auto", threads: int = 1) -> dict[str, Model]:
    """All programs of a file by name, in its order; raises as `load`."""
    path = os.fspath(path)
    most = max(_THREADS, os.cpu_count() or 1)
    if not 1 <= threads <= most:
        raise InputError(
            f"{threads} threads cannot run a step, 1 to {most} can",
            hint="threads=1 is right for all but very large models",
        )
    try:
        with open(path, "rb") as file:
            data = file.read()
    except IsADirectoryError:
        raise ModelFileError(
            "is a folder, not a model file", place=path, hint="`edgernn.load_package` opens a package"
        ) from None
    except OSError as error:
        raise ModelFileError(f"cannot be read: {error.strerror}", place=path) from None
    digest = content_hash(data)
    if stored_hash(data) != digest:  # before anything parses it
        raise _damaged(path)
    name, engine = open_engine(path, data, backend, threads)
    models = {}
    for each in engine.programs():
        spec = StreamSpec.from_json(each.spec_json, path)
        if spec.content_sha256 != digest:
            raise _damaged(path)
        each.check(spec)
        models[spec.name] = Model(path, name, each, spec)
    return models


def _damaged(path: str) -> ModelFileError:
    return ModelFileError(
        "is damaged or was changed after it was written: its hash does not match",
        place=path,
        hint="export the model again",
    )


class Model:
    """A loaded model file. It holds no stream's state: any number of streams share it, also across threads."""

    def __init__(self, path: str, backend: str, engine: Engine, spec: StreamSpec) -> None:
        self.path = path
        self.backend = backend
        self.spec = spec
        self._engine = engine

    @property
    def summary(self) -> list[dict[str, Any]]:
        """One entry per operation: name, op, inputs, shape, params, macs and parameter bytes of a step.

        Raises `SpecError` when the file's is not of that form.
        """
        try:
            rows = json.loads(self._engine.summary_json)
            return [{key: kind(row[key]) for key, kind in _SUMMARY.items()} for row in rows]
        except (ValueError, TypeError, KeyError):
            raise SpecError("its summary of operations cannot be read", place=self.path) from None

    @property
    def details(self) -> dict[str, Any]:
        """What the back end tells of how it runs the file: of the engine, instruction sets and bytes."""
        return self._engine.details

    def selftest(self) -> dict[str, bool]:
        """Run the file's own test vectors on every instruction set that this CPU can run.

        Gives by its name whether the outputs were, bit for bit, those of the file's maker. Raises `ModelFileError` for
        a file without test vectors, which is any but a `.ernn`.
        """
        results = self._engine.selftest()
        if results is None:
            raise ModelFileError("has no test vectors", place=self.path, hint="a .ernn file has them")
        return results

    def stream(self, rate_hz: float | None = None, *, reset_every: int | None = None) -> Stream:
        """A new stream in its initial state.

        `rate_hz` is the rate of the frames that will come, when the caller knows it: raises `InputError` when the
        model was made for another one, or it is none. With `reset_every`, a fresh state takes over after every so
        many input frames (see `FadingStepper`): for models that were trained on short sequences and drift on long
        ones. Raises `InputError` when that is no multiple of the hop, below `2 * spec.warmup`, or the model never
        forgets.
        """
        wanted = self.spec.inputs[0].rate_hz
        if rate_hz is not None and not is_rate(rate_hz):
            raise InputError(f"frames come at {rate_hz:g} Hz", place=self.spec.inputs[0].name, hint=RATE_HINT)
        if rate_hz is not None and wanted is not None and rate_hz != wanted:
            raise InputError(
                f"frames come at {rate_hz:g} Hz; the model takes {wanted:g} Hz",
                place=self.spec.inputs[0].name,
                hint=f"resample the input to {wanted:g} Hz",
            )

        def make() -> Stepper:
            stepper = self._engine.stepper(self.spec)
            if reset_every is None:
                return stepper
            return FadingStepper(stepper, self._engine.stepper(self.spec), self.spec, reset_every)

        return Stream(self.spec, make)

    def streams(self, n: int) -> Streams:
        """`n` independent streams that step together. Raises `InputError` for less than one, or no integer."""
        if not isinstance(n, (int, np.integer)):
            raise InputError(f"a number of streams is an integer; {type(n).__name__} came", hint=_STREAMS_HINT)
        if n < 1:
            raise InputError(f"{n} streams cannot step", hint=_STREAMS_HINT)
        return Streams([self.stream() for _ in range(n)])

    def __call__(self, *frames: Frames, **named: npt.ArrayLike) -> Array | dict[str, Array]:
        """Run a whole sequence through a fresh stream; gives what the PyTorch module gives, without its batch axis.

        Takes `[frames, …frame]` for each input, in the contract's order, by name, or as one dict. Gives
        `[frames, …frame]` (the newest frame alone where the module returns only that), by name when there are several
        outputs. Raises `InputError` for arrays that do not fit.
        """
        names = [port.name for port in self.spec.inputs]
        if len(frames) > len(names) or set(named) - set(names[len(frames) :]):
            raise InputError(f"takes {len(names)} inputs: {', '.join(names)}", place=self.spec.name)
        given: Any = {**dict(zip(names, frames, strict=False)), **named}
        if len(frames) == 1 and isinstance(frames[0], Mapping) and not named:
            given = frames[0]
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

    def tokens(
        self,
        prompt: Sequence[int] = (),
        *,
        stream: Stream | None = None,
        method: str = "greedy",
        max_length: int | None = None,
        stop: int | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        seed: int = 0,
    ) -> Iterator[int]:
        """Go on from a prompt, token by token: of a language model, or the decoder of a package.

        `method` is `greedy` or `sample` (by `temperature`, `top_k` and `seed`; see `decode.sampler`). Ends before the
        `stop` token (None: the contract's) or after `max_length` tokens (None: the most that the contract allows).
        `stream` is one of this model to go on with, which may have been restored: the last token that it gave has not
        gone in yet, so the prompt begins with it. Raises `InputError` for what the contract does not allow.
        """
        if method == "sample":
            choose = decode.sampler(temperature, top_k, seed)
        elif method == "greedy":
            choose = decode.greedy
        else:
            raise InputError(f"no method of token by token is called `{method}`", hint="there are: greedy, sample")
        chosen = self.stream() if stream is None else stream
        decode.loop_of(self.spec)
        return decode.tokens(chosen, prompt, choose=choose, max_length=max_length, stop=stop)

    def generate(
        self,
        prompt: Sequence[int] = (),
        *,
        stream: Stream | None = None,
        method: str = "greedy",
        max_length: int | None = None,
        stop: int | None = None,
        beam: int = 4,
        **options: Any,
    ) -> list[int]:
        """The tokens that follow a prompt, as `tokens`; `method` may also be `beam`, `beam` hypotheses wide.

        Beam search gives the best of `decode.beam_search` and leaves the stream in the state behind the prompt.
        """
        if method != "beam":
            return list(self.tokens(prompt, stream=stream, method=method, max_length=max_length, stop=stop, **options))
        chosen = self.stream() if stream is None else stream
        return list(decode.beam_search(chosen, prompt, beam=beam, max_length=max_length, stop=stop)[0].tokens)
