"""Operations that only move elements: reshapes, transposes, slices and selections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.rules import rule
from edgernn.export.symbols import Const, FinalState, Pad, Shape, Timed, frame_shape
from edgernn.program import Timing

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator


SPREADS = "spreads the newest frame over the whole sequence"
IN_WINDOWS = "`--mode window:N` takes the sequence in pieces of N frames, each as a whole"


def reshape_value(t: Translator, name: str, value: str, shape: Shape, timing: Timing) -> str:
    """A value as `shape`: itself where it has that shape, and one reshape where several follow each other."""
    earlier = t.builder.producer(value)
    if isinstance(earlier, ops.Reshape):
        value = earlier.x
    if t.builder.shape(value) == shape:
        return value
    return t.add(ops.Reshape, name, timing, x=value, shape=shape)


@rule(
    "view.default",
    "reshape.default",
    "_unsafe_view.default",
    "flatten.using_ints",
    "unflatten.int",
    "squeeze.dim",
    "squeeze.default",
    "squeeze.dims",
    "unsqueeze.default",
    complex=True,
)
def reshape(t: Translator, node: fx.Node, x: Timed | FinalState, *_: Any) -> Timed | FinalState:
    """Any change of shape that keeps each frame's elements together, folds `k` frames into one, or one into `k`."""
    shape: Shape = t.shape(node)
    if isinstance(x, FinalState):
        if shape[:1] == x.shape[:1]:
            return replace(x, shape=shape)
        x = t.stacked(x)
    axis = t.axis(node)
    if x.axis is None:
        value = reshape_value(t, t.name(node), x.value, (t.frames(x.timing), *shape), x.timing)
        return t.symbol(value, shape, None, x.timing, newest=True)
    if axis is None:
        raise UnsupportedError("folds all frames into features", hint="keep time as an axis of its own")
    sides = [(math.prod(s[:a]), s[a], math.prod(s[a + 1 :])) for s, a in ((x.shape, x.axis), (shape, axis))]
    (ahead, length, behind), (new_ahead, new_length, new_behind) = sides
    if (ahead, behind) == (new_ahead, new_behind):
        frame = frame_shape(shape, axis) + ((2,) if x.complex else ())
        value = reshape_value(t, t.name(node), x.value, (t.frames(x.timing), *frame), x.timing)
        return replace(x, value=value, shape=shape, axis=axis)
    if ahead == new_ahead == 1 and length % new_length == 0 and behind * (length // new_length) == new_behind:
        return _fold(t, node, t.settle(x), length // new_length, shape, axis)
    if ahead == new_ahead == 1 and new_length % length == 0 and behind == new_behind * (new_length // length):
        from edgernn.export.rules.upsample import taken_apart  # which reshapes too

        return taken_apart(t, node, t.settle(x), new_length // length, shape, axis)
    return t.mixed(node, t.settle(x), shape, axis)


def _fold(t: Translator, node: fx.Node, x: Timed, count: int, shape: Shape, axis: int) -> Timed:
    """`count` frames side by side as one."""
    x = t.delay(x, -x.timing.delay % count)
    timing = x.timing
    folded = replace(t.slower(timing.widened(count - 1), count), delay=timing.delay // count)
    frames = (t.frames(timing) // count, *frame_shape(shape, axis))
    return t.symbol(t.add(ops.Reshape, t.name(node), folded, x=x.value, shape=frames), shape, axis, folded)


@rule(
    "transpose.int",
    "permute.default",
    "t.default",
    "swapaxes.default",
    "movedim.int",
    "numpy_T.default",
    "mT.default",
    complex=True,
)
def transpose(t: Translator, node: fx.Node, x: Timed, *arguments: Any) -> Timed:
    """Axes in another order; moving only time or axes of size 1 costs nothing."""
    order = _order(node, len(x.shape), arguments)
    shape = tuple(x.shape[axis] for axis in order)
    axis = None if x.axis is None else order.index(x.axis)
    axes = (0, *(x.dim(old) for old in order if old != x.axis))
    if x.complex:
        axes = (*axes, len(axes))
    full = t.builder.shape(x.value)
    moved = [old for old in axes if full[old] != 1]
    if moved == sorted(moved):
        value = reshape_value(t, t.name(node), x.value, tuple(full[old] for old in axes), x.timing)
    else:
        value = t.add(ops.Transpose, t.name(node), x.timing, x=x.value, axes=axes)
    return replace(x, value=value, shape=shape, axis=axis)


def _order(node: fx.Node, rank: int, arguments: tuple[Any, ...]) -> list[int]:
    name = str(node.target).split(".")[1]
    order = list(range(rank))
    if name == "permute":
        return [axis % rank for axis in arguments[0]]
    if name == "numpy_T":
        return order[::-1]
    a, b = (0, 1) if name == "t" else (-2, -1) if name == "mT" else arguments
    if name == "movedim":
        order.insert(b % rank, order.pop(a % rank))
    elif rank > 1:
        order[a % rank], order[b % rank] = order[b % rank], order[a % rank]
    return order


@rule("slice.Tensor", complex=True)
def slice_(
    t: Translator,
    node: fx.Node,
    x: Timed | Const,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Timed:
    """A part of an axis. Over time: all but some frames at the ends, every k-th frame, or the newest."""
    if isinstance(x, Const):
        raise UnsupportedError(
            f"takes as many values of `{x.name}` as the sequence has frames",
            hint=f"a stream has no last frame: compute what depends on a frame's index with torch.arange; {IN_WINDOWS}",
        )
    size, axis = x.shape[dim], x.axis
    begin, stop, _ = slice(start, end).indices(size)
    if axis is None or dim % len(x.shape) != axis:
        x = t.settle(x)
        value = t.add(ops.Slice, t.name(node), x.timing, x=x.value, axis=x.dim(dim), start=begin, end=stop, stride=step)
        return t.result(node, value, x)
    if t.axis(node) is None:
        if (begin, stop) != (size - 1, size):
            raise UnsupportedError(
                f"takes {stop - begin} frames at a fixed place of the sequence",
                hint="a stream has every frame or the newest one: `y[:, -1:]`",
            )
        x = t.settle(x)
        full = (t.frames(x.timing), *t.shape(node))
        value = reshape_value(t, t.name(node), x.value, full, x.timing)
        return t.symbol(value, t.shape(node), None, x.timing, newest=True)
    second = t.captured.twin_shape(_argument(node))[axis]
    length, twin = t.shape(node)[axis], t.captured.twin_shape(node)[axis]
    after = size - stop
    if -(-(stop - begin) // step) != length or -(-(second - after - begin) // step) != twin:
        raise UnsupportedError("cuts a part of the sequence whose end moves with the length in another way")
    if step == 1:
        return t.cut(node, x, begin, after)
    cut = t.pad(x, Pad(-begin, -after))
    # every k-th frame is a window of one frame with stride k
    window = t.window(cut, 1, step, Pad(0, 0), t.name(node))
    value = t.add(
        ops.Slice,
        t.name(node),
        window.timing,
        x=window.value,
        axis=0,
        start=window.first,
        end=window.first + (window.count - 1) * step + 1,
        stride=step,
    )
    return t.symbol(value, t.shape(node), axis, window.timing)


@rule("select.int", complex=True)
def select(t: Translator, node: fx.Node, x: Timed | FinalState, dim: int, index: int) -> Timed:
    """One element of an axis. Over time: the newest frame."""
    if isinstance(x, FinalState):
        return _select_state(t, node, x, dim, index)
    x = t.settle(x)
    if x.axis is not None and dim % len(x.shape) == x.axis:
        if index not in (-1, x.shape[x.axis] - 1):
            raise UnsupportedError(
                f"takes frame {index} of the sequence",
                hint="a stream has every frame or the newest one: `y[:, -1]`",
            )
        return t.symbol(x.value, t.shape(node), None, x.timing, newest=True)
    axis, position = x.dim(dim), index % x.shape[dim]
    number = t.builder.parameter(f"index.{position}", np.asarray(position, np.int64))
    value = t.add(ops.Gather, t.name(node), x.timing, x=x.value, index=number, axis=axis)
    return t.result(node, value, x)


def _select_state(t: Translator, node: fx.Node, x: FinalState, dim: int, index: int) -> Timed:
    if x.layers is None or dim != 0:
        return select(t, node, t.stacked(x), dim, index)
    layer = x.layers[index]
    shape = x.shape[1:]
    value = reshape_value(t, f"{layer.value}.newest", layer.value, (t.frames(layer.timing), *shape), layer.timing)
    return t.symbol(value, shape, None, layer.timing, newest=True)


@rule("index_select.default")
def index_select(t: Translator, node: fx.Node, x: Timed, dim: int, index: Const) -> Timed:
    """Elements of a feature axis by a constant index."""
    x = t.settle(x)
    if x.dim(dim) == 0:
        raise UnsupportedError("picks frames by index", hint="slice with a step: x[:, ::2]")
    name = t.constant(Const(index.tensor.long(), index.name))
    return t.result(node, t.add(ops.Gather, t.name(node), x.timing, x=x.value, index=name, axis=x.dim(dim)), x)


@rule("expand.default", "expand_as.default")
def expand(t: Translator, node: fx.Node, x: Timed | Const, *_: Any) -> Timed:
    """Axes of size 1 repeated; new axes in front. A constant may have the length of a sequence then."""
    if isinstance(x, Const):
        return _every_frame(t, node, x)
    x = t.settle(x)
    shape, axis = t.shape(node), t.axis(node)
    if x.axis is None and axis is not None:
        raise UnsupportedError(SPREADS, hint=f"a stream doesn't have the newest frame yet; {IN_WINDOWS}")
    frames, missing = t.frames(x.timing), len(shape) - len(x.shape)
    present = t.builder.shape(x.value)
    value = reshape_value(t, t.name(node, "rank"), x.value, (frames, *[1] * missing, *present[1:]), x.timing)
    full = (frames, *frame_shape(shape, axis))
    if t.builder.shape(value) != full:
        value = t.add(ops.Expand, t.name(node), x.timing, x=value, shape=full)
    return t.symbol(value, shape, axis, x.timing, newest=x.axis is None, free=x.free)


def _every_frame(t: Translator, node: fx.Node, x: Const) -> Timed:
    """A constant for each frame."""
    shape, axis = t.shape(node), t.axis(node)
    assert axis is not None
    tensor = x.tensor.reshape((1,) * (len(shape) - x.tensor.ndim) + tuple(x.tensor.shape))
    if tensor.shape[axis] != 1:
        raise UnsupportedError(f"`{x.name}` has a value for each of the example's frames")
    timing = own_timing(t, node)
    frame = t.constant(Const(tensor.movedim(axis, 0), x.name))
    full = (t.frames(timing), *frame_shape(shape, axis))
    return t.symbol(t.add(ops.Expand, t.name(node), timing, x=frame, shape=full), shape, axis, timing, free=True)


@rule("repeat.default")
def repeat(t: Translator, node: fx.Node, x: Timed | Const, times: Sequence[int]) -> Timed:
    """Features side by side several times; a constant for each frame."""
    if isinstance(x, Const):
        axis = t.axis(node)
        features = [1 if index == axis else count for index, count in enumerate(times)]
        return _every_frame(t, node, Const(x.tensor.repeat(features), f"{x.name}.repeated"))
    x, missing = t.settle(x), len(times) - len(x.shape)
    if x.axis is None and t.axis(node) is not None:
        raise UnsupportedError(SPREADS, hint=f"a stream doesn't have the newest frame yet; {IN_WINDOWS}")
    if missing or (x.axis is not None and times[x.axis] != 1):
        raise UnsupportedError("repeats the sequence", hint="repeat features, or each frame: repeat_interleave")
    value = x.value
    for axis, count in enumerate(times):
        if count > 1:
            value = t.add(ops.Concat, t.name(node), x.timing, parts=(value,) * count, axis=x.dim(axis))
    return t.result(node, value, x)


def own_timing(t: Translator, node: fx.Node) -> Timing:
    """Timing of a value made from the length alone."""
    axis = t.axis(node)
    assert axis is not None
    first, second = t.shape(node)[axis], t.captured.twin_shape(node)[axis]
    ratio = t.captured.period(first, second)
    timing = Timing(period=ratio.numerator, group=ratio.denominator)
    return replace(timing.longer(first - timing.length(t.captured.lengths[0])), receptive_field=1)


def _argument(node: fx.Node) -> fx.Node:
    first = node.args[0]
    assert isinstance(first, fx.Node)
    return first
