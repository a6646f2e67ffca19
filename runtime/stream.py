"""One stream: the state of a model, carried from call to call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgernn.errors import InputError, StateError
from edgernn.runtime import snapshot
from edgernn.runtime.backends import Direct, Stepper
from edgernn.runtime.frames import by_name
from edgernn.spec import LEFT_UNKNOWN, OFFLINE, InputSpec, OutputSpec, StreamSpec

Array = npt.NDArray[Any]
Frames = npt.ArrayLike | Mapping[str, npt.ArrayLike]
Outputs = Array | dict[str, Array]

_RUNNING = -1  # in a saved state, for the length of a sequence that was not flushed


class Stream:
    """A sequence on its way through a model.

    `step` is the constant-delay form: whole hops in, as many output frames out, the first `delay` of which lie before
    the sequence. `push` and `flush` are the exact form: any number of frames in, and over the whole sequence exactly
    the frames that the whole-sequence run has. In place, without a copy or a check: write `x`, `advance()`, read
    `y`. Arrays are `[frames, …frame]`, without a batch axis; dicts by name where a model has several inputs or
    outputs. A stream is used by one thread at a time.

    A step that meets an index outside its table is refused and changes nothing; steps before it in the same call stand.
    """

    def __init__(self, spec: StreamSpec, make: Callable[[], Stepper]) -> None:
        self.spec = spec
        self._make = make
        self._stepper = stepper = make()
        # frames of a hop that is not whole yet wait in the inputs' own buffers, the first `_held` rows
        self._inputs = {port.name: _without_batch(stepper.inputs[port.name], port) for port in spec.inputs}
        self._outputs = {port.name: _without_batch(stepper.outputs[port.name], port) for port in spec.outputs}
        self._x = next(iter(self._inputs.values())) if len(spec.inputs) == 1 else None
        self._y = next(iter(self._outputs.values())) if len(spec.outputs) == 1 else None
        self._run = stepper.run
        self._direct = _direct(stepper, self._x, self._y)
        self._padding: float = 0.0  # behind the end; the export's proof makes it NaN to see that nothing reads it
        self.reset()

    # --- the verbs -------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Back to the initial state, with nothing pushed."""
        self._stepper.set_states([state.initial() for state in self.spec.states])
        self._set_left(LEFT_UNKNOWN)
        self._stepper.steps = 0
        self._length: int | None = None  # input frames of the sequence, once `flush` has ended it
        self._hold(0)

    def step(self, x: Frames, out: Array | None = None) -> Outputs:
        """Feed whole hops, `[n * hop, …frame]`; gives each step's frames as they come, `[n * frames, …frame]`.

        Stream frame `j` since reset is frame `j - delay` of the whole-sequence run. With `out` (one output only)
        the result is written there, and one hop allocates nothing. Advances the state. Raises `InputError` for a
        wrong shape, dtype or number of frames and `StateError` behind `push` of a part of a hop, or `flush`; the
        state is as before then.
        """
        if self._ready:
            result = self._direct(x, out)
            if result is not None:
                return result
        return self._step_over(x, out)

    def push(self, x: Frames) -> Outputs:
        """Feed any number of frames; gives the whole-sequence frames that are due, without the delay's.

        A part of a hop is kept until the rest of it comes. Advances the state. Raises `InputError` for a wrong shape
        or dtype, `StateError` behind `flush`; the state is as before then.
        """
        arrays = self._arrays(x)
        if self._length is not None:
            self._refuse_step()
        hop, first, count = self.spec.hop, self._stepper.steps, len(next(iter(arrays.values())))
        steps, start = (self._held + count) // hop, 0
        results = self._room(steps)
        for index in range(steps):
            end = start + hop - self._held
            self._fill(arrays, start, end)
            self._hold(0)
            start = end
            self._run()
            self._collect(results, index)
        self._fill(arrays, start, count)
        self._hold(self._held + count - start)
        return self._due(results, first)

    def flush(self) -> Outputs:
        """End the sequence: gives exactly the frames that the whole-sequence run has beyond those due so far.

        The frames behind the end are zeros to the model, and it is told where the end is. The stream takes no more
        frames until `reset`. Raises `StateError` when it was flushed already, and `InputError` when a model of mode
        `offline` got a sequence of another length than its own.
        """
        if self._length is not None:
            self._refuse_step()
        hop, first = self.spec.hop, self._stepper.steps
        taken = first * hop + self._held
        if self.spec.mode == OFFLINE and taken != hop:
            raise InputError(
                f"{taken} frames came; the model was made for sequences of {hop}",
                place=self.spec.name,
                hint="export it with an example of that length, or with `--mode window:N` for sequences of any",
            )
        steps = max(self._steps_missing(port, taken) for port in self.spec.outputs) if taken else 0
        results = self._room(steps)
        for index in range(steps):
            self._set_left(taken - self._stepper.steps * hop)
            for view in self._inputs.values():
                view[self._held :] = self._padding if view.dtype.kind == "f" else 0
            self._hold(0)
            self._run()
            self._collect(results, index)
        self._length = taken
        self._hold(0)
        return self._due(results, first)

    def save(self) -> bytes:
        """The whole state, also what was pushed and not yet used, bound to this very model."""
        length = _RUNNING if self._length is None else self._length
        waiting = [view[: self._held] for view in self._inputs.values()]
        arrays = [*self._stepper.states(), *waiting]
        return snapshot.pack(self.spec.content_sha256, (self._stepper.steps, self._held, length), arrays)

    def restore(self, saved: bytes) -> None:
        """Back to a saved state. Raises `StateError` when it is damaged or of another model; nothing changes then."""
        states = [(state.dtype, state.shape) for state in self._stepper.states()]
        waiting = [(port.dtype, (None, *port.frame)) for port in self.spec.inputs]
        counters, arrays = snapshot.unpack(saved, self.spec.content_sha256, 3, [*states, *waiting])
        steps, held, length = counters
        pushed = arrays[len(states) :]
        if steps < 0 or not 0 <= held < self.spec.hop or length < _RUNNING or any(len(x) != held for x in pushed):
            raise StateError("the saved state contradicts itself", hint=snapshot.HINT)
        self._stepper.set_states(arrays[: len(states)])
        for view, array in zip(self._inputs.values(), pushed, strict=True):
            view[:held] = array
        self._stepper.steps, self._length = steps, None if length == _RUNNING else length
        self._hold(held)
        self._set_left(LEFT_UNKNOWN)

    def fork(self) -> Stream:
        """A second stream in the same state, which goes its own way from here."""
        other = Stream(self.spec, self._make)
        other.restore(self.save())
        return other

    def states(self) -> list[Array]:
        """Copies of the state's arrays, in the contract's order: a hypothesis to come back to by `set_states`."""
        return [array.copy() for array in self._stepper.states()]

    def set_states(self, states: list[Array]) -> None:
        """Put copies of arrays like those of `states` in the state's place. Frames and counts stay as they are."""
        self._stepper.set_states(states)

    @property
    def fresh(self) -> bool:
        """Whether no step was made since the reset."""
        return self._stepper.steps == 0

    @property
    def given(self) -> Mapping[str, int]:
        """Frames of the whole-sequence run that have left the stream since the reset, by output."""
        return {port.name: self._given(port) for port in self.spec.outputs}

    # --- in place --------------------------------------------------------------------------------------------

    @property
    def x(self) -> Array:
        """The only input's buffer, `[hop, …frame]`, for the life of the stream. Raises `InputError` for several."""
        return _only(self._x, self._inputs)

    @property
    def y(self) -> Array:
        """The only output's buffer, `[frames, …frame]`, valid until the next step. Raises `InputError` for several."""
        return _only(self._y, self._outputs)

    @property
    def inputs(self) -> Mapping[str, Array]:
        """The inputs' own buffers by name, `[hop, …frame]`: write the frames here, then `advance()`."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, Array]:
        """The outputs' own buffers by name, `[frames, …frame]`, valid until the next step."""
        return self._outputs

    def advance(self) -> None:
        """One step from `inputs` to `outputs`, without a copy. Raises `StateError` as `step` does."""
        if not self._ready:
            self._refuse_step()
        self._run()

    def prefetch(self) -> None:
        """Ask the caches for the weights, well before the next frame is due. Changes no result."""
        self._stepper.prefetch()

    # --- inside ----------------------------------------------------------------------------------------------

    def _hold(self, frames: int) -> None:
        """So many frames wait in the inputs' buffers for the rest of their hop."""
        self._held = frames
        self._ready = frames == 0 and self._length is None

    def _refuse_step(self) -> None:
        if self._length is not None:
            raise StateError("the stream was flushed", hint="reset() starts a new sequence")
        raise StateError(
            f"{self._held} pushed frames wait for the rest of their hop of {self.spec.hop}",
            hint="push() the rest, or reset()",
        )

    def _arrays(self, x: Frames) -> Mapping[str, Array]:
        """The inputs' frames by name, checked."""
        view = self._x
        if view is None or type(x) is not np.ndarray or x.dtype != view.dtype:
            return by_name(self.spec.inputs, x)
        if x.ndim != view.ndim or x.shape[1:] != view.shape[1:]:
            return by_name(self.spec.inputs, x)
        return {self.spec.inputs[0].name: x}

    def _step_over(self, x: Frames, out: Array | None) -> Outputs:
        arrays = self._arrays(x)
        if not self._ready:
            self._refuse_step()
        hop, count = self.spec.hop, len(next(iter(arrays.values())))
        if count == 0 or count % hop:
            raise InputError(
                f"{count} frames came; a step takes {hop}, or a multiple of it",
                place=self.spec.inputs[0].name,
                hint="push() takes any number of frames",
            )
        steps = count // hop
        if out is None:
            results = self._room(steps)
        else:
            self._check_out(out, steps)
            results = {self.spec.outputs[0].name: out}
        for index in range(steps):
            self._fill(arrays, index * hop, (index + 1) * hop)
            self._run()
            self._collect(results, index)
        return _one_or_all(results)

    def _check_out(self, out: Array, steps: int) -> None:
        view = self._y
        if view is None:
            names = ", ".join(port.name for port in self.spec.outputs)
            raise InputError(f"`out` goes with a single output; the model has {names}")
        shape = (steps * view.shape[0], *view.shape[1:])
        if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != view.dtype:
            came = f"{out.dtype} {list(out.shape)}" if isinstance(out, np.ndarray) else type(out).__name__
            raise InputError(
                f"`out` is {came}; the result is {view.dtype} {list(shape)}", place=self.spec.outputs[0].name
            )
        if not out.flags.writeable:
            raise InputError("`out` is not to be written", place=self.spec.outputs[0].name)

    def _set_left(self, frames: int) -> None:
        if self._stepper.left is not None:
            self._stepper.left[...] = frames

    def _fill(self, arrays: Mapping[str, Array], start: int, end: int) -> None:
        """Put frames `[start, end)` behind those that wait."""
        for name, view in self._inputs.items():
            view[self._held : self._held + end - start] = arrays[name][start:end]

    def _room(self, steps: int) -> dict[str, Array]:
        """Arrays for the results of so many steps."""
        return {
            name: np.empty((steps * view.shape[0], *view.shape[1:]), view.dtype) for name, view in self._outputs.items()
        }

    def _collect(self, results: Mapping[str, Array], index: int) -> None:
        for name, result in results.items():
            view = self._outputs[name]
            result[index * len(view) : (index + 1) * len(view)] = view

    def _given(self, port: OutputSpec) -> int:
        if self._length is not None:
            return port.length(self._length) if self._length else 0
        return max(0, self._stepper.steps * port.shape[0] - port.delay)

    def _steps_missing(self, port: OutputSpec, taken: int) -> int:
        """Steps until the last frame of a sequence of `taken` input frames has left."""
        return max(0, -(-(port.length(taken) + port.delay) // port.shape[0]) - self._stepper.steps)

    def _due(self, results: Mapping[str, Array], first: int) -> Outputs:
        """The true frames among those of the steps from `first` on."""
        due = {}
        for port in self.spec.outputs:
            origin = first * port.shape[0] - port.delay  # whole-sequence index of the first of them
            due[port.name] = results[port.name][max(0, -origin) : max(0, self._given(port) - origin)]
        return _one_or_all(due)


def _direct(stepper: Stepper, x: Array | None, y: Array | None) -> Direct:
    """`Stepper.direct`, or the like in Python; of several inputs or outputs one that takes nothing."""
    if x is None or y is None:
        return lambda given, out: None
    short = stepper.direct(x, y)
    if short is not None:
        return short
    x_kind, y_kind = (x.shape, x.dtype), (y.shape, y.dtype)

    def direct(given: Any, out: Any) -> Array | None:
        if type(given) is not np.ndarray or (given.shape, given.dtype) != x_kind:
            return None
        if out is None:
            x[...] = given
            stepper.run()
            return y.copy()
        if type(out) is not np.ndarray or (out.shape, out.dtype) != y_kind or not out.flags.writeable:
            return None
        x[...] = given
        stepper.run()
        out[...] = y
        return out

    return direct


def _only(view: Array | None, views: Mapping[str, Array]) -> Array:
    if view is None:
        raise InputError(
            f"there are {len(views)}: {', '.join(views)}", hint="take one by its name from `inputs` or `outputs`"
        )
    return view


def _without_batch(array: Array, port: InputSpec | OutputSpec) -> Array:
    """The same memory without the batch axis."""
    view = array.reshape(array.shape[0], *port.frame)
    assert np.shares_memory(view, array)
    return view


def _one_or_all(arrays: dict[str, Array]) -> Outputs:
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))
