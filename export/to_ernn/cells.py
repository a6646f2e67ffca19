"""What a recurrent node runs over: the frames of a step with its states, or the positions of each frame."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgernn.export.to_ernn.builder import Builder, strides_of
from edgernn.program import volume

GATES = {"gru": 3, "lstm": 4, "rnn": 1}


class Run:
    """The operands and results of a recurrent node, and its sizes `(frames, batch, in, hidden, out)`.

    A layer over positions is one over frames to the engine: positions in the place of time, all frames side by side,
    states that start at zero and go nowhere.
    """

    def __init__(self, b: Builder, op: Any) -> None:
        self.b, self.op = b, op
        self.kind = type(op).__name__.lower()
        weight, shape = b.type(op.weight_hh).shape, b.type(op.x).shape
        gates = GATES[self.kind.removeprefix("q")]
        hidden, out = weight[0] // gates, weight[1]
        self.by_position = not op.h
        frames, batch = (shape[2], shape[0] * shape[1]) if self.by_position else shape[:2]
        self.sizes = (frames, batch, shape[-1], hidden, out)
        if self.by_position:
            sizes = {"h": out, "c": hidden}
            self.x = self._turned(b.value(op.x), b.type(op.x).dtype, shape[-1], [batch, frames])
            self.olds = [b.constant(np.zeros((batch, sizes[name]), dtype)) for name, dtype in op.STATES.items()]
            self.news = [b.new(dtype, batch * sizes[name]) for name, dtype in op.STATES.items()]
            self.y = b.new(self._dtype, frames * batch * out)
        else:
            self.x, states = b.value(op.x), [getattr(op, name) for name in op.STATES]
            self.olds = [b.value(state) for state in states]
            self.news = [b.next_state(name, state) for name, state in zip(op.outputs[1:], states, strict=True)]
            self.y = b.result(op.outputs[0])

    @property
    def _dtype(self) -> str:
        return self.b.type(self.op.outputs[0]).dtype

    def node(self, operands: tuple[int, ...], *attributes: int) -> None:
        """Append the node: `operands` behind x and the states, `attributes` behind the sizes."""
        self.b.node(self.kind, (self.x, *self.olds, *operands), (self.y, *self.news), *self.sizes, *attributes)
        if self.by_position:
            frames, batch, out = self.sizes[0], self.sizes[1], self.sizes[4]
            self._turned(self.y, self._dtype, out, [frames, batch], self.b.result(self.op.outputs[0]))

    def _turned(self, x: int, dtype: str, width: int, rows: list[int], y: int | None = None) -> int:
        """Rows `[a, b, width]` as `[b, a, width]`, the positions in the order of the layer."""
        b, size = self.b, volume(rows) * width
        if self.op.reverse and y is not None:
            x = self._reversed(x, dtype, rows[0], size)
        dims = [rows[1], rows[0], width]
        made = b.new(dtype, size) if y is None else y
        b.copy(x, made, dims, [width, rows[1] * width, 1], strides_of(dims))
        return self._reversed(made, dtype, rows[1], size) if self.op.reverse and y is None else made

    def _reversed(self, x: int, dtype: str, count: int, size: int) -> int:
        y, order = self.b.new(dtype, size), self.b.constant(np.arange(count)[::-1])
        self.b.node("take", (x, order), (y,), 1, count, size // count, count)
        return y
