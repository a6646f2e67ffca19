"""Attention pooling: frames weighed by a softmax over time, as a running softmax since reset.

With the largest score m so far, the sum l of exp(score - m) and the weighted mean y as states, a frame v with score s
makes m' = max(m, s), l' = l exp(m - m') + exp(s - m') and y' = y + exp(s - m') / l' (v - y) (Milakov and Gimelshein
2018). No power passes 1 and y stays among the frames, however long the stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.nodes import op_name
from edgernn.export.rules import attention_rule
from edgernn.export.rules.layout import IN_WINDOWS, reshape_value
from edgernn.export.rules.operands import broadcast
from edgernn.export.rules.reduce import shaped
from edgernn.export.symbols import Timed, TimeWeights
from edgernn.program import LOWEST, Timing

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator

_WEIGHS = ("mul", "matmul", "bmm")
_PASSES = ("dropout", "contiguous", "clone", "view", "reshape", "unsqueeze", "squeeze", "transpose", "permute", "mT")


@attention_rule("sum.dim_IntList")
def summed(t: Translator, node: fx.Node, x: TimeWeights, dims: Sequence[int], *_: Any) -> Timed:
    """Weighted values over time."""
    if not isinstance(x, TimeWeights) or x.values is None:
        raise UnsupportedError("sums the weights of an attention up", hint="multiply frames by them first")
    shape = np.broadcast_shapes(x.x.shape, x.values.shape)
    if (
        x.x.axis is None
        or dims is None
        or [dim % len(shape) for dim in dims] != [x.x.axis + len(shape) - len(x.x.shape)]
    ):
        raise UnsupportedError("sums weighted frames over more than time", hint=f"sum over time alone; {IN_WINDOWS}")
    (score, value), like = broadcast(t, node, (x.x, x.values), shape=shape)
    return pooled(t, node, replace(like, value=score), replace(like, value=value))


def by_product(t: Translator, node: fx.Node, weights: TimeWeights, x: Timed) -> Timed:
    """Weights `[..., heads, T]` by values `[..., T, features]`: a mean for each head."""
    score, rank = weights.x, len(weights.x.shape)
    x = t.settle(x)
    fits = weights.values is None and rank == len(x.shape) and score.shape[:-2] == x.shape[:-2]
    if not fits or score.axis != rank - 1 or x.axis != rank - 2:
        raise UnsupportedError("multiplies the weights of an attention by something else than frames", hint=IN_WINDOWS)
    score, x = t.align((score, x))
    frames, lead = t.frames(x.timing), x.shape[:-2]
    column, row = ((frames, *lead, *sizes) for sizes in ((score.shape[-2], 1), (1, x.shape[-1])))
    score, x = (
        replace(item, value=reshape_value(t, t.name(node, "rank"), item.value, shape, item.timing))
        for item, shape in ((score, column), (x, row))
    )
    return pooled(t, node, score, x)


def pools(node: fx.Node) -> bool:
    """Whether a softmax over time does nothing but weigh frames."""
    names = [op_name(user).split(".")[0] for user in node.users]
    return bool(names) and all(
        name in _WEIGHS or (name in _PASSES and pools(user)) for name, user in zip(names, node.users, strict=True)
    )


def pooled(t: Translator, node: fx.Node, score: Timed, x: Timed) -> Timed:
    """The mean of x over the frames so far, weighed by the softmax of a score that broadcasts to it."""
    (score, active), (x, _) = t.whole_steps(score), t.whole_steps(x)
    step = _Step(t, node, x.timing)
    frames = t.frames(x.timing)
    shapes = [t.builder.shape(item.value)[1:] for item in (score, x)]
    full = tuple(np.broadcast_shapes(*shapes))
    starts = (("largest", shapes[0], LOWEST), ("total", shapes[0], 0.0), ("mean", full, 0.0))
    pairs = [t.state(t.name(node), name, np.full((1, *shape), start, np.float32)) for name, shape, start in starts]
    states, rows = [incoming for incoming, _ in pairs], []
    for index in range(frames):
        states = step.advance(states, step.frame(score.value, index, frames), step.frame(x.value, index, frames))
        rows.append(states[-1])
    timing = replace(x.timing, receptive_field=None)
    value = rows[0] if frames == 1 else t.add(ops.Concat, t.name(node, "rows"), timing, parts=tuple(rows), axis=0)
    for (incoming, outgoing), new in zip(pairs, states, strict=True):
        step.store(incoming, outgoing, new, active)
    made = replace(x, value=value, timing=timing)
    return shaped(t, node, made, value, t.shape(node), newest=True)


class _Step:
    """One frame after the other."""

    def __init__(self, t: Translator, node: fx.Node, timing: Timing) -> None:
        self.t, self.node = t, node
        self.within = Timing(t.hop, 0, timing.delay, None)  # one frame at a time

    def frame(self, value: str, index: int, frames: int) -> str:
        if frames == 1:
            return value
        fields = {"x": value, "axis": 0, "start": index, "end": index + 1}
        return self.t.add(ops.Slice, self.t.name(self.node, "frame"), self.within, **fields)

    def advance(self, states: list[str], score: str, x: str) -> list[str]:
        largest, total, mean = states
        new = self._binary("max", largest, score)
        kept, power = (self._exp(self._binary("sub", item, new)) for item in (largest, score))
        total = self._binary("add", self._binary("mul", total, kept), power)
        share = self._binary("div", power, total)
        return [new, total, self._binary("add", mean, self._binary("mul", share, self._binary("sub", x, mean)))]

    def _binary(self, kind: str, a: str, b: str) -> str:
        return self.t.add(ops.Binary, self.t.name(self.node, kind), self.within, a=a, b=b, kind=kind)

    def _exp(self, x: str) -> str:
        return self.t.add(ops.Unary, self.t.name(self.node, "exp"), self.within, x=x, kind="exp")

    def store(self, old: str, outgoing: str, new: str, active: str) -> None:
        """The new state, or the old one while the sequence has not begun."""
        name = self.t.name(self.node, "state")
        if active:
            self.t.builder.add(ops.Where, name, None, (outgoing,), condition=active, a=new, b=old)
        else:
            shape = self.t.builder.shape(new)
            self.t.builder.add(ops.Reshape, name, None, (outgoing,), x=new, shape=shape)
