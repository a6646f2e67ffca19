"""What a recurrent layer runs over, one place after the other: the frames of a step, or the positions of each frame."""

from __future__ import annotations

from collections.abc import Sequence

from edgernn import ops
from edgernn.export.to_tflite.builder import Builder
from edgernn.export.to_tflite.graph import Tensor

Layer = ops.GRU | ops.LSTM | ops.RNN | ops.QGRU | ops.QLSTM | ops.QRNN


class Line:
    """The places of a layer. `rows` is x, `[count * batch, in]`, a place's rows together.

    Of positions all frames run side by side: they are the batch.
    """

    def __init__(self, b: Builder, op: Layer) -> None:
        self._b, self._op = b, op
        if op.h:
            self.count, self.batch, width = b.shape(op.x)
        else:
            frames, batch, self.count, width = b.shape(op.x)
            self.batch = frames * batch
        if op.h or self.batch == 1:
            self.rows = b.get(op.x, (self.count * self.batch, width))
        else:
            turned = b.transpose(b.get(op.x, (self.batch, self.count, width)), (1, 0, 2))
            self.rows = b.reshape(turned, (self.count * self.batch, width))
        self.places = range(self.count)[::-1] if op.reverse else range(self.count)

    def at(self, rows: Tensor, place: int) -> Tensor:
        """A place's rows of what was made of all."""
        return self._b.slice(rows, 0, place * self.batch, (place + 1) * self.batch)

    def joined(self, rows: Sequence[Tensor]) -> Tensor:
        """The layer's y of what each place gave, in the order that they ran in."""
        y = self._b.concat(rows[::-1] if self._op.reverse else rows, 0)
        if self._op.h or self.batch == 1:
            return y
        return self._b.transpose(self._b.reshape(y, (self.count, self.batch, y.shape[1])), (1, 0, 2))

    def leave(self, y: Tensor, *states: Tensor) -> None:
        """Put the results: y, and the new states where there are some."""
        self._b.put(self._op.outputs[0], y)
        for name, new, field in zip(self._op.outputs[1:], states, self._op.STATES, strict=False):
            self._b.put(name, self._b.held(self._op.active, new, self._b.get(getattr(self._op, field))))
