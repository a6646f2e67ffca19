"""Attention among the positions of each frame, which in a window are its frames."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.rules import rule
from edgernn.export.rules.linear import OVER_TIME_HINT
from edgernn.export.symbols import Const, Timed

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator


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
    if any(item.axis is not None and item.axis >= rank - 2 for item in (q, k, v)):
        raise UnsupportedError("attends to all frames of the sequence", hint=OVER_TIME_HINT)
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
