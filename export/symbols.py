"""What a node of the captured graph stands for while it is translated into step operations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx

from edgernn.program import Timing

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Pad:
    """Frames that the module adds around a sequence, not yet made: most consumers only need to know of them.

    Negative counts take frames away.
    """

    before: int
    after: int
    mode: str = "constant"
    value: float = 0.0

    def join(self, outer: Pad) -> Pad | None:
        """This padding with `outer` around it as one, or None where the two can only be made one after the other.

        Frames may be cut off what was padded, but padding what was cut does not bring the frames back.
        """
        sides = ((self.before, outer.before), (self.after, outer.after))
        if any(own < 0 < new for own, new in sides):
            return None
        padded, cut_only = max(self.before, self.after) > 0, max(outer.before, outer.after) <= 0
        if padded and not cut_only and (self.mode, self.value) != (outer.mode, outer.value):
            return None
        kind = self if cut_only else outer
        return replace(kind, before=self.before + outer.before, after=self.after + outer.after)


@dataclass(frozen=True)
class Timed:
    """A value with frames.

    `value` names it in the program, `[frames, …]`: time first, the other axes of `shape` behind it. Without a time
    axis (`axis` None) the module keeps only the newest frame, of which a stream has one at every frame.
    """

    value: str
    shape: Shape  # of the whole sequence at the first captured length, as PyTorch has it, `pad` included
    axis: int | None
    timing: Timing
    pad: Pad | None = None
    complex: bool = False  # the value has one axis more: real and imaginary part
    angle: bool = False  # the symbol stands for the angle of its complex value, which has magnitude 1
    turned: bool = False  # for the angle times i
    free: bool = False  # made from the length alone, so its offset is only known where it meets a true value

    def dim(self, axis: int) -> int:
        """Where PyTorch's `axis` lies in the program's value."""
        axis %= len(self.shape)
        if self.axis is None or axis < self.axis:
            return axis + 1
        return 0 if axis == self.axis else axis

    @property
    def frame(self) -> Shape:
        """Shape of one frame."""
        return frame_shape(self.shape, self.axis)


@dataclass(frozen=True)
class Const:
    """A tensor known at export: a parameter, a buffer, or computed from them."""

    tensor: torch.Tensor
    name: str

    @property
    def shape(self) -> Shape:
        return tuple(self.tensor.shape)


@dataclass(frozen=True)
class StateInput(Const):
    """An argument of `forward` without a time axis: the example's value is the initial state of what it feeds."""


@dataclass(frozen=True)
class FinalState:
    """What a recurrent layer returns behind its output: `[layers, batch, hidden]`, the stream's own state.

    `layers` holds each layer's output, whose newest frame is the final h, or an LSTM's cell state; it is None with
    lookahead, and for the cell state where a step has several frames.
    """

    shape: Shape
    layers: tuple[Timed, ...] | None


@dataclass(frozen=True)
class LengthOnly:
    """A value that depends on the sequence's length, but not on the input: an index, a mask, positions.

    It becomes operations of the step only where a value with frames meets it.
    """

    node: fx.Node
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]


@dataclass(frozen=True)
class Term:
    """One operation on attention scores.

    `kind` is that of a `Unary` or `Binary` step operation, or `mask`: minus infinity where the operand is true.
    """

    kind: str
    operand: LengthOnly | Const | float | None = None


@dataclass(frozen=True)
class Scores:
    """How much each frame attends to each: `q kᵀ`, and what a module does to that before it multiplies values by it.

    A stream makes them where the values come, for the band of frames that the masks among `terms` leave.
    """

    q: Timed  # [..., T, features]
    k: Timed  # [..., T, features]
    shape: Shape  # [..., T, T], frames that attend before frames that are attended to
    terms: tuple[Term, ...] = ()
    causal: bool = False  # no frame attends to later ones
    normalised: bool = False  # behind the softmax


@dataclass(frozen=True)
class TimeWeights:
    """The softmax over time of a value; with `values`, these multiplied by it, to be summed up over time."""

    x: Timed
    values: Timed | None = None


Symbol = Timed | Const | FinalState | LengthOnly | Scores | TimeWeights


def frame_shape(shape: Shape, axis: int | None) -> Shape:
    """`shape` without its time axis."""
    return shape if axis is None else (*shape[:axis], *shape[axis + 1 :])
