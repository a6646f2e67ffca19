"""A band of frames that each frame attends to: what a step does.

It multiplies its frames' queries by the keys of the band, which are kept as they were projected, and the weights by the
values. Rows of the band that are no frames of the sequence are masked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.band import ByDistance, by_distance
from edgernn.export.nodes import module_path
from edgernn.export.rules.layout import IN_WINDOWS
from edgernn.export.symbols import Const, LengthOnly, Scores, Term, Timed
from edgernn.program import Op, Timing

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator

LIMIT = "`--attention-window N` has each frame attend to the newest N frames"
AHEAD = (
    f"a causal mask (`is_causal=True`), or one that is a band of frames (`i - j < N`); {LIMIT}, `N/AHEAD`"
    f" to AHEAD frames of the future too; {IN_WINDOWS}"
)
BEHIND = f"a mask that is a band of fewer frames than the example has (`i - j < N`); {LIMIT}; {IN_WINDOWS}"
BELOW = -1e9  # in the place of minus infinity


class Band:
    """Frames that attend to a band of frames.

    Row r of a step's keys lies q + behind - r frames behind its query q, `0 <= r < behind + ahead + frames`.
    """

    def __init__(self, t: Translator, node: fx.Node, x: Scores, v: Timed) -> None:
        self.t, self.node, self.x = t, node, x
        self.tables = {id(term): self._table(term) for term in x.terms if isinstance(term.operand, LengthOnly)}
        self.behind, self.ahead = self._limits()
        q, k, v = (t.settle(item) for item in (x.q, x.k, v))
        self.frames = t.frames(k.timing)
        if self.ends:
            q, k, v = (t.certain(item) for item in (q, k, v))
        q, self.k, self.v = t.align((q, k, v))
        self.q = t.delay(q, self.ahead)
        self.rows = self.behind + self.ahead + self.frames
        self.heads, self.groups = (math.prod(item.shape[:-2]) for item in (q, k))
        if self.heads % self.groups or math.prod(v.shape[:-2]) != self.groups:
            raise UnsupportedError("has other heads in keys than in values or queries", hint="as many, or a divisor")
        self.once = Timing(t.hop, 0, 0, None)  # what a step has one of

    def _table(self, term: Term) -> ByDistance:
        assert isinstance(term.operand, LengthOnly)
        return by_distance(*self.t.by_length.values(term.operand.node))

    def _limits(self) -> tuple[int, int]:
        """How far back and ahead a frame attends."""
        low: int | None = 0 if self.x.causal else None
        high: int | None = None
        for term in self.x.terms:
            found = self.tables.get(id(term))
            if found is not None and term.kind in ("add", "mask", "attend"):
                least, most = ByDistance(~found.table).limits() if term.kind == "attend" else found.limits()
                low = least if low is None else low if least is None else max(low, least)
                high = most if high is None else high if most is None else min(high, most)
        wanted = self.t.reach.attention
        if wanted is not None and (low is None or high is None or high >= wanted.frames):
            low = -wanted.ahead if low is None else low
            high = wanted.frames - 1 if high is None else min(high, wanted.frames - 1)
            self.t.windowed[module_path(self.node)] = (high + 1, max(0, -low))
        if low is None:
            raise UnsupportedError("attends to all frames of the sequence", hint=AHEAD)
        if high is None:
            raise UnsupportedError("attends to all frames so far, which no bounded memory holds", hint=BEHIND)
        return max(0, high), max(0, -low)

    def build(self) -> Timed:
        """Products, softmax, product; `[1, groups, queries, …]`, the queries of a group are its heads' frames."""
        t, rest = self.t, self.frames * self.heads // self.groups
        width, out = self.q.shape[-1], self.v.shape[-1]
        left = self._turned(self._scaled(), "queries", (self.frames, self.groups, -1, width), (1, 2, 0, 3))
        left = self._reshaped(left, (1, self.groups, rest, width))
        keys, values = (self._window(item, 0.0, name) for item, name in ((self.k, "keys"), (self.v, "values")))
        right = self._turned(keys, "keys", (self.rows, self.groups, width), (1, 2, 0))
        right = self._reshaped(right, (1, self.groups, width, self.rows))
        scores = self._add(ops.MatMul, "scores", a=left, b=right)
        scores = self._reshaped(scores, (1, self.heads, self.frames, self.rows))
        for term in self.terms:
            scores = self._applied(scores, term)
        scores = self._add(ops.Binary, "masked", a=scores, b=self._bias(), kind="add")
        scores = self._add(ops.Softmax, "softmax", x=scores, axis=3, log=False)
        scores = self._reshaped(scores, (1, self.groups, rest, self.rows))
        right = self._turned(values, "values", (self.rows, self.groups, out), (1, 0, 2))
        right = self._reshaped(right, (1, self.groups, self.rows, out))
        y = self._add(ops.MatMul, "mixed", a=scores, b=right)
        y = self._turned(y, "frames", (self.groups, -1, self.frames, out), (2, 0, 1, 3))
        shape, axis = t.shape(self.node), len(t.shape(self.node)) - 2
        timing = self._timing()
        full = (self.frames, *shape[:-2], out)
        made = t.add(ops.Reshape, t.name(self.node), timing, x=y, shape=full)
        return t.symbol(made, shape, axis, timing)

    def _timing(self) -> Timing:
        timing = self.t.meet((self.q, self.k, self.v))
        return replace(timing.widened(self.behind + self.ahead), delay=self.q.timing.delay)

    def _add(self, op: type[Op], name: str, /, **fields: Any) -> str:
        return self.t.add(op, self.t.name(self.node, name), self.once, **fields)

    def _reshaped(self, value: str, shape: Sequence[int]) -> str:
        if self.t.builder.shape(value) == tuple(shape):
            return value
        return self._add(ops.Reshape, "shape", x=value, shape=tuple(shape))

    def _turned(self, value: str, name: str, shape: Sequence[int], axes: tuple[int, ...]) -> str:
        """A value as `shape` (one size may be -1), its axes in another order."""
        size = math.prod(self.t.builder.shape(value))
        known = math.prod(item for item in shape if item != -1)
        shape = tuple(size // known if item == -1 else item for item in shape)
        value = self._reshaped(value, shape)
        moved = [axis for axis in axes if shape[axis] != 1]
        if moved == sorted(moved):
            return self._reshaped(value, [shape[axis] for axis in axes])
        return self._add(ops.Transpose, name, x=value, axes=axes)

    def _scaled(self) -> str:
        """The queries, times the factors that the scores would have been multiplied by first."""
        value, terms = self.q.value, list(self.x.terms)
        factor = 1.0
        while terms and terms[0].kind in ("mul", "div"):
            kind, operand = terms[0].kind, terms[0].operand
            if not isinstance(operand, (int, float)):
                break
            factor = factor * operand if kind == "mul" else factor / operand
            del terms[0]
        self.terms = terms
        if factor == 1.0:
            return value
        number = self.t.number(factor, "float32")
        return self.t.add(ops.Binary, self.t.name(self.node, "scaled"), self.q.timing, a=value, b=number, kind="mul")

    def _window(self, item: Timed, fill: float, name: str) -> str:
        """The rows of a step, `fill` in those that are no frames of the sequence."""
        t, value = self.t, item.value
        start = item.timing.delay > 0
        if start or self.ends:
            valid = t.validity(item.timing, start=start, end=self.ends)
            value = t.add(ops.Mask, t.name(self.node, f"{name}.mask"), item.timing, x=value, valid=valid, fill=fill)
        return t.kept(replace(item, value=value), self.behind + self.ahead, fill, t.name(self.node, name))

    @property
    def ends(self) -> bool:
        """Whether frames behind the sequence's end come into the band of a frame within it."""
        return self.ahead > 0 or self.frames > 1

    def _applied(self, scores: str, term: Term) -> str:
        if term.kind in ("mask", "attend"):
            return scores  # in the bias
        if term.operand is None:
            return self._add(ops.Unary, term.kind, x=scores, kind=term.kind)
        if isinstance(term.operand, LengthOnly):
            table = self.tables[id(term)].at(self._within())
            outside = 0.0 if term.kind in ("add", "sub") else 1.0
            name = f"{self.t.name(self.node, term.kind)}.by_distance"
            operand = self._by_head(torch.where(self._open(), table.float().clamp(min=BELOW), outside), name)
        elif isinstance(term.operand, Const):
            operand = self._by_head(term.operand.tensor.float(), f"{term.operand.name}.by_distance")
        else:
            operand = self.t.number(term.operand, "float32")
        return self._add(ops.Binary, term.kind, a=scores, b=operand, kind=term.kind)

    def _by_head(self, tensor: Tensor, name: str) -> str:
        """What broadcasts against `[..., T, T]` as a constant that does against `[1, heads, frames, rows]`."""
        lead = self.x.shape[:-2]
        tensor = tensor.reshape((1,) * (len(lead) + 2 - tensor.ndim) + tuple(tensor.shape))
        heads = 1
        if any(size != 1 for size in tensor.shape[:-2]):
            tensor, heads = tensor.expand(*lead, *tensor.shape[-2:]), self.heads
        return self.t.constant(Const(tensor.reshape(1, heads, *tensor.shape[-2:]), name))

    def _behind(self) -> Tensor:
        """How many frames each row is behind each query of a step, `[frames, rows]`."""
        return torch.arange(self.frames)[:, None] + self.behind - torch.arange(self.rows)

    def _within(self) -> Tensor:
        """The same, with the band's ends in the place of what is outside it."""
        return self._behind().clamp(-self.ahead, self.behind)

    def _open(self) -> Tensor:
        """`[..., frames, rows]`: which rows a query attends to, wherever it is in the sequence."""
        open_ = self._behind() == self._within()
        for term in self.x.terms:
            if term.kind in ("mask", "attend") and id(term) in self.tables:
                table = self.tables[id(term)].at(self._within())
                open_ = open_ & (table if term.kind == "attend" else ~table)
        return open_

    def _bias(self) -> str:
        """What masks: rows outside the band, and rows that are no frames of the sequence."""
        outside, frames = torch.where(self._open(), 0.0, BELOW), self._true_frames()
        if not outside.any():
            return frames
        name = self.t.name(self.node, "bias")
        return self.t.add(ops.Binary, name, self.once, a=self._by_head(outside, f"{name}.band"), b=frames, kind="add")

    def _true_frames(self) -> str:
        """0 for rows that are frames of the sequence, far below for others; `[1, 1, 1, rows]`."""
        t, item = self.t, self.k
        fields = {"shape": (self.frames, 1), "value": 0.0, "dtype": "float32"}
        zeros = t.add(ops.Fill, t.name(self.node, "true.frames"), item.timing, **fields)
        window = self._window(replace(item, value=zeros), BELOW, "true")
        return self._reshaped(window, (1, 1, 1, self.rows))
