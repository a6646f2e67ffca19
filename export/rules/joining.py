"""Joining values along features, and taking them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.rules import rule
from edgernn.export.rules.operands import with_frames
from edgernn.export.symbols import Const, Pad, Timed

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator


@rule("cat.default")
def cat(t: Translator, node: fx.Node, parts: list[Timed | Const], dim: int = 0) -> Timed:
    """Parts side by side along a feature axis."""
    moving = [part for part in parts if isinstance(part, Timed)]
    if moving[0].dim(dim) == 0:
        return _around(t, moving, parts)
    timed = t.align(moving)
    like = replace(timed[0], timing=t.meet(timed))
    axis = like.dim(dim)
    rest = iter(timed)
    names = tuple(with_frames(t, node, next(rest) if isinstance(part, Timed) else part, like) for part in parts)
    return t.result(node, t.add(ops.Concat, t.name(node), like.timing, parts=names, axis=axis), like)


def _around(t: Translator, moving: Sequence[Timed], parts: Sequence[Timed | Const]) -> Timed:
    """Frames of one constant before and behind a sequence: padding."""
    hint = "pad: `F.pad(x, (0, 0, 1, -1))` puts a zero frame in front of `[batch, time, features]` and drops the last"
    axis, x = moving[0].axis, moving[0]
    if len(moving) > 1 or axis is None:
        raise UnsupportedError("joins values along time", hint=hint)
    place = next(index for index, part in enumerate(parts) if part is x)
    sides = [[part.tensor for part in side if isinstance(part, Const)] for side in (parts[:place], parts[place + 1 :])]
    numbers = {float(number) for side in sides for part in side for number in part.reshape(-1).tolist()}
    if len(numbers) > 1:
        raise UnsupportedError("joins frames of several values to a sequence", hint=hint)
    before, after = (sum(part.shape[axis] for part in side) for side in sides)
    return t.pad(x, Pad(before, after, "constant", numbers.pop() if numbers else 0.0))


@rule("stack.default")
def stack(t: Translator, node: fx.Node, parts: list[Timed | Const], dim: int = 0) -> Timed:
    """Parts side by side along a new axis."""
    timed = t.align([part for part in parts if isinstance(part, Timed)])
    like = replace(timed[0], timing=t.meet(timed))
    shape, time = t.shape(node), t.axis(node)
    axis = Timed("", shape, time, like.timing).dim(dim)
    rest = iter(timed)
    names = []
    for part in parts:
        name = with_frames(t, node, next(rest) if isinstance(part, Timed) else part, like)
        single = t.builder.shape(name)
        names.append(
            t.add(ops.Reshape, t.name(node, "part"), like.timing, x=name, shape=(*single[:axis], 1, *single[axis:]))
        )
    return t.result(node, t.add(ops.Concat, t.name(node), like.timing, parts=tuple(names), axis=axis), like)


@rule("chunk.default", "split.Tensor", "split_with_sizes.default", "unbind.int")
def chunk(t: Translator, node: fx.Node, x: Timed, _: object = None, dim: int = 0) -> tuple[Timed, ...]:
    """Consecutive pieces of a feature axis, of the sizes PyTorch gave them."""
    x = t.settle(x)
    unbound = str(node.target).startswith("aten.unbind")
    if unbound:
        dim = int(_) if isinstance(_, int) else 0
    axis = x.dim(dim)
    if axis == 0:
        raise UnsupportedError("takes the frames of a sequence apart", hint="split along features: `dim=`")
    pieces, start = [], 0
    for shape in t.shape(node):
        size = 1 if unbound else shape[dim]
        piece = t.add(ops.Slice, t.name(node, "piece"), x.timing, x=x.value, axis=axis, start=start, end=start + size)
        start += size
        time = x.axis
        if unbound:
            full = t.builder.shape(piece)
            piece = t.add(ops.Reshape, t.name(node, "item"), x.timing, x=piece, shape=(*full[:axis], *full[axis + 1 :]))
            time = x.axis - (dim % len(x.shape) < x.axis) if x.axis is not None else None
        pieces.append(t.symbol(piece, shape, time, x.timing, newest=x.axis is None, free=x.free))
    return tuple(pieces)
