"""Convolutions over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.rules import rule
from edgernn.export.symbols import Const, Pad, Timed

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator


@rule("conv1d.default", "conv1d.padding")
def conv1d(
    t: Translator,
    node: fx.Node,
    x: Timed,
    weight: Const,
    bias: Const | None = None,
    stride: tuple[int, ...] = (1,),
    padding: tuple[int, ...] | str = (0,),
    dilation: tuple[int, ...] = (1,),
    groups: int = 1,
) -> Timed:
    """x `[batch, channels, time]`; zero padding is that of the whole sequence, at its two ends only."""
    if x.axis != len(x.shape) - 1:
        raise UnsupportedError(
            "convolves over an axis that is not time",
            hint="Conv1d takes [batch, channels, time]: transpose(1, 2) first",
        )
    if len(x.shape) != 3:
        raise UnsupportedError("takes an input without a batch axis", hint="give the example a batch axis of size 1")
    step, spread = stride[0], dilation[0]
    span = (weight.shape[2] - 1) * spread + 1
    before, after = _ends(padding, span)
    trimmed = min(after, _trimmed_behind(t, node)) if step == 1 else 0
    window = t.window(x, span, step, Pad(before, after - trimmed), t.name(node))
    value = t.add(
        ops.Conv1d,
        t.name(node),
        window.timing,
        window=window.value,
        weight=t.constant(weight),
        bias=t.constant(bias) if bias else "",
        count=window.count,
        first=window.first,
        stride=step,
        dilation=spread,
        groups=groups,
    )
    shape = t.shape(node)
    result = t.symbol(value, (*shape[:2], shape[2] - trimmed), 2, window.timing)
    # frames that every consumer cuts off again need not be made: they count as padding around what is
    return t.pad(result, Pad(0, trimmed)) if trimmed else result


def _ends(padding: tuple[int, ...] | str, span: int) -> tuple[int, int]:
    if padding == "same":
        total = span - 1
        return total // 2, total - total // 2
    if padding == "valid":
        return 0, 0
    return int(padding[0]), int(padding[0])


def _trimmed_behind(t: Translator, node: fx.Node) -> int:
    """Frames that every consumer of a node cuts off its end, as causal networks do behind a symmetric padding."""
    trims = []
    for user in node.users:
        if not str(user.target).startswith("aten.slice"):
            return 0
        axis = t.axis(user)
        if axis is None or user.args[1] % len(t.shape(node)) != axis:  # type: ignore[operator]
            return 0
        start = user.args[2] if len(user.args) > 2 else 0
        if start not in (0, None):
            return 0
        trims.append(t.shape(node)[axis] - t.shape(user)[axis])
    return min(trims, default=0)
