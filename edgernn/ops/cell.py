"""What the recurrent layers share: they run over the frames with a state, or over the positions of each frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from edgernn.program import Array, Type, present, volume


class Cell:
    """Base of `GRU`, `LSTM`, `RNN` and their integer forms.

    With its states (`h`, and `c`) a layer runs over the frames of a step: x `[frames, batch, in]`. Without them it runs
    over the positions of each frame, such as frequencies, from zeros: x `[frames, batch, positions, in]`, one result
    `[frames, batch, positions, out]`; where `reverse` is true from the last position to the first.
    """

    STATES: ClassVar[dict[str, str]]  # operand → element type
    WEIGHTS: ClassVar[tuple[str, ...]] = ("weight_ih", "weight_hh", "weight_hr")
    operand_fields: Callable[[], tuple[str, ...]]
    reverse: bool

    def _operand(self, operands: tuple[Any, ...], name: str) -> Any:
        fields = self.operand_fields()
        return operands[fields.index(name)] if name in fields else None

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        x, weight = present(operands[0]), self._operand(operands, "weight_hh")
        y = Type(getattr(self, "y_dtype", x.dtype), (*x.shape[:-1], weight.shape[1]))
        states = operands[1 : 1 + len(self.STATES)]
        return (y,) if states[0] is None else (y, *map(present, states))

    def macs(self, *operands: Type | None) -> int:
        weights = [self._operand(operands, name) for name in self.WEIGHTS]
        return volume(present(operands[0]).shape[:-1]) * sum(volume(w.shape) for w in weights if w is not None)

    def by_position(
        self, run: Callable[..., tuple[Array, ...]], x: Array, *operands: Array | None
    ) -> tuple[Array, ...]:
        """The result without states: `run(x, *states, *others)` over the positions, all frames side by side."""
        frames, batch, positions, width = x.shape
        line = x.reshape(frames * batch, positions, width).swapaxes(0, 1)
        line = line[::-1] if self.reverse else line
        weight = present(self._operand((x, *operands), "weight_hh"))
        sizes = {"h": weight.shape[1], "c": len(weight) // 4}
        starts = [np.zeros((frames * batch, sizes[name]), dtype) for name, dtype in self.STATES.items()]
        y = run(line, *starts, *operands[len(starts) :])[0]
        y = y[::-1] if self.reverse else y
        return (y.swapaxes(0, 1).reshape(frames, batch, positions, -1),)
