"""Operations on the time axis itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.rules import rule
from edgernn.export.rules.layout import IN_WINDOWS, own_timing
from edgernn.export.symbols import Pad, Timed, frame_shape
from edgernn.program import Timing

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator


@rule("pad.default", "constant_pad_nd.default")
def pad(
    t: Translator, node: fx.Node, x: Timed, widths: list[int], mode: str = "constant", value: float | None = None
) -> Timed:
    """Frames or features around a value. Those in time are made where they are read."""
    if isinstance(mode, (int, float)):  # constant_pad_nd has no mode
        mode, value = "constant", float(mode)
    rank = len(x.shape)
    fill = float(value or 0.0)
    for index in range(0, len(widths), 2):
        axis, before, after = rank - 1 - index // 2, widths[index], widths[index + 1]
        if (before, after) == (0, 0):
            continue
        if axis == x.axis:
            x = t.pad(x, Pad(before, after, mode, fill))
        else:
            x = _pad_features(t, node, t.settle(x), axis, before, after, mode, fill)
    return x


def _pad_features(
    t: Translator, node: fx.Node, x: Timed, axis: int, before: int, after: int, mode: str, fill: float
) -> Timed:
    if mode != "constant" or min(before, after) < 0:
        raise UnsupportedError(f"`{mode}` padding of features has no rule", hint="pad with a constant, or slice")
    value = t.add(
        ops.PadFeatures,
        t.name(node),
        x.timing,
        x=x.value,
        axis=x.dim(axis),
        before=before,
        after=after,
        value=fill,
    )
    shape = (*x.shape[:axis], x.shape[axis] + before + after, *x.shape[axis + 1 :])
    return t.symbol(value, shape, x.axis, x.timing, newest=x.axis is None, free=x.free)


@rule("cumsum.default")
def cumsum(t: Translator, node: fx.Node, x: Timed, dim: int, dtype: Any = None) -> Timed:
    """Sum over time since reset."""
    if x.axis is None or dim % len(x.shape) != x.axis:
        raise UnsupportedError("sums up along features", hint="multiply by a triangular matrix instead")
    x, active = t.whole_steps(x)
    name = t.name(node)
    total = np.zeros(x.frame, t.builder.dtype(x.value))
    incoming, outgoing = t.state(name, "total", total)
    timing = Timing(x.timing.period, x.timing.offset, x.timing.delay, None)
    output = t.builder.unique(name)
    t.builder.add(ops.CumSum, name, (timing, None), (output, outgoing), x=x.value, total=incoming, active=active)
    return t.result(node, output, x, timing=timing)


@rule("arange.default", "arange.start", "arange.start_step")
def arange(t: Translator, node: fx.Node, *bounds: float, **_: Any) -> Timed:
    """The index of each frame since reset, as `start + step * index`."""
    start = bounds[0] if len(bounds) > 1 else 0
    step = bounds[2] if len(bounds) > 2 else 1
    timing = own_timing(t, node)
    dtype = str(node.meta["val"].dtype).removeprefix("torch.")
    value = t.add(
        ops.FrameIndex,
        t.name(node),
        timing,
        steps=t.steps(),
        frames=t.frames(timing),
        start=float(start),
        step_size=float(step),
        dtype=dtype,
    )
    return t.symbol(value, t.shape(node), 0, timing, free=True)


@rule("zeros.default", "ones.default", "full.default", "zeros_like.default", "ones_like.default", "full_like.default")
def filled(t: Translator, node: fx.Node, *arguments: Any, **_: Any) -> Timed:
    """One constant for every frame."""
    name = str(node.target).split(".")[1]
    value = 0.0 if name.startswith("zeros") else 1.0 if name.startswith("ones") else float(arguments[1])
    like = arguments[0] if arguments and isinstance(arguments[0], Timed) else None
    shape, axis = t.shape(node), t.axis(node)
    timing = like.timing if like is not None else own_timing(t, node)
    full = (t.frames(timing), *frame_shape(shape, axis))
    dtype = str(node.meta["val"].dtype).removeprefix("torch.")
    made = t.add(ops.Fill, t.name(node), timing, shape=full, value=value, dtype=dtype)
    return t.symbol(made, shape, axis, timing, newest=like is not None and like.axis is None, free=like is None)


@rule("unfold.default")
def unfold(t: Translator, node: fx.Node, x: Timed, dim: int, size: int, step: int) -> Timed:
    """Pieces of `size` elements, one at every `step`, with their elements on a new last axis."""
    if x.dim(dim) == 0:
        window = t.window(x, size, step, Pad(0, 0), t.name(node))
        axis, value, first, count, timing = 0, window.value, window.first, window.count, window.timing
    else:
        x = t.settle(x)
        axis, value, first, count, timing = x.dim(dim), x.value, 0, t.shape(node)[dim % len(x.shape)], x.timing
    parts = []
    for start in range(first, first + size):
        end = start + (count - 1) * step + 1
        part = t.add(ops.Slice, t.name(node, "part"), timing, x=value, axis=axis, start=start, end=end, stride=step)
        full = (*t.builder.shape(part), 1)
        parts.append(t.add(ops.Reshape, t.name(node, "column"), timing, x=part, shape=full))
    joined = t.add(ops.Concat, t.name(node), timing, parts=tuple(parts), axis=len(full) - 1)
    return t.symbol(joined, t.shape(node), x.axis, timing, newest=x.axis is None, free=x.free)


@rule("flip.default")
def flip(t: Translator, node: fx.Node, x: Timed, dims: list[int]) -> Timed:
    """Reversal: over features by index; over time it needs the end first."""
    x = t.settle(x)
    if any(x.dim(dim) == 0 for dim in dims):
        raise UnsupportedError("runs time backwards", hint=f"a stream can't start at the end; {IN_WINDOWS}")
    value = x.value
    for dim in dims:
        size = x.shape[dim]
        index = t.builder.parameter(f"reversed.{size}", np.arange(size)[::-1].copy())
        value = t.add(ops.Gather, t.name(node), x.timing, x=value, index=index, axis=x.dim(dim))
    return t.result(node, value, x)
