"""Higher rates: transposed convolutions, repetition, and features taken apart into frames.

A transposed convolution of stride `s` makes `s` frames of each one it takes, every one of them from the same few
inputs: it is a convolution with `s` times the channels, whose result is read as `s` frames (polyphase form).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.rules import rule
from edgernn.export.rules.conv import NO_BATCH, NO_BATCH_HINT, both, image_axes, images, of_images, pad_frame
from edgernn.export.symbols import Const, Pad, Timed
from edgernn.program import Timing

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Phases:
    """One axis of a transposed convolution in polyphase form."""

    stride: int
    taps: int  # inputs that an output is made of
    before: int  # zeros in front of the inputs
    after: int  # behind them
    cut: tuple[int, int]  # of the outputs, at both ends

    @classmethod
    def of(cls, kernel: int, stride: int, padding: int, extra: int, dilation: int) -> Phases:
        """The phases of PyTorch's sizes; `extra` is its `output_padding`."""
        span = (kernel - 1) * dilation + 1
        taps, groups = -(-span // stride), -(-(span + extra) // stride)
        return cls(stride, taps, taps - 1, groups - 1, (padding, padding + groups * stride - span - extra))


@rule("conv_transpose1d.default")
def conv_transpose1d(
    t: Translator,
    node: fx.Node,
    x: Timed,
    weight: Const,
    bias: Const | None = None,
    stride: Sizes = (1,),
    padding: Sizes = (0,),
    output_padding: Sizes = (0,),
    groups: int = 1,
    dilation: Sizes = (1,),
) -> Timed:
    """x `[batch, channels, time]`, weight `[in, out / groups, taps]`."""
    if len(x.shape) != 3:
        raise UnsupportedError(NO_BATCH, hint=NO_BATCH_HINT)
    if x.axis != 2:
        raise UnsupportedError(
            "convolves over an axis that is not time",
            hint="ConvTranspose1d takes [batch, channels, time]: transpose(1, 2) first"
            if x.axis == 1
            else "over each frame's features use ConvTranspose2d with one row: x.unsqueeze(2)",
        )
    time = Phases.of(weight.shape[2], stride[0], padding[0], output_padding[0], dilation[0])
    window = t.window(x, time.taps, 1, Pad(time.before, time.after), t.name(node))
    value = t.add(
        ops.Conv1d,
        t.name(node),
        window.timing,
        window=window.value,
        weight=t.constant(_by_phase(weight, groups, (dilation[0],), (time,))),
        bias=t.constant(_bias_by_phase(bias, groups, time.stride)) if bias else "",
        count=window.count,
        first=window.first,
        groups=groups,
    )
    batch, out = x.shape[0], weight.shape[1] * groups
    split = (window.count, batch, groups, time.stride, out // groups)
    value = _moved(t, node, value, split, (0, 3, 1, 2, 4), (window.count * time.stride, batch, out), window.timing)
    return _placed(t, node, value, window.timing, x, 2, time, out)


@rule("conv_transpose2d.input")
def conv_transpose2d(
    t: Translator,
    node: fx.Node,
    x: Timed,
    weight: Const,
    bias: Const | None = None,
    stride: Sizes = (1, 1),
    padding: Sizes = (0, 0),
    output_padding: Sizes = (0, 0),
    groups: int = 1,
    dilation: Sizes = (1, 1),
) -> Timed:
    """x `[batch, channels, time, features]` or with both in the other order; `[batch * time, channels, …]` by frame."""
    weight, rows, columns = image_axes(x, weight)
    like, x = x, images(t, node, x)
    sizes = [both(item, rows) for item in (stride, padding, output_padding, dilation)]
    high, wide = (Phases.of(kernel, *(size[i] for size in sizes)) for i, kernel in enumerate(weight.shape[2:]))
    x = pad_frame(t, node, x, columns, wide.before, wide.after)
    fields = {
        "weight": t.constant(_by_phase(weight, groups, sizes[3], (high, wide))),
        "bias": t.constant(_bias_by_phase(bias, groups, high.stride * wide.stride)) if bias else "",
        "groups": groups,
    }
    each, name = weight.shape[1], t.name(node)
    width = x.shape[columns] - wide.taps + 1
    if x.axis == 0:
        x = pad_frame(t, node, x, rows, high.before, high.after)
        height = x.shape[rows] - high.taps + 1
        value = t.add(ops.Conv2d, name, x.timing, window=x.value, count=height, over_time=False, **fields)
        frames = t.builder.shape(value)[0]
        split = (frames, groups, high.stride, wide.stride, each, height, width)
        full = (frames, groups * each, height * high.stride, width * wide.stride)
        value = _moved(t, node, value, split, (0, 1, 4, 5, 2, 6, 3), full, x.timing)
        for axis, phases in ((2, high), (3, wide)):
            value = _cut(t, node, value, axis, phases, x.timing)
        return of_images(t, node, value, like)
    window = t.window(x, high.taps, 1, Pad(high.before, high.after), name)
    place = {"window": window.value, "count": window.count, "first": window.first}
    value = t.add(ops.Conv2d, name, window.timing, **place, **fields)
    split = (window.count, x.shape[0], groups, high.stride, wide.stride, each, width)
    full = (window.count * high.stride, x.shape[0], groups * each, width * wide.stride)
    value = _moved(t, node, value, split, (0, 3, 1, 2, 5, 6, 4), full, window.timing)
    value = _cut(t, node, value, 3, wide, window.timing)
    return _placed(t, node, value, window.timing, x, rows, high, groups * each)


def _by_phase(weight: Const, groups: int, dilation: Sizes, axes: tuple[Phases, ...]) -> Const:
    """Weights `[in, out / groups, …taps]` as those of the convolution: `[groups · phases · out, in / groups, …]`."""
    tensor = weight.tensor
    for axis, (phases, spread) in enumerate(zip(axes, dilation, strict=True), 2):
        size = phases.taps * phases.stride
        spaced = tensor.new_zeros(*tensor.shape[:axis], size, *tensor.shape[axis + 1 :])
        places = torch.arange(tensor.shape[axis]) * spread
        tensor = spaced.index_copy(axis, places, tensor)
    inputs, each = tensor.shape[0] // groups, tensor.shape[1]
    split = [size for phases in axes for size in (phases.taps, phases.stride)]
    tensor = tensor.reshape(groups, inputs, each, *split)
    phase_axes, tap_axes = range(4, 3 + len(split), 2), range(3, 3 + len(split), 2)
    tensor = tensor.permute(0, *phase_axes, 2, 1, *tap_axes)
    # the oldest input comes first in a window
    tensor = tensor.flip([tensor.ndim - 1 - i for i in range(len(axes))])
    count = groups * each * math.prod(phases.stride for phases in axes)
    return Const(tensor.reshape(count, inputs, *(phases.taps for phases in axes)), f"{weight.name}.by_phase")


def _bias_by_phase(bias: Const, groups: int, phases: int) -> Const:
    each: Tensor = bias.tensor.reshape(groups, 1, -1).expand(-1, phases, -1)
    return Const(each.reshape(-1), f"{bias.name}.by_phase")


def _moved(t: Translator, node: fx.Node, value: str, split: Sizes, order: Sizes, full: Sizes, timing: Timing) -> str:
    """A value read as `split`, its axes in another order, as `full`."""
    moved = [axis for axis in order if split[axis] != 1]
    if moved != sorted(moved):
        value = t.add(ops.Reshape, t.name(node, "phases"), timing, x=value, shape=split)
        value = t.add(ops.Transpose, t.name(node, "order"), timing, x=value, axes=order)
    return (
        value if t.builder.shape(value) == full else t.add(ops.Reshape, t.name(node, "y"), timing, x=value, shape=full)
    )


def _cut(t: Translator, node: fx.Node, value: str, axis: int, phases: Phases, timing: Timing) -> str:
    """The elements of a feature axis that PyTorch's padding leaves."""
    size, (start, behind) = t.builder.shape(value)[axis], phases.cut
    if phases.cut == (0, 0):
        return value
    fields = {"axis": axis, "start": start, "end": size - behind}
    return t.add(ops.Slice, t.name(node, "cut"), timing, x=value, **fields)


def _placed(
    t: Translator, node: fx.Node, value: str, timing: Timing, x: Timed, axis: int, phases: Phases, channels: int
) -> Timed:
    """The symbol of a transposed convolution, whose frames at the ends are taken off where they are read."""
    timing = spread(t, value, timing, phases.stride)
    shape = list(t.shape(node))
    shape[axis] += sum(phases.cut)
    full = t.symbol(value, tuple(shape), axis, timing)
    return t.pad(full, Pad(-phases.cut[0], -phases.cut[1]))


def spread(t: Translator, value: str, timing: Timing, factor: int) -> Timing:
    """The timing of a value that was read as `factor` frames for each; it takes the place of the value's own."""
    faster = replace(timing.faster(factor), delay=timing.delay * factor)
    t.builder.values[value] = replace(t.builder.values[value], timing=faster)
    return faster


@rule("upsample_nearest1d.vec", "upsample_nearest2d.vec")
def nearest(t: Translator, node: fx.Node, x: Timed, sizes: Sizes | None, _: object = None) -> Timed:
    """Each element repeated, over time and over features."""
    x, last = t.settle(x), t.shape(node)
    for axis in range(2, len(x.shape)):
        times, rest = divmod(last[axis], x.shape[axis])
        if rest:
            raise UnsupportedError("repeats some elements more often than others", hint="use a whole `scale_factor`")
        x = _repeated(t, node, x, axis, times)
    return x


@rule("repeat_interleave.self_int")
def repeat_interleave(
    t: Translator, node: fx.Node, x: Timed, repeats: int, dim: int | None = None, *, output_size: int | None = None
) -> Timed:
    """Each element of an axis repeated."""
    if dim is None:
        raise UnsupportedError("repeats all elements as one row", hint="name an axis: `dim=1`")
    return _repeated(t, node, t.settle(x), dim % len(x.shape), repeats)


def _repeated(t: Translator, node: fx.Node, x: Timed, axis: int, times: int) -> Timed:
    if times == 1:
        return x
    place, full = x.dim(axis), t.builder.shape(x.value)
    ahead, behind = full[: place + 1], full[place + 1 :]
    value = t.add(ops.Reshape, t.name(node, "single"), x.timing, x=x.value, shape=(*ahead, 1, *behind))
    value = t.add(ops.Expand, t.name(node, "repeated"), x.timing, x=value, shape=(*ahead, times, *behind))
    shape = (*full[:place], full[place] * times, *behind)
    value = t.add(ops.Reshape, t.name(node), x.timing, x=value, shape=shape)
    timing = spread(t, value, x.timing, times) if place == 0 else x.timing
    shape = (*x.shape[:axis], x.shape[axis] * times, *x.shape[axis + 1 :])
    return t.symbol(value, shape, x.axis, timing, newest=x.axis is None, free=x.free)


def taken_apart(t: Translator, node: fx.Node, x: Timed, count: int, shape: Sizes, axis: int) -> Timed:
    """The features of a frame as `count` frames."""
    frames = t.frames(x.timing)
    rest = (frames * count, *shape[:axis], *shape[axis + 1 :])
    value = t.add(ops.Reshape, t.name(node), x.timing, x=x.value, shape=rest)
    return t.symbol(value, shape, axis, spread(t, value, x.timing, count))
