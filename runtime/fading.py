"""A stream that never grows old: a second state starts from reset now and then, and its outputs fade in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgernn.errors import InputError, StateError
from edgernn.runtime.backends import Direct, Stepper
from edgernn.spec import StreamSpec

Array = npt.NDArray[Any]


class FadingStepper:
    """Two steppers of one model as one, for networks that were trained on short sequences.

    At every `every`-th input frame the second starts from its initial state and runs beside the first. When it has
    warmed up (`spec.warmup`) it fades in over as many steps again: float outputs move in a straight line from one to
    the other, others change in the middle. Then its state becomes the first's. The age of what is heard stays below
    `every + 2 warmup` frames; steps cost double while both run.
    """

    def __init__(self, first: Stepper, second: Stepper, spec: StreamSpec, every: int) -> None:
        self._first, self._second = first, second
        self._initial = [state.initial() for state in spec.states]
        self._every = every
        self._period = every // spec.hop
        self._warming = -(-_warmup(spec) // spec.hop)
        self._fading = max(1, self._warming)
        if every < spec.hop or every % spec.hop:
            raise InputError(f"reset_every={every} is not a multiple of the hop, {spec.hop} frames", place=spec.name)
        if self._period < self._warming + self._fading:
            least = (self._warming + self._fading) * spec.hop
            raise InputError(
                f"reset_every={every} is too short: the model warms up in {spec.warmup} frames, and fades in as many",
                place=spec.name,
                hint=f"take {least} or more",
            )
        self.inputs = first.inputs
        self.outputs = {name: array.copy() for name, array in first.outputs.items()}
        self.left = first.left

    @property
    def steps(self) -> int:
        """Steps since reset."""
        return self._first.steps

    @steps.setter
    def steps(self, steps: int) -> None:
        self._first.steps = steps

    def run(self) -> None:
        """One step of the first, and of the second where it is under way."""
        turn, phase = divmod(self._first.steps, self._period)
        both = turn > 0 and phase < self._warming + self._fading
        if both:
            if phase == 0:
                self._second.set_states(self._initial)
                self._second.steps = 0
            for name, array in self._second.inputs.items():
                array[...] = self.inputs[name]
            if self._second.left is not None:
                self._second.left[...] = self.left
            self._second.run()
        self._first.run()
        share = (phase - self._warming + 1) / (self._fading + 1) if both else 0.0
        for name, array in self.outputs.items():
            self._mix(array, self._first.outputs[name], self._second.outputs[name], share)
        if both and phase == self._warming + self._fading - 1:
            self._first.set_states(self._second.states())

    @staticmethod
    def _mix(to: Array, old: Array, new: Array, share: float) -> None:
        if share <= 0:
            to[...] = old
        elif to.dtype.kind == "f":
            to[...] = old + share * (new - old)
        else:
            to[...] = new if share >= 0.5 else old

    def states(self) -> list[Array]:
        """Those of both, and how often they change: a saved state goes on in a stream of the same rhythm only."""
        return [*self._first.states(), *self._second.states(), np.array(self._every)]

    def set_states(self, states: list[Array]) -> None:
        """Copy values into both; of a single state, into both alike."""
        count = len(self._initial)
        if len(states) > count:
            if int(states[-1]) != self._every:
                raise StateError(f"the state was saved with reset_every={int(states[-1])}, not {self._every}")
            self._second.set_states(states[count : 2 * count])
        else:
            self._second.set_states(states)
        self._first.set_states(states[:count])

    def direct(self, x: Array, y: Array) -> Direct | None:
        """None: both steps are made from Python."""
        return None

    def joined(self, steppers: Sequence[Stepper], x: Array | None, y: Array | None) -> None:
        """Streams are stepped one after the other."""

    def prefetch(self) -> None:
        """The weights are the same for both."""
        self._first.prefetch()


def _warmup(spec: StreamSpec) -> int:
    if spec.warmup is None:
        raise InputError(
            "takes no `reset_every`: its outputs do not forget what was before",
            place=spec.name,
            hint="`spec.warmup` is measured at export; here no fresh state came within 40 dB of a long-running one",
        )
    return spec.warmup
