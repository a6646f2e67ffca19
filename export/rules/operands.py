"""Bring the operands of an element-wise operation into the program's layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.symbols import Const, Shape, Timed

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator

Number = int | float | bool


def broadcast(
    t: Translator,
    node: fx.Node,
    operands: Sequence[Timed | Const | Number],
    dtype: str | None = None,
    shape: Shape | None = None,
) -> tuple[list[str], Timed]:
    """Names of operands that broadcast against each other to `shape` (the node's), and a symbol with its timing.

    Numbers become parameters of `dtype`, or of the timed operands' element type.
    """
    shape = t.shape(node) if shape is None else shape
    timed = t.align([item for item in operands if isinstance(item, Timed)])
    like = replace(timed[0], timing=t.meet(timed), free=all(item.free for item in timed))
    axis = next((item.axis + len(shape) - len(item.shape) for item in timed if item.axis is not None), None)
    dtype = dtype or t.builder.dtype(timed[0].value)
    names, rest = [], iter(timed)
    for item in operands:
        if isinstance(item, Timed):
            names.append(_timed(t, node, next(rest), shape, axis))
        elif isinstance(item, Const):
            names.append(_constant(t, item, shape, axis))
        else:
            names.append(t.number(item, dtype))
    return names, like


def _timed(t: Translator, node: fx.Node, item: Timed, shape: Shape, axis: int | None) -> str:
    missing = len(shape) - len(item.shape)
    if item.axis is not None and item.axis + missing != axis:
        raise UnsupportedError("two values meet whose time axes lie in different places", hint="transpose one of them")
    if missing == 0:
        return item.value
    present = t.builder.shape(item.value)
    return t.add(
        ops.Reshape,
        t.name(node, "rank"),
        item.timing,
        x=item.value,
        shape=(present[0], *[1] * missing, *present[1:]),
    )


def _constant(t: Translator, item: Const, shape: Shape, axis: int | None) -> str:
    tensor = item.tensor
    if tensor.ndim == 0:
        return t.constant(item)
    tensor = tensor.reshape((1,) * (len(shape) - tensor.ndim) + tuple(tensor.shape))
    if axis is not None:
        if tensor.shape[axis] != 1:
            raise UnsupportedError(
                f"`{item.name}` has a value for each of the example's {tensor.shape[axis]} frames",
                hint="a stream has no fixed length: compute what depends on the frame's index with torch.arange",
            )
        tensor = tensor.squeeze(axis)
    while tensor.ndim > 1 and tensor.shape[0] == 1:
        tensor = tensor.squeeze(0)
    return t.constant(Const(tensor, item.name))


def with_frames(t: Translator, node: fx.Node, item: Const | Timed, like: Timed) -> str:
    """The name of an operand with frames like `like`, for operations that do not broadcast."""
    if isinstance(item, Timed):
        return item.value
    axis = like.axis
    tensor = item.tensor
    if axis is not None and tensor.shape[axis] != 1:
        raise UnsupportedError(f"`{item.name}` has a value for each of the example's frames")
    tensor = tensor.unsqueeze(0) if axis is None else torch.movedim(tensor, axis, 0)
    name = t.constant(Const(tensor, item.name))
    frames = t.frames(like.timing)
    return t.add(ops.Expand, t.name(node, "frames"), like.timing, x=name, shape=(frames, *tensor.shape[1:]))
