"""Normalisations over the features of a frame, and softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.rules import rule
from edgernn.export.symbols import Const, Timed

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator

WHOLE = "normalises over all frames of the sequence"
WHOLE_HINT = "normalise each frame over its features (nn.LayerNorm), or by a running value (cumsum, Recurrent)"


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


@rule("group_norm.default", "instance_norm.default", "linalg_vector_norm.default")
def refuse_norm(t: Translator, node: fx.Node, x: Timed, *_: Any, **__: Any) -> Timed:
    """Group and instance norm take statistics over all frames."""
    raise UnsupportedError(WHOLE, hint=WHOLE_HINT)


@rule("softmax.int", "log_softmax.int")
def softmax(t: Translator, node: fx.Node, x: Timed, dim: int, dtype: Any = None) -> Timed:
    """Over a feature axis."""
    x = t.settle(x)
    axis = x.dim(dim)
    if axis == 0:
        raise UnsupportedError(WHOLE, hint="take the softmax over features: `dim=-1`")
    log = str(node.target).startswith("aten.log_softmax")
    return t.result(node, t.add(ops.Softmax, t.name(node), x.timing, x=x.value, axis=axis, log=log), x)
