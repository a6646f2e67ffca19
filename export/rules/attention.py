"""Attention: between the frames of a sequence, within a band; and among the positions of each frame.

Scores of frames against frames are not made where a module makes them. Masks and biases are functions of the distance
between two frames, known at export; they say how far back and ahead a frame attends. So a step multiplies its frames'
queries by the keys of that band, which are kept as they were projected, and the weights by the values.
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
from edgernn.export.rules import attention_rule, find_rule, rule
from edgernn.export.rules.attention_pool import by_product
from edgernn.export.rules.layout import IN_WINDOWS
from edgernn.export.symbols import Const, LengthOnly, Scores, Term, Timed, TimeWeights
from edgernn.program import Op, Timing

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator

LIMIT = "`--attention-window N` has each frame attend to the newest N frames"
AHEAD = (
    f"a causal mask (`is_causal=True`), or one that is a band of frames (`i - j < N`); {LIMIT}, `N/AHEAD`"
    f" to AHEAD frames of the future too; {IN_WINDOWS}"
)
BEHIND = f"a mask that is a band of fewer frames than the example has (`i - j < N`); {LIMIT}; {IN_WINDOWS}"
KINDS = "scores may be scaled, and biased or masked by the distance of two frames; then comes softmax, `dim=-1`"
_BELOW = -1e9  # in the place of minus infinity


@attention_rule("matmul.default", "bmm.default", "mm.default")
def products(t: Translator, node: fx.Node, a: Any, b: Any) -> Any:
    """Queries by keys, weights by values, or weights of a softmax over time by values."""
    if isinstance(a, Scores) and isinstance(b, Timed):
        return _attended(t, node, a, b)
    if isinstance(a, TimeWeights) and isinstance(b, Timed):
        return by_product(t, node, a, b)
    if isinstance(a, Timed) and isinstance(b, Timed):
        return scores_of(t, node, a, _swapped(t, node, b))
    raise UnsupportedError("multiplies a value of every two frames", hint=KINDS)


@attention_rule("baddbmm.default")
def biased_products(t: Translator, node: fx.Node, bias: Any, a: Timed, b: Timed) -> Scores:
    """Queries by keys, and a mask."""
    made = scores_of(t, node, a, _swapped(t, node, b))
    return replace(made, terms=(Term("add", bias),))


def scores_of(t: Translator, node: fx.Node, q: Timed, k: Timed) -> Scores:
    """q and k `[..., T, features]`."""
    for item in (q, k):
        if item.axis != len(item.shape) - 2 or len(item.shape) != len(t.shape(node)):
            raise UnsupportedError("relates frames by more than one product of queries and keys", hint=KINDS)
    return Scores(q, k, t.shape(node))


def _swapped(t: Translator, node: fx.Node, x: Timed) -> Timed:
    """The last two axes in the other order; the program's value is the same, for one of them is time."""
    x, rank = t.settle(x), len(x.shape)
    if x.axis is None or x.axis < rank - 2:
        raise UnsupportedError("relates frames by more than one product of queries and keys", hint=KINDS)
    return replace(x, shape=(*x.shape[:-2], x.shape[-1], x.shape[-2]), axis=2 * rank - 3 - x.axis)


@attention_rule("scaled_dot_product_attention.default")
def attention_over_time(
    t: Translator,
    node: fx.Node,
    q: Timed,
    k: Timed,
    v: Timed,
    mask: LengthOnly | Const | None = None,
    dropout: float = 0.0,
    causal: bool = False,
    *,
    scale: float | None = None,
    **_: Any,
) -> Timed:
    """Of frames to frames."""
    terms = [Term("mul", 1 / math.sqrt(q.shape[-1]) if scale is None else scale)]
    if mask is not None:
        terms.append(Term("attend" if _dtype(mask) == torch.bool else "add", mask))
    shape = (*q.shape[:-1], k.shape[-2])
    return _attended(t, node, Scores(t.settle(q), t.settle(k), shape, tuple(terms), bool(causal), normalised=True), v)


def _dtype(item: LengthOnly | Const) -> torch.dtype:
    return item.node.meta["val"].dtype if isinstance(item, LengthOnly) else item.tensor.dtype


@attention_rule("add.Tensor", "sub.Tensor", "mul.Tensor", "div.Tensor", "add_.Tensor", "mul_.Tensor", "div_.Tensor")
def with_operand(t: Translator, node: fx.Node, a: Any, b: Any, alpha: float = 1) -> Any:
    """Scores scaled or biased; or values times the weights of a softmax over time."""
    kind = str(node.target).split(".")[1].rstrip("_")
    if kind == "mul" and isinstance(b, (Scores, TimeWeights)):
        a, b = b, a
    if isinstance(a, TimeWeights) and isinstance(b, Timed) and kind == "mul" and a.values is None:
        return replace(a, values=b)
    if isinstance(b, Scores) and kind == "add":
        a, b = b, a
    if not isinstance(a, Scores) or isinstance(b, (Scores, Timed, TimeWeights)) or alpha != 1:
        raise UnsupportedError("combines values of every two frames", hint=KINDS)
    return _then(a, Term(kind, b))


@attention_rule("masked_fill.Scalar", "masked_fill_.Scalar")
def filled(t: Translator, node: fx.Node, x: Scores, condition: LengthOnly, value: float) -> Scores:
    """Masked scores."""
    if not isinstance(x, Scores) or value > -1e4:
        raise UnsupportedError("fills scores with another number than minus infinity", hint=KINDS)
    return _then(x, Term("mask", condition))


@attention_rule("where.self", "where.ScalarOther")
def chosen(t: Translator, node: fx.Node, condition: LengthOnly, a: Scores, b: Any) -> Scores:
    """Masked scores."""
    value = b.tensor.max().item() if isinstance(b, Const) else b
    if not isinstance(a, Scores) or not isinstance(value, (int, float)) or value > -1e4:
        raise UnsupportedError("chooses between values of every two frames", hint=KINDS)
    return _then(a, Term("attend", condition))


@attention_rule("tanh.default")
def squashed(t: Translator, node: fx.Node, x: Scores) -> Scores:
    """Scores limited smoothly."""
    return _then(x, Term("tanh"))


def _then(x: Scores, term: Term) -> Scores:
    if x.normalised:
        raise UnsupportedError("changes the weights of an attention", hint=KINDS)
    return replace(x, terms=(*x.terms, term))


@attention_rule("softmax.int")
def weights(t: Translator, node: fx.Node, x: Scores, dim: int, dtype: Any = None) -> Scores:
    """Over the frames that are attended to."""
    if not isinstance(x, Scores) or x.normalised or dim % len(x.shape) != len(x.shape) - 1:
        raise UnsupportedError("normalises scores over the frames that attend", hint=KINDS)
    return replace(x, normalised=True)


@attention_rule("dropout.default", "contiguous.default", "clone.default")
def same(t: Translator, node: fx.Node, x: Scores | TimeWeights, *_: Any, **__: Any) -> Scores | TimeWeights:
    """x."""
    return x


@attention_rule("view.default", "reshape.default", "unsqueeze.default", "squeeze.dim")
@attention_rule("transpose.int", "permute.default", "mT.default")
def shaped(t: Translator, node: fx.Node, x: Scores | TimeWeights, *arguments: Any) -> Any:
    """Heads in other axes; the weights of a softmax over time as what they are made of."""
    if isinstance(x, TimeWeights):
        made = find_rule(str(node.target).removeprefix("aten."))
        assert made is not None
        assert x.values is None
        return TimeWeights(made(t, node, x.x, *arguments))
    shape = t.shape(node)
    kind = str(node.target).split(".")[1]
    if kind in ("transpose", "permute", "mT") or shape[-2:] != x.shape[-2:]:
        raise UnsupportedError("reshapes scores of frames against frames", hint=KINDS)
    return replace(x, shape=shape)


# what a step does


def _attended(t: Translator, node: fx.Node, x: Scores, v: Timed) -> Timed:
    """The weighted sum of values `[..., T, features]`, as operations."""
    if not x.normalised:
        raise UnsupportedError("sums over all frames without a softmax", hint=KINDS)
    v = t.settle(v)
    if v.axis != len(v.shape) - 2:
        raise UnsupportedError("multiplies weights by something else than values", hint=KINDS)
    return _Band(t, node, x, v).build()


class _Band:
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
            table = self.tables[id(term)].at(self.distances())
            outside = 0.0 if term.kind in ("add", "sub") else 1.0
            operand = self._by_head(torch.where(self._open(), table.float().clamp(min=_BELOW), outside), term)
        elif isinstance(term.operand, Const):
            operand = self._by_head(term.operand.tensor.float(), term)
        else:
            operand = self.t.number(term.operand, "float32")
        return self._add(ops.Binary, term.kind, a=scores, b=operand, kind=term.kind)

    def _by_head(self, tensor: Tensor, term: Term) -> str:
        """What broadcasts against `[..., T, T]` as what does against `[1, heads, frames, rows]`."""
        lead = self.x.shape[:-2]
        tensor = tensor.reshape((1,) * (len(lead) + 2 - tensor.ndim) + tuple(tensor.shape))
        if any(size != 1 for size in tensor.shape[:-2]):
            tensor = tensor.expand(*lead, *tensor.shape[-2:]).reshape(1, self.heads, *tensor.shape[-2:])
        else:
            tensor = tensor.reshape(1, 1, *tensor.shape[-2:])
        name = term.operand.name if isinstance(term.operand, Const) else self.t.name(self.node, term.kind)
        return self.t.constant(Const(tensor, f"{name}.by_distance"))

    def distances(self) -> Tensor:
        """Of each row from each query of a step, `[frames, rows]`; those outside the band as its ends."""
        found = torch.arange(self.frames)[:, None] + self.behind - torch.arange(self.rows)
        return found.clamp(-self.ahead, self.behind)

    def _open(self) -> Tensor:
        """`[..., frames, rows]`: which rows a query attends to, wherever it is in the sequence."""
        exact = torch.arange(self.frames)[:, None] + self.behind - torch.arange(self.rows)
        open_ = (exact >= -self.ahead) & (exact <= self.behind)
        for term in self.x.terms:
            if term.kind in ("mask", "attend") and id(term) in self.tables:
                table = self.tables[id(term)].at(self.distances())
                open_ = open_ & (table if term.kind == "attend" else ~table)
        return open_

    def _bias(self) -> str:
        """What masks: rows outside the band, and rows that are no frames of the sequence."""
        t = self.t
        outside = torch.where(self._open(), 0.0, _BELOW)
        frames = self._true_frames()
        name = t.name(self.node, "bias")
        if not outside.any():
            return frames
        lead = self.x.shape[:-2]
        if outside.ndim > 2 and any(size != 1 for size in outside.shape[:-2]):
            outside = outside.expand(*lead, *outside.shape[-2:]).reshape(1, self.heads, *outside.shape[-2:])
        else:
            outside = outside.reshape(1, 1, *outside.shape[-2:])
        return t.add(ops.Binary, name, self.once, a=t.constant(Const(outside, f"{name}.band")), b=frames, kind="add")

    def _true_frames(self) -> str:
        """0 for rows that are frames of the sequence, far below for others; `[1, 1, 1, rows]`."""
        t, item = self.t, self.k
        fields = {"shape": (self.frames, 1), "value": 0.0, "dtype": "float32"}
        zeros = t.add(ops.Fill, t.name(self.node, "true.frames"), item.timing, **fields)
        window = self._window(replace(item, value=zeros), _BELOW, "true")
        return self._reshaped(window, (1, 1, 1, self.rows))


@rule("scaled_dot_product_attention.default")
def attention(
    t: Translator,
    node: fx.Node,
    q: Timed,
    k: Timed,
    v: Timed,
    mask: Const | None = None,
    dropout: float = 0.0,
    causal: bool = False,
    *,
    scale: float | None = None,
    **_: Any,
) -> Timed:
    """softmax(q kᵀ scale + mask) v over the last two axes (Vaswani et al. 2017)."""
    q, k, v = t.align((q, k, v))
    rank = len(q.shape)
    if len({len(item.shape) for item in (q, k, v)}) > 1 or rank < 3:
        raise UnsupportedError("multiplies values of different rank", hint="bring them to one rank: unsqueeze")
    name, timing = t.name(node), t.meet((q, k, v))
    full = len(t.builder.shape(k.value))
    order = (*range(full - 2), full - 1, full - 2)
    turned = t.add(ops.Transpose, f"{name}.keys", timing, x=k.value, axes=order)
    factor = t.number(1 / math.sqrt(q.shape[-1]) if scale is None else scale, "float32")
    scaled = t.add(ops.Binary, f"{name}.scaled", timing, a=q.value, b=factor, kind="mul")
    scores = t.add(ops.MatMul, f"{name}.scores", timing, a=scaled, b=turned)
    if causal:
        mask = Const(torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril(), f"{name}.causal")
    if mask is not None:
        scores = t.add(ops.Binary, f"{name}.masked", timing, a=scores, b=t.constant(_added(mask)), kind="add")
    weights = t.add(ops.Softmax, f"{name}.softmax", timing, x=scores, axis=full - 1, log=False)
    return t.result(node, t.add(ops.MatMul, name, timing, a=weights, b=v.value), q)


def _added(mask: Const) -> Const:
    """A mask as what is added to the scores: where it is false a number far below them all."""
    if mask.tensor.dtype == torch.bool:
        return Const(torch.where(mask.tensor, 0.0, -1e9), mask.name)
    return mask
