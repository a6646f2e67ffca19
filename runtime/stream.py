"""One stream: the state of a model, carried from call to call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgernn.errors import InputError, StateError
from edgernn.runtime import snapshot
from edgernn.runtime.backends import Stepper
from edgernn.runtime.frames import by_name
from edgernn.spec import LEFT_UNKNOWN, OutputSpec, StreamSpec

Array = npt.NDArray[Any]
Frames = npt.ArrayLike | Mapping[str, npt.ArrayLike]
Outputs = Array | dict[str, Array]


class Stream:
    """A sequence on its way through a model.

    `step` is the constant-delay form: whole hops in, as many output frames out, the first `delay` of which lie before
    the sequence. `push` and `flush` are the exact form: any number of frames in, and over the whole sequence exactly
    the frames that the whole-sequence run has. Arrays are `[frames, …frame]`, without a batch axis; dicts by name
    where a model has several inputs or outputs. A stream is used by one thread at a time.
    """

    def __init__(self, spec: StreamSpec, make: Callable[[], Stepper]) -> None:
        self.spec = spec
        self._make = make
        self._stepper = stepper = make()
        self._views_in = {port.name: _without_batch(stepper.inputs[port.name], port) for port in spec.inputs}
        self._views_out = {port.name: _without_batch(stepper.outputs[port.name], port) for port in spec.outputs}
        self._single_in = next(iter(self._views_in.values())) if len(spec.inputs) == 1 else None
        self._single_out = next(iter(self._views_out.values())) if len(spec.outputs) == 1 else None
        self._padding: float = 0.0  # behind the end; the export's proof makes it NaN to see that nothing reads it
        self.reset()

    # --- the verbs -------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Back to the initial state, with nothing pushed."""
        self._stepper.set_states([state.initial() for state in self.spec.states])
        if self._stepper.left is not None:
            self._stepper.left[...] = LEFT_UNKNOWN
        self._pending = {port.name: np.zeros((0, *port.frame), port.dtype) for port in self.spec.inputs}
        self._steps = 0
        self._taken = 0  # input frames that came by `push`
        self._given = {port.name: 0 for port in self.spec.outputs}  # true frames that `push` and `flush` returned
        self._flushed = False

    def step(self, x: Frames, out: Array | None = None) -> Outputs:
        """Feed whole hops, `[n * hop, …frame]`; gives each step's frames as they come, `[n * frames, …frame]`.

        Stream frame `j` since reset is frame `j - delay` of the whole-sequence run. With `out` (one output only)
        the result is written there and nothing is allocated. Advances the state. Raises `InputError` for a wrong
        shape, dtype or number of frames and `StateError` behind `push` of a part of a hop, or `flush`.
        """
        single, target = self._single_in, self._single_out
        if type(x) is np.ndarray and single is not None and x.shape == single.shape and x.dtype == single.dtype:
            self._ready()
            single[...] = x
            self._run()
            if target is not None:
                if out is None:
                    return target.copy()
                self._check_out(out, target.shape)
                out[...] = target
                return out
            return {name: view.copy() for name, view in self._views_out.items()}
        return self._steps_over(x, out)

    def push(self, x: Frames) -> Outputs:
        """Feed any number of frames; gives the whole-sequence frames that are due, without the delay's.

        A part of a hop is kept until the rest of it comes. Advances the state. Raises `InputError` for a wrong shape
        or dtype, `StateError` behind `flush` or `step`.
        """
        arrays = by_name(self.spec.inputs, x)
        if self._flushed:
            raise StateError("the stream was flushed", hint="reset() starts a new sequence")
        if self._steps * self.spec.hop != self._taken - self._waiting:
            raise StateError("the stream was driven by step()", hint="use push() and flush() from the reset on")
        hop = self.spec.hop
        arrays = {name: np.concatenate([self._pending[name], array]) for name, array in arrays.items()}
        total = len(next(iter(arrays.values())))
        self._taken += total - self._waiting
        whole = total - total % hop
        pieces = [self._step_from(arrays, start) for start in range(0, whole, hop)]
        self._pending = {name: array[whole:].copy() for name, array in arrays.items()}
        return self._due(pieces, None)

    def flush(self) -> Outputs:
        """End the sequence: gives exactly the frames that the whole-sequence run has beyond those returned.

        The stream takes no more frames until `reset`. Raises `StateError` when it was driven by `step`.
        """
        if self._flushed:
            raise StateError("the stream was flushed already", hint="reset() starts a new sequence")
        if self._steps * self.spec.hop != self._taken - self._waiting:
            raise StateError("the stream was driven by step()", hint="use push() and flush() from the reset on")
        left, pieces = self._waiting, []
        tail = {
            port.name: np.concatenate([self._pending[port.name], self._silence(port.name, self.spec.hop - left)])
            for port in self.spec.inputs
        }
        while any(self._missing(port) > 0 for port in self.spec.outputs):
            if self._stepper.left is not None:
                self._stepper.left[...] = left
            pieces.append(self._step_from(tail, 0))
            left -= self.spec.hop
            tail = {port.name: self._silence(port.name, self.spec.hop) for port in self.spec.inputs}
        self._flushed = True
        self._pending = {port.name: np.zeros((0, *port.frame), port.dtype) for port in self.spec.inputs}
        return self._due(pieces, self._taken)

    def save(self) -> bytes:
        """The whole state, also what was pushed and not yet used, bound to this very model."""
        counters = [self._steps, self._taken, int(self._flushed), *self._given.values()]
        arrays = [*self._stepper.states(), *self._pending.values()]
        return snapshot.pack(self.spec.content_sha256, counters, arrays)

    def restore(self, saved: bytes) -> None:
        """Back to a saved state. Raises `StateError` when it is damaged or of another model; nothing changes then."""
        states = self._stepper.states()
        fixed = [(state.dtype, state.shape) for state in states]
        loose = [(port.dtype, (None, *port.frame)) for port in self.spec.inputs]
        counters, arrays = snapshot.unpack(
            saved, self.spec.content_sha256, 3 + len(self._given), [*fixed, *loose]
        )
        self._stepper.set_states(arrays[: len(states)])
        self._pending = dict(zip(self._pending, arrays[len(states) :], strict=True))
        self._steps, self._taken, flushed = counters[:3]
        self._flushed = bool(flushed)
        self._given = dict(zip(self._given, counters[3:], strict=True))
        if self._stepper.left is not None:
            self._stepper.left[...] = LEFT_UNKNOWN

    def fork(self) -> Stream:
        """A second stream in the same state, which goes its own way from here."""
        other = Stream(self.spec, self._make)
        other.restore(self.save())
        return other

    @property
    def given(self) -> Mapping[str, int]:
        """Frames that `push` and `flush` have returned since the reset, by output."""
        return dict(self._given)

    # --- in place --------------------------------------------------------------------------------------------

    @property
    def inputs(self) -> Mapping[str, Array]:
        """The inputs' own buffers by name, `[hop, …frame]`: write the frames here, then `advance()`."""
        return self._views_in

    @property
    def outputs(self) -> Mapping[str, Array]:
        """The outputs' own buffers by name, `[frames, …frame]`, valid until the next step."""
        return self._views_out

    def advance(self) -> None:
        """One step from `inputs` to `outputs`, without a copy."""
        self._ready()
        self._run()

    # --- inside ----------------------------------------------------------------------------------------------

    @property
    def _waiting(self) -> int:
        return len(next(iter(self._pending.values())))

    def _ready(self) -> None:
        if self._flushed:
            raise StateError("the stream was flushed", hint="reset() starts a new sequence")
        if self._waiting:
            raise StateError(
                f"{self._waiting} pushed frames wait for the rest of their hop", hint="push() the rest, or reset()"
            )

    def _run(self) -> None:
        self._stepper.run()
        self._steps += 1

    def _step_from(self, arrays: Mapping[str, Array], start: int) -> dict[str, Array]:
        for name, view in self._views_in.items():
            view[...] = arrays[name][start : start + self.spec.hop]
        self._run()
        return {name: view.copy() for name, view in self._views_out.items()}

    def _steps_over(self, x: Frames, out: Array | None) -> Outputs:
        arrays = by_name(self.spec.inputs, x)
        self._ready()
        hop, count = self.spec.hop, len(next(iter(arrays.values())))
        if count == 0 or count % hop:
            raise InputError(
                f"{count} frames came; a step takes {hop}, or a multiple of it",
                place=self.spec.inputs[0].name,
                hint="push() takes any number of frames",
            )
        if out is not None:
            if self._single_out is None:
                raise InputError("`out` goes with a single output")
            self._check_out(out, (count // hop * self._single_out.shape[0], *self._single_out.shape[1:]))
        pieces = [self._step_from(arrays, start) for start in range(0, count, hop)]
        joined = {port.name: np.concatenate([piece[port.name] for piece in pieces]) for port in self.spec.outputs}
        if out is not None:
            out[...] = next(iter(joined.values()))
            return out
        return _one_or_all(joined)

    def _check_out(self, out: Array, shape: tuple[int, ...]) -> None:
        dtype = self.spec.outputs[0].dtype
        if out.shape != shape or out.dtype != dtype:
            raise InputError(
                f"`out` is {out.dtype} {list(out.shape)}; the result is {dtype} {list(shape)}",
                place=self.spec.outputs[0].name,
            )

    def _silence(self, name: str, frames: int) -> Array:
        view = self._views_in[name]
        fill = self._padding if view.dtype.kind == "f" else 0
        return np.full((frames, *view.shape[1:]), fill, view.dtype)

    def _missing(self, port: OutputSpec) -> int:
        """Frames of the whole sequence that have not left the model yet."""
        return port.length(self._taken) - max(0, self._steps * port.shape[0] - port.delay)

    def _due(self, pieces: list[dict[str, Array]], length: int | None) -> Outputs:
        """The true frames among those of the last steps; up to the sequence's end when its length is known."""
        due = {}
        for port in self.spec.outputs:
            frames = port.shape[0]
            first = (self._steps - len(pieces)) * frames - port.delay  # whole-sequence index of the first of them
            empty = self._views_out[port.name][:0]
            joined = np.concatenate([piece[port.name] for piece in pieces]) if pieces else empty.copy()
            end = len(joined) if length is None else port.length(length) - first
            due[port.name] = joined[max(0, self._given[port.name] - first) : max(0, end)]
            self._given[port.name] += len(due[port.name])
        return _one_or_all(due)


def _without_batch(array: Array, port: Any) -> Array:
    """The same memory without the batch axis."""
    view = array.reshape(array.shape[0], *port.frame)
    assert np.shares_memory(view, array) or not array.size
    return view


def _one_or_all(arrays: dict[str, Array]) -> Outputs:
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))
