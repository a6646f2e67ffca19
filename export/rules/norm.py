"""Normalisations over the features of a frame, and softmax."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.rules import rule
from edgernn.export.rules.attention_pool import pools
from edgernn.export.rules.layout import IN_WINDOWS
from edgernn.export.symbols import Const, Timed, TimeWeights

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator

WHOLE = "normalises over all frames of the sequence"
WHOLE_HINT = f"normalise each frame over its features (nn.LayerNorm), or by a running value (cumsum); {IN_WINDOWS}"


@rule("layer_norm.default")
def layer_norm(
    t: Translator,
    node: fx.Node,
    x: Timed,
    shape: tuple[int, ...],
    weight: Const | None = None,
    bias: Const | None = None,
    eps: float = 1e-5,
    *_: Any,
) -> Timed:
    """Over the last axes, which must not include time."""
    x = t.settle(x)
    if x.axis is not None and x.axis >= len(x.shape) - len(shape):
        raise UnsupportedError(WHOLE, hint=WHOLE_HINT)
    value = t.add(
        ops.LayerNorm,
        t.name(node),
        x.timing,
        x=x.value,
        weight=t.constant(weight) if weight else "",
        bias=t.constant(bias) if bias else "",
        axes=len(shape),
        eps=eps,
    )
    return t.result(node, value, x)


@rule("batch_norm.default")
def batch_norm(
    t: Translator,
    node: fx.Node,
    x: Timed,
    weight: Const | None,
    bias: Const | None,
    mean: Const | None,
    variance: Const | None,
    training: bool,
    momentum: float,
    eps: float,
    *_: Any,
) -> Timed:
    """With the running statistics; channels lie on axis 1."""
    x = t.settle(x)
    if mean is None or variance is None or training:
        raise UnsupportedError(WHOLE, hint="keep running statistics (track_running_stats) and export in eval mode")
    if x.axis == 1:
        raise UnsupportedError("has a channel per frame: axis 1 is time", hint="transpose(1, 2) before BatchNorm1d")
    value = t.add(
        ops.BatchNorm,
        t.name(node),
        x.timing,
        x=x.value,
        mean=t.constant(mean),
        variance=t.constant(variance),
        weight=t.constant(weight) if weight else "",
        bias=t.constant(bias) if bias else "",
        axis=x.dim(1),
        eps=eps,
    )
    return t.result(node, value, x)


@rule("instance_norm.default")
def instance_norm(
    t: Translator,
    node: fx.Node,
    x: Timed,
    weight: Const | None,
    bias: Const | None,
    mean: Const | None,
    variance: Const | None,
    own: bool,
    momentum: float,
    eps: float,
    *_: Any,
) -> Timed:
    """Over all elements of each channel of a frame, `[batch * time, channels, …]`; or with running statistics."""
    if not own:
        return batch_norm(t, node, x, weight, bias, mean, variance, False, momentum, eps)
    return group_norm(t, node, x, x.shape[1], weight, bias, eps)


@rule("group_norm.default")
def group_norm(
    t: Translator,
    node: fx.Node,
    x: Timed,
    groups: int,
    weight: Const | None = None,
    bias: Const | None = None,
    eps: float = 1e-5,
    *_: Any,
) -> Timed:
    """Over groups of channels and all their elements, of each frame by itself: `[batch * time, channels, …]`."""
    x = t.settle(x)
    if x.axis is not None and x.axis > 0:
        raise UnsupportedError(WHOLE, hint=WHOLE_HINT)
    full, name = t.builder.shape(x.value), t.name(node)
    first = x.dim(1)
    shape = (*full[:first], groups, math.prod(full[first:]) // groups)
    rows = t.add(ops.Reshape, f"{name}.groups", x.timing, x=x.value, shape=shape)
    value = t.add(ops.LayerNorm, name, x.timing, x=rows, axes=1, eps=eps)
    value = t.add(ops.Reshape, f"{name}.channels", x.timing, x=value, shape=full)
    for item, kind in ((weight, "mul"), (bias, "add")):
        if item is not None:
            column = Const(item.tensor.reshape(-1, *[1] * (len(full) - first - 1)), f"{item.name}.column")
            value = t.add(ops.Binary, f"{name}.{kind}", x.timing, a=value, b=t.constant(column), kind=kind)
    return t.result(node, value, x)


@rule("linalg_vector_norm.default")
def vector_norm(
    t: Translator,
    node: fx.Node,
    x: Timed,
    order: float = 2,
    dims: list[int] | None = None,
    keepdim: bool = False,
    **_: Any,
) -> Timed:
    """The length of each frame's features, as `F.normalize` takes it."""
    x = t.settle(x)
    axes = tuple(sorted(x.dim(dim) for dim in (dims if dims is not None else range(len(x.shape)))))
    if 0 in axes:
        raise UnsupportedError(WHOLE, hint=WHOLE_HINT)
    if order != 2:
        raise UnsupportedError(f"a norm of order {order} has no rule", hint="write it with abs, pow and sum")
    square = t.add(ops.Binary, t.name(node, "square"), x.timing, a=x.value, b=x.value, kind="mul")
    total = t.add(ops.Reduce, t.name(node, "sum"), x.timing, x=square, kind="sum", axes=axes, keepdims=keepdim)
    return t.result(node, t.add(ops.Unary, t.name(node), x.timing, x=total, kind="sqrt"), x)


@rule("softmax.int", "log_softmax.int")
def softmax(t: Translator, node: fx.Node, x: Timed, dim: int, dtype: Any = None) -> Timed | TimeWeights:
    """Over a feature axis; over time, the weights of a pooling."""
    x = t.settle(x)
    axis = x.dim(dim)
    log = str(node.target).startswith("aten.log_softmax")
    if axis == 0 and not log and pools(node):
        return TimeWeights(x)
    if axis == 0:
        raise UnsupportedError(WHOLE, hint=f"take the softmax over features, `dim=-1`; {IN_WINDOWS}")
    return t.result(node, t.add(ops.Softmax, t.name(node), x.timing, x=x.value, axis=axis, log=log), x)
