"""Convolutions over time, over time and a feature axis, and over the axes of each frame."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.rules import rule
from edgernn.export.symbols import Const, Pad, Timed, frame_shape
from edgernn.program import Timing

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator

Padding = tuple[int, ...] | str
Sizes = tuple[int, ...]
NO_BATCH = "takes an input without a batch axis"
NO_BATCH_HINT = "give the example a batch axis of size 1"


@rule("conv1d.default", "conv1d.padding")
def conv1d(
    t: Translator,
    node: fx.Node,
    x: Timed,
    weight: Const,
    bias: Const | None = None,
    stride: Sizes = (1,),
    padding: Padding = (0,),
    dilation: Sizes = (1,),
    groups: int = 1,
) -> Timed:
    """x `[batch, channels, time]`; zero padding is that of the whole sequence, at its two ends only.

    With the frames in the place of the batch, `[batch * time, channels, features]`, it is over each frame's features;
    so it is without time, in a cell and of a newest frame.
    """
    if len(x.shape) != 3:
        raise UnsupportedError(NO_BATCH, hint=NO_BATCH_HINT)
    if x.axis in (0, None):
        return _over_features(t, node, x, weight, bias, stride, padding, dilation, groups)
    if x.axis != 2:
        raise UnsupportedError(
            "convolves over an axis that is not time",
            hint="Conv1d takes [batch, channels, time]: transpose(1, 2) first",
        )
    step, spread = stride[0], dilation[0]
    span = (weight.shape[2] - 1) * spread + 1
    before, after = _ends(padding, 0, span)
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
    return _trimmed(t, node, value, window.timing, 2, trimmed)


@rule("conv2d.default", "conv2d.padding")
def conv2d(
    t: Translator,
    node: fx.Node,
    x: Timed,
    weight: Const,
    bias: Const | None = None,
    stride: Sizes = (1, 1),
    padding: Padding = (0, 0),
    dilation: Sizes = (1, 1),
    groups: int = 1,
) -> Timed:
    """x `[batch, channels, time, features]`, or with both in the other order.

    With the frames in the place of the batch, `[batch * time, channels, height, width]`, it is over each frame;
    so it is without time, in a cell and of a newest frame.
    """
    weight, rows, columns = image_axes(x, weight)
    like, x = x, images(t, node, x)
    strides, dilations = both(stride, rows), both(dilation, rows)
    spans = [(taps - 1) * spread + 1 for taps, spread in zip(weight.shape[2:], dilations, strict=True)]
    x = pad_frame(t, node, x, columns, *_ends(padding, columns - 2, spans[1]))
    fields = {
        "stride": strides[0],
        "dilation": dilations[0],
        "width_stride": strides[1],
        "width_dilation": dilations[1],
        "groups": groups,
        "weight": t.constant(weight),
        "bias": t.constant(bias) if bias else "",
    }
    before, after = _ends(padding, rows - 2, spans[0])
    if x.axis == 0:
        x = pad_frame(t, node, x, rows, before, after)
        count = (x.shape[2] - spans[0]) // strides[0] + 1
        value = t.add(ops.Conv2d, t.name(node), x.timing, window=x.value, count=count, over_time=False, **fields)
        return of_images(t, node, value, like)
    trimmed = min(after, _trimmed_behind(t, node)) if strides[0] == 1 else 0
    window = t.window(x, spans[0], strides[0], Pad(before, after - trimmed), t.name(node))
    place = {"window": window.value, "count": window.count, "first": window.first}
    value = t.add(ops.Conv2d, t.name(node), window.timing, **place, **fields)
    return _trimmed(t, node, value, window.timing, rows, trimmed)


def _over_features(
    t: Translator,
    node: fx.Node,
    x: Timed,
    weight: Const,
    bias: Const | None,
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    groups: int,
) -> Timed:
    """A convolution over the last axis of each frame: over two axes, the first of which has one element."""
    span = (weight.shape[2] - 1) * dilation[0] + 1
    like, x = x, images(t, node, x)
    x = pad_frame(t, node, x, 2, *_ends(padding, 0, span))
    frames, channels, width = t.builder.shape(x.value)
    value = t.add(
        ops.Conv2d,
        t.name(node),
        x.timing,
        window=t.add(ops.Reshape, t.name(node, "row"), x.timing, x=x.value, shape=(frames, channels, 1, width)),
        weight=t.constant(Const(weight.tensor.unsqueeze(2), f"{weight.name}.row")),
        bias=t.constant(bias) if bias else "",
        count=1,
        width_stride=stride[0],
        width_dilation=dilation[0],
        groups=groups,
        over_time=False,
    )
    shape = (t.frames(x.timing), *frame_shape(t.shape(node), like.axis))
    return t.result(node, t.add(ops.Reshape, t.name(node, "rows"), x.timing, x=value, shape=shape), like)


def images(t: Translator, node: fx.Node, x: Timed) -> Timed:
    """A value without time as if its frames, one at a time, were in the place of the batch; any other as it is."""
    if x.axis is not None:
        return x
    frames, batch, *sizes = t.builder.shape(x.value)
    value = t.add(ops.Reshape, t.name(node, "images"), x.timing, x=x.value, shape=(frames * batch, *sizes))
    return replace(x, value=value, axis=0)


def of_images(t: Translator, node: fx.Node, value: str, like: Timed) -> Timed:
    """What was made of `images(like)`, again with the axes that PyTorch's result has."""
    if like.axis is None:
        shape = (t.frames(like.timing), *t.shape(node))
        value = t.add(ops.Reshape, t.name(node, "rows"), like.timing, x=value, shape=shape)
    return t.result(node, value, like)


def pad_frame(t: Translator, node: fx.Node, x: Timed, axis: int, before: int, after: int) -> Timed:
    """Zeros around a feature axis of each frame."""
    if before == after == 0:
        return t.settle(x) if x.axis == 0 else x
    # frames that are padded in time as well are padded there later: zeros are zeros
    fields = {"axis": x.dim(axis), "before": before, "after": after}
    inner = x if x.pad is None or (x.pad.mode, x.pad.value) == ("constant", 0.0) else t.settle(x)
    value = t.add(ops.PadFeatures, t.name(node, "pad"), inner.timing, x=inner.value, **fields)
    shape = (*x.shape[:axis], x.shape[axis] + before + after, *x.shape[axis + 1 :])
    return replace(inner, value=value, shape=shape)


def both(sizes: Sizes, rows: int) -> tuple[int, int]:
    """Sizes of the rows' axis and of the other one."""
    first, second = sizes if len(sizes) == 2 else (sizes[0], sizes[0])
    return (second, first) if rows == 3 else (first, second)


def _ends(padding: Padding, index: int, span: int) -> tuple[int, int]:
    """Elements padded before and after an axis."""
    if padding == "same":
        total = span - 1
        return total // 2, total - total // 2
    if isinstance(padding, str):
        return 0, 0
    size = int(padding[index if len(padding) > index else 0])
    return size, size


def _trimmed(t: Translator, node: fx.Node, value: str, timing: Timing, axis: int, trimmed: int) -> Timed:
    """The symbol of a convolution that did not make the `trimmed` frames which every consumer cuts off again."""
    shape = t.shape(node)
    result = t.symbol(value, (*shape[:axis], shape[axis] - trimmed, *shape[axis + 1 :]), axis, timing)
    return t.pad(result, Pad(0, trimmed)) if trimmed else result  # they count as padding around what is made


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


def image_axes(x: Timed, weight: Const) -> tuple[Const, int, int]:
    """A weight as if x's rows came first, and which axes of x `[…, channels, …, …]` are its rows and its columns.

    Rows are the frames, or the height of each one's image.
    """
    if len(x.shape) != 4:
        raise UnsupportedError(NO_BATCH, hint=NO_BATCH_HINT)
    if x.axis == 1:
        raise UnsupportedError("takes frames for channels", hint="put a channel axis in front of time: unsqueeze(1)")
    if x.axis == 3:
        return Const(weight.tensor.transpose(2, 3), f"{weight.name}.transposed"), 3, 2
    return weight, 2, 3
