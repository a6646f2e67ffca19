"""Sums, means, extremes and deviations: over features of each frame, and over time since reset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.rules import rule
from edgernn.export.rules.layout import reshape_value
from edgernn.export.symbols import Timed, frame_shape
from edgernn.program import LOWEST, Timing

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator

KINDS = {"sum.default": "sum", "sum.dim_IntList": "sum", "mean.default": "mean", "mean.dim": "mean"}
KINDS |= {"amax.default": "max", "amin.default": "min"}
Dims = Sequence[int] | int | None


def _reduce_rule(kind: str) -> Callable[..., Timed]:
    def apply(t: Translator, node: fx.Node, x: Timed, dims: Dims = None, keepdim: bool = False, **_: Any) -> Timed:
        return _reduced(t, node, x, kind, dims, t.shape(node))

    return apply


for _name, _kind in KINDS.items():
    rule(_name)(_reduce_rule(_kind))


@rule("max.default", "min.default")
def extreme(t: Translator, node: fx.Node, x: Timed) -> Timed:
    """The largest or smallest element."""
    return _reduced(t, node, x, _named(node), None, t.shape(node))


@rule("max.dim", "min.dim")
def extreme_of_axis(t: Translator, node: fx.Node, x: Timed, dim: int, keepdim: bool = False) -> tuple[Timed, None]:
    """The largest or smallest element of an axis; where it lies is known to no stream."""
    return _reduced(t, node, x, _named(node), dim, t.shape(node)[0]), None


@rule("argmax.default", "argmin.default")
def place_of_extreme(t: Translator, node: fx.Node, x: Timed, dim: int | None = None, keepdim: bool = False) -> Timed:
    """Where the largest or smallest element of an axis lies: the first of several."""
    x, kind = t.settle(x), _named(node)[3:]
    if dim is None or x.dim(dim) == 0:
        raise UnsupportedError("looks for the place of an extreme in time", hint="take it over features: `dim=-1`")
    axis, fields = x.dim(dim), {"axes": (x.dim(dim),), "keepdims": True}
    size = t.builder.shape(x.value)[axis]
    most = t.add(ops.Reduce, t.name(node, kind), x.timing, x=x.value, kind=kind, **fields)
    found = t.add(ops.Binary, t.name(node, "found"), x.timing, a=x.value, b=most, kind="equal")
    places = np.arange(size, dtype=np.float32).reshape(-1, *[1] * (len(t.builder.shape(x.value)) - axis - 1))
    column = t.builder.parameter(t.name(node, "places"), places)
    beyond = t.number(float(size - 1), "float32")
    place = t.add(ops.Where, t.name(node, "place"), x.timing, condition=found, a=column, b=beyond)
    first = t.add(ops.Reduce, t.name(node, "first"), x.timing, x=place, kind="min", **fields)
    value = t.add(ops.Cast, t.name(node), x.timing, x=first, dtype="int64")
    return shaped(t, node, x, value, t.shape(node), newest=x.axis is None)


@rule("std.correction", "var.correction", "std.dim", "var.dim")
def deviation(
    t: Translator,
    node: fx.Node,
    x: Timed,
    dims: Dims = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Timed:
    """Standard deviation or variance: over time since reset, or over features."""
    x = t.settle(x)
    less = float(unbiased) if correction is None else float(correction)
    axes = _axes(x, dims)
    if 0 not in axes:
        variance = _variance_of_features(t, node, x, axes, less)
    elif len(axes) == 1:
        variance, x = _variance_since_reset(t, node, x, less)
    else:
        raise UnsupportedError("varies over time and features at once", hint="flatten the features into time, or split")
    if _named(node) == "std":
        variance = t.add(ops.Unary, t.name(node, "root"), x.timing, x=variance, kind="sqrt")
    return shaped(t, node, x, variance, t.shape(node), newest=0 in axes)


def _named(node: fx.Node) -> str:
    return str(node.target).split(".")[1]


def _axes(x: Timed, dims: Dims) -> tuple[int, ...]:
    """Axes of the program's value."""
    listed = [dims] if isinstance(dims, int) else list(dims or range(len(x.shape)))
    return tuple(sorted(x.dim(dim) for dim in listed))


def _reduced(t: Translator, node: fx.Node, x: Timed, kind: str, dims: Dims, shape: tuple[int, ...]) -> Timed:
    x = t.settle(x)
    axes = _axes(x, dims)
    features = tuple(axis for axis in axes if axis > 0)
    value = x.value
    if features:
        value = t.add(ops.Reduce, t.name(node), x.timing, x=value, kind=kind, axes=features, keepdims=True)
    if 0 in axes:
        value, x = since_reset(t, node, x, value, kind)
    return shaped(t, node, x, value, shape, newest=0 in axes)


def shaped(t: Translator, node: fx.Node, x: Timed, value: str, shape: tuple[int, ...], *, newest: bool) -> Timed:
    """The symbol of a value that has kept all its axes."""
    axis = None if newest or x.axis is None else t.axis(node, 0 if isinstance(t.shape(node), list) else None)
    full = (t.frames(x.timing), *frame_shape(shape, axis))
    value = reshape_value(t, t.name(node, "shape"), value, full, x.timing)
    return t.symbol(value, shape, axis, x.timing, newest=axis is None, free=x.free)


def since_reset(t: Translator, node: fx.Node, x: Timed, value: str, kind: str) -> tuple[str, Timed]:
    """`kind` over all frames so far, and its symbol: at the end, that over the whole sequence."""
    x = Timed(value, x.shape, x.axis, x.timing)
    if kind == "min":  # of the negatives the largest
        value = t.add(ops.Unary, t.name(node, "negative"), x.timing, x=value, kind="neg")
        value, x = since_reset(t, node, Timed(value, x.shape, x.axis, x.timing), value, "max")
        return t.add(ops.Unary, t.name(node, "smallest"), x.timing, x=value, kind="neg"), x
    if kind == "mean":
        return _mean_since_reset(t, node, x, "pooled")
    x, active = t.whole_steps(x)
    frame = t.builder.shape(x.value)[1:]
    start, field, op = (0, "total", ops.CumSum) if kind == "sum" else (LOWEST, "largest", ops.CumMax)
    initial = np.full(frame, start, t.builder.dtype(x.value))
    return _running(t, t.name(node, "pooled"), op, x, field, initial, active=active)


def _mean_since_reset(t: Translator, node: fx.Node, x: Timed, name: str) -> tuple[str, Timed]:
    x, active = t.whole_steps(x)
    frame = t.builder.shape(x.value)[1:]
    initial = np.zeros(frame, np.float32)
    count = _count(t, node, x)
    return _running(t, t.name(node, name), ops.RunningMean, x, "mean", initial, count=count, active=active)


def _running(
    t: Translator, name: str, op: type[Any], x: Timed, field: str, initial: Any, **operands: str
) -> tuple[str, Timed]:
    incoming, outgoing = t.state(name, "pooled", initial)
    timing = Timing(**{**_fields(x.timing), "receptive_field": None})
    output = t.builder.unique(name)
    operands = {"x": x.value, field: incoming, **operands}
    t.builder.add(op, name, (timing, None), (output, outgoing), **operands)
    return output, Timed(output, x.shape, x.axis, timing)


def _fields(timing: Timing) -> dict[str, Any]:
    return {name: getattr(timing, name) for name in timing.__slots__}


def _count(t: Translator, node: fx.Node, x: Timed) -> str:
    """How many frames there were with each of a step's, `[frames, 1, …]`; one before the first."""
    frames, rank = t.frames(x.timing), len(t.builder.shape(x.value))
    fields = {"frames": frames, "start": 1.0 - x.timing.delay, "step_size": 1.0, "dtype": "float32"}
    count = t.add(ops.FrameIndex, t.name(node, "count"), x.timing, steps=t.steps(), **fields)
    if x.timing.delay:
        one = t.number(1.0, "float32")
        count = t.add(ops.Binary, t.name(node, "count.first"), x.timing, a=count, b=one, kind="max")
    return reshape_value(t, t.name(node, "count.frames"), count, (frames, *[1] * (rank - 1)), x.timing)


def _variance_since_reset(t: Translator, node: fx.Node, x: Timed, less: float) -> tuple[str, Timed]:
    """The mean of `(x - mean)² n / (n - 1)` is the variance of n frames (Welford 1962)."""
    mean, held = _mean_since_reset(t, node, x, "mean")
    x, _ = t.whole_steps(x)
    count = _count(t, node, x)

    def binary(kind: str, a: str, b: str | float) -> str:
        other = t.number(b, "float32") if isinstance(b, float) else b
        return t.add(ops.Binary, t.name(node, kind), held.timing, a=a, b=other, kind=kind)

    def share(below: float) -> str:
        """n / (n - below), of a divisor of 1 at least: one frame alone does not vary."""
        return binary("div", count, binary("max", binary("sub", count, below), 1.0))

    centred = binary("sub", x.value, mean)
    square = binary("mul", binary("mul", centred, centred), share(1.0))
    value, held = _mean_since_reset(t, node, Timed(square, x.shape, x.axis, held.timing), "variance")
    return (binary("mul", value, share(less)) if less else value), held


def _variance_of_features(t: Translator, node: fx.Node, x: Timed, axes: tuple[int, ...], less: float) -> str:
    size = int(np.prod([t.builder.shape(x.value)[axis] for axis in axes]))
    fields = {"axes": axes, "keepdims": True}
    mean = t.add(ops.Reduce, t.name(node, "mean"), x.timing, x=x.value, kind="mean", **fields)
    centred = t.add(ops.Binary, t.name(node, "centred"), x.timing, a=x.value, b=mean, kind="sub")
    square = t.add(ops.Binary, t.name(node, "square"), x.timing, a=centred, b=centred, kind="mul")
    total = t.add(ops.Reduce, t.name(node, "total"), x.timing, x=square, kind="sum", **fields)
    divisor = t.number(max(size - less, 0.0), "float32")
    return t.add(ops.Binary, t.name(node, "variance"), x.timing, a=total, b=divisor, kind="div")
