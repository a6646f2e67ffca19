"""Several streams of one model that step together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgernn.errors import InputError
from edgernn.runtime.backends import Direct
from edgernn.runtime.frames import by_name
from edgernn.runtime.stream import Frames, Outputs, Stream

Array = npt.NDArray[Any]


class Streams:
    """`n` independent streams, each an ordinary `Stream`, and a step of all of them in one call.

    The engine reads each part of a layer's int8 weights once for up to 16 streams; every stream's bits are those of
    its own `step`. Other back ends step one after the other. A stream may be stepped, reset, saved and restored by
    itself between joint steps. All are used by one thread at a time.
    """

    def __init__(self, streams: list[Stream]) -> None:
        self.spec = streams[0].spec
        self._streams = streams
        steppers = [stream._stepper for stream in streams]
        first, x, y = streams[0], None, None
        if first._x is not None and first._y is not None:
            x, y = (np.zeros((len(streams), *view.shape), view.dtype) for view in (first._x, first._y))
        joined = steppers[0].joined(steppers, x, y)
        self._run = joined.run if joined else self._run_each
        self._direct: Direct = joined.step if joined else lambda x, out: None

    def __len__(self) -> int:
        return len(self._streams)

    def __getitem__(self, index: int) -> Stream:
        return self._streams[index]

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._streams)

    def reset(self) -> None:
        """All back to the initial state."""
        for stream in self._streams:
            stream.reset()

    def advance(self) -> None:
        """One step of each, from its `inputs` to its `outputs`, without a copy.

        Raises `StateError` when a stream was flushed or waits for the rest of a hop; none is stepped then.
        """
        self._check_ready()
        self._run()

    def step(self, x: Frames, out: Array | None = None) -> Outputs:
        """Feed whole hops to each, `[n, k * hop, …frame]`; gives `[n, k * frames, …frame]`, by name where several.

        With `out` (one output only) the result is written there. Advances the states. Raises `InputError` for a wrong
        shape, dtype or number of frames, and `StateError` as `advance` does; all states are as before then. A step
        that meets an index outside its table is refused for all streams of the engine; steps before it stand.
        """
        for stream in self._streams:
            if not stream._ready:
                break
        else:
            result = self._direct(x, out)
            if result is not None:
                return result
        return self._step_over(x, out)

    def _step_over(self, x: Frames, out: Array | None) -> Outputs:
        arrays = self._arrays(x)
        hop, frames = self.spec.hop, next(iter(arrays.values())).shape[1]
        if frames == 0 or frames % hop:
            raise InputError(
                f"{frames} frames came for each stream; a step takes {hop}, or a multiple of it",
                place=self.spec.inputs[0].name,
            )
        steps = frames // hop
        results = self._room(steps, out)
        self._check_ready()
        for index in range(steps):
            for row, stream in enumerate(self._streams):
                for name, view in stream.inputs.items():
                    view[...] = arrays[name][row, index * hop : (index + 1) * hop]
            self._run()
            for row, stream in enumerate(self._streams):
                for name, view in stream.outputs.items():
                    results[name][row, index * len(view) : (index + 1) * len(view)] = view
        return results if len(results) > 1 else next(iter(results.values()))

    def _check_ready(self) -> None:
        for stream in self._streams:
            if not stream._ready:
                stream._refuse_step()

    def _run_each(self) -> None:
        for stream in self._streams:
            stream._run()

    def _arrays(self, x: Frames) -> dict[str, Array]:
        """The inputs by name, checked, `[n, frames, …frame]`."""
        given = x if isinstance(x, Mapping) else {port.name: x for port in self.spec.inputs[:1]}
        arrays = {name: np.asarray(array) for name, array in given.items()}
        for name, array in arrays.items():
            if array.ndim < 2 or len(array) != len(self):
                raise InputError(
                    f"an array of shape {list(array.shape)} came; {len(self)} streams take [{len(self)}, frames, …]",
                    place=name,
                )
        joined = {name: array.reshape(len(self) * array.shape[1], *array.shape[2:]) for name, array in arrays.items()}
        checked = by_name(self.spec.inputs, joined if isinstance(x, Mapping) else next(iter(joined.values())))
        return {
            name: array.reshape(len(self), len(array) // len(self), *array.shape[1:]) for name, array in checked.items()
        }

    def _room(self, steps: int, out: Array | None) -> dict[str, Array]:
        outputs = self._streams[0].outputs
        shapes = {name: (len(self), steps * len(view), *view.shape[1:]) for name, view in outputs.items()}
        if out is None:
            return {name: np.empty(shape, outputs[name].dtype) for name, shape in shapes.items()}
        if len(shapes) > 1:
            raise InputError(f"`out` goes with a single output; the model has {', '.join(shapes)}")
        name, shape = next(iter(shapes.items()))
        if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != outputs[name].dtype:
            raise InputError(f"`out` does not fit; the result is {outputs[name].dtype} {list(shape)}", place=name)
        if not out.flags.writeable:
            raise InputError("`out` is not to be written", place=name)
        return {name: out}
