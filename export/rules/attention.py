"""Attention: between the frames of a sequence, within a band; and among the positions of each frame.

Scores of frames against frames are not made where a module makes them. Masks and biases are functions of the distance
between two frames, known at export; they say how far back and ahead a frame attends (`attention_band.py`).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.rules import attention_rule, find_rule, rule
from edgernn.export.rules.attention_band import BELOW, Band
from edgernn.export.rules.attention_pool import by_product
from edgernn.export.symbols import Const, LengthOnly, Scores, Term, Timed, TimeWeights

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator

KINDS = "scores may be scaled, and biased or masked by the distance of two frames; then comes softmax, `dim=-1`"


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


def _attended(t: Translator, node: fx.Node, x: Scores, v: Timed) -> Timed:
    """The weighted sum of values `[..., T, features]`, as operations."""
    if not x.normalised:
        raise UnsupportedError("sums over all frames without a softmax", hint=KINDS)
    v = t.settle(v)
    if v.axis != len(v.shape) - 2:
        raise UnsupportedError("multiplies weights by something else than values", hint=KINDS)
    return Band(t, node, x, v).build()


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
        return Const(torch.where(mask.tensor, 0.0, BELOW), mask.name)
    return mask
