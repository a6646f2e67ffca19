"""Pooling over windows of time and of feature axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.rules import rule
from edgernn.export.rules.conv import NO_BATCH, NO_BATCH_HINT
from edgernn.export.rules.reduce import shaped, since_reset
from edgernn.export.symbols import Pad, Timed
from edgernn.program import LOWEST

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator

Sizes = tuple[int, ...] | list[int] | int


def _max_rule(axes: int) -> Callable[..., Timed]:
    def apply(
        t: Translator,
        node: fx.Node,
        x: Timed,
        kernel: Sizes,
        stride: Sizes = (),
        padding: Sizes = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
    ) -> Timed:
        return _pool(t, node, x, axes, "max", kernel, stride, padding, dilation, ceil_mode)

    return apply


def _mean_rule(axes: int) -> Callable[..., Timed]:
    def apply(
        t: Translator,
        node: fx.Node,
        x: Timed,
        kernel: Sizes,
        stride: Sizes = (),
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Timed:
        padded = any(_each(padding, axes)) and not count_include_pad
        if padded or ceil_mode or divisor_override:
            raise UnsupportedError(
                "divides by another number at the ends", hint="count_include_pad=True, ceil_mode=False, no divisor"
            )
        return _pool(t, node, x, axes, "mean", kernel, stride, padding, 1, False)

    return apply


for _axes in (1, 2):
    rule(f"max_pool{_axes}d.default")(_max_rule(_axes))
    rule(f"avg_pool{_axes}d.default")(_mean_rule(_axes))


def _adaptive(t: Translator, node: fx.Node, x: Timed, sizes: Sizes, kind: str, shape: tuple[int, ...]) -> Timed:
    """Feature axes in equal parts; all of time since reset."""
    x = t.settle(x)
    listed = _each(sizes, 1)
    first = len(x.shape) - len(listed)
    if first < 2:
        raise UnsupportedError(NO_BATCH, hint=NO_BATCH_HINT)
    value, whole = x.value, False
    for axis, size in enumerate(shape[first:], first):
        if axis == x.axis:
            whole = t.axis(node, 0 if isinstance(t.shape(node), list) else None) is None
        elif size != x.shape[axis]:
            if x.shape[axis] % size:
                raise UnsupportedError(
                    f"pools {x.shape[axis]} features into {size} parts that overlap",
                    hint="pool into a divisor of their number",
                )
            count = x.shape[axis] // size
            fields = {"axis": x.dim(axis), "size": count, "stride": count, "count": size}
            value = t.add(ops.Pool, t.name(node), x.timing, window=value, kind=kind, **fields)
    if whole and x.axis is not None and listed[x.axis - first] != 1:
        raise UnsupportedError("divides the whole sequence into parts", hint="pool over windows: nn.AvgPool1d")
    if whole:
        value, x = since_reset(t, node, x, value, kind)
    return shaped(t, node, x, value, shape, newest=whole)


@rule("adaptive_avg_pool1d.default", "adaptive_avg_pool2d.default")
def adaptive_mean(t: Translator, node: fx.Node, x: Timed, sizes: Sizes) -> Timed:
    """Means of equal parts."""
    return _adaptive(t, node, x, sizes, "mean", t.shape(node))


@rule("adaptive_max_pool1d.default", "adaptive_max_pool2d.default")
def adaptive_max(t: Translator, node: fx.Node, x: Timed, sizes: Sizes) -> tuple[Timed, None]:
    """The largest of equal parts; where they lie is known to no stream."""
    return _adaptive(t, node, x, sizes, "max", t.shape(node)[0]), None


def _pool(
    t: Translator,
    node: fx.Node,
    x: Timed,
    axes: int,
    kind: str,
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
) -> Timed:
    """The last axes one after the other: a window's maximum or mean is that of its columns' ones."""
    if len(x.shape) != axes + 2:
        raise UnsupportedError(NO_BATCH, hint=NO_BATCH_HINT)
    sizes = zip(
        range(2, axes + 2),
        _each(kernel, axes),
        _each(stride if stride not in ((), []) else kernel, axes),
        _each(padding, axes),
        _each(dilation, axes),
        strict=True,
    )
    pooled, shape, last = x, x.shape, t.shape(node)
    # features first: there are fewer of them then in the history of frames
    for axis, size, step, pad, spread in sorted(sizes, key=lambda item: item[0] == x.axis):
        if (size, step, pad) == (1, 1, 0):
            continue
        span = (size - 1) * spread + 1
        after = pad
        if ceil_mode:
            if pad + step > span:
                raise UnsupportedError("leaves out its last window or not, by the length", hint="ceil_mode=False")
            after += step - 1
        shape = (*shape[:axis], last[axis], *shape[axis + 1 :])
        fields = {"kind": kind, "size": size, "stride": step, "dilation": spread}
        fill = LOWEST if kind == "max" else 0.0
        if axis == x.axis:
            window = t.window(pooled, span, step, Pad(pad, after, "constant", fill), t.name(node))
            place = {"axis": 0, "count": window.count, "first": window.first}
            value = t.add(ops.Pool, t.name(node), window.timing, window=window.value, **place, **fields)
            pooled = t.symbol(value, shape, axis, window.timing)
        else:
            pooled = t.settle(pooled)
            value = pooled.value
            if pad or after:
                around = {"axis": x.dim(axis), "before": pad, "after": after}
                value = t.add(ops.PadFeatures, t.name(node, "pad"), pooled.timing, x=value, value=fill, **around)
            place = {"axis": x.dim(axis), "count": last[axis]}
            value = t.add(ops.Pool, t.name(node), pooled.timing, window=value, **place, **fields)
            pooled = t.symbol(value, shape, x.axis, pooled.timing, newest=x.axis is None)
    return pooled


def _each(sizes: Sizes, axes: int) -> list[int]:
    """One size for each axis."""
    listed = [sizes] if isinstance(sizes, int) else list(sizes)
    return listed * axes if len(listed) == 1 else listed
