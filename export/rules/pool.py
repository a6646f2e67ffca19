"""Pooling over windows of time and of feature axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.rules import rule
from edgernn.export.symbols import Pad, Timed

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator

Sizes = tuple[int, ...] | list[int] | int
# what a maximum is padded with: PyTorch has minus infinity, which is no number of a contract
LOWEST = float(np.finfo(np.float32).min)


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
        raise UnsupportedError("takes an input without a batch axis", hint="give the example a batch axis of size 1")
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
                place = {"axis": x.dim(axis), "before": pad, "after": after, "value": fill}
                value = t.add(ops.PadFeatures, t.name(node, "pad"), pooled.timing, x=value, **place)
            place = {"axis": x.dim(axis), "count": last[axis]}
            value = t.add(ops.Pool, t.name(node), pooled.timing, window=value, **place, **fields)
            pooled = t.symbol(value, shape, x.axis, pooled.timing, newest=x.axis is None)
    return pooled


def _each(sizes: Sizes, axes: int) -> list[int]:
    """One size for each axis."""
    listed = [sizes] if isinstance(sizes, int) else list(sizes)
    return listed * axes if len(listed) == 1 else listed
