"""What only moves or copies elements."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.onnx_in.elementwise import first
from edgernn.export.onnx_in.reader import Reader, known
from edgernn.export.onnx_in.registry import reads
from edgernn.export.onnx_in.symbols import Given, Known, Node, Symbol
from edgernn.program import Array


def numbers(node: Node, attribute: str, index: int) -> tuple[int, ...] | None:
    """Whole numbers that are an attribute in older opsets and an operand in newer ones; None where neither is."""
    operand = node.input(index)
    if operand is not None:
        return tuple(map(int, known(operand, f"`{attribute}`").reshape(-1)))
    found = node.attributes.get(attribute)
    return None if found is None else tuple(found)


def counted(axis: int, rank: int) -> int:
    """An axis from the front."""
    return axis + rank if axis < 0 else axis


@reads("Reshape", folds=True)
def reshape(r: Reader, node: Node) -> Symbol:
    """0 keeps a size, -1 is what is left."""
    x, wanted = first(node), numbers(node, "shape", 1)
    assert wanted is not None
    if not node.attributes.get("allowzero", 0):
        wanted = tuple(x.shape[axis] if size == 0 else size for axis, size in enumerate(wanted))
    rest = math.prod(size for size in wanted if size >= 0)
    return r.reshape(x, [math.prod(x.shape) // rest if size < 0 else size for size in wanted])


@reads("Flatten", folds=True)
def flatten(r: Reader, node: Node) -> Symbol:
    """Two axes."""
    x = first(node)
    axis = counted(node.attributes.get("axis", 1), len(x.shape))
    return r.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@reads("Squeeze", folds=True)
def squeeze(r: Reader, node: Node) -> Symbol:
    """Without some axes of one element, or all."""
    x, axes = first(node), numbers(node, "axes", 1)
    rank = len(x.shape)
    gone = {counted(axis, rank) for axis in axes} if axes is not None else {i for i in range(rank) if x.shape[i] == 1}
    return r.reshape(x, [size for axis, size in enumerate(x.shape) if axis not in gone])


@reads("Unsqueeze", folds=True)
def unsqueeze(r: Reader, node: Node) -> Symbol:
    """With axes of one element."""
    x, axes = first(node), numbers(node, "axes", 1) or ()
    rank = len(x.shape) + len(axes)
    new = {counted(axis, rank) for axis in axes}
    sizes = iter(x.shape)
    return r.reshape(x, [1 if axis in new else next(sizes) for axis in range(rank)])


@reads("Transpose", folds=True)
def transpose(r: Reader, node: Node) -> Symbol:
    """Another order, or the reverse one."""
    x = first(node)
    return r.transpose(x, node.attributes.get("perm", range(len(x.shape))[::-1]))


@reads("Slice", folds=True)
def slice_(r: Reader, node: Node) -> Symbol:
    """Attributes before opset 10, operands from then on."""
    x = first(node)
    starts, ends = numbers(node, "starts", 1), numbers(node, "ends", 2)
    assert starts is not None
    assert ends is not None
    axes = numbers(node, "axes", 3) or tuple(range(len(starts)))
    steps = numbers(node, "steps", 4) or (1,) * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = counted(axis, len(x.shape))
        x = r.slice(x, axis, *slice(start, end, step).indices(x.shape[axis]))
    return x


@reads("Split", folds=True)
def split(r: Reader, node: Node) -> Sequence[Symbol]:
    """Sizes from an attribute or an operand, or equal ones, the last the smaller."""
    x, count = first(node), len(node.outputs)
    axis = counted(node.attributes.get("axis", 0), len(x.shape))
    sizes = numbers(node, "split", 1)
    if sizes is None:
        each = -(-x.shape[axis] // count)
        sizes = tuple(min(each, x.shape[axis] - each * index) for index in range(count))
    ends = np.cumsum(sizes)
    return [r.slice(x, axis, int(end) - size, int(end)) for end, size in zip(ends, sizes, strict=True)]


@reads("Concat", folds=True)
def concat(r: Reader, node: Node) -> Symbol:
    """One of ours."""
    parts = [item for item in node.inputs if item is not None]
    return r.concat(parts, counted(node.attributes.get("axis", 1), len(parts[0].shape)))


@reads("Gather", folds=True)
def gather(r: Reader, node: Node) -> Symbol:
    """By known indices of any shape, or rows of a known table by computed ones."""
    x, index = node.inputs
    assert x is not None
    assert index is not None
    axis = counted(node.attributes.get("axis", 0), len(x.shape))
    if isinstance(index, Known):
        places = np.where(index.array < 0, index.array + x.shape[axis], index.array)
        found = r.take(x, places.reshape(-1), axis)
        return r.reshape(found, (*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]))
    if not isinstance(x, Known):
        raise UnsupportedError("takes computed elements of a computed value")
    table = np.moveaxis(x.array, axis, 0)
    kept = r.parameter(np.ascontiguousarray(table.reshape(len(table), -1)))
    found = r.reshape(r.rows(index, kept), (*index.shape, *table.shape[1:]))
    rank = len(index.shape)
    order = (*range(rank, rank + axis), *range(rank), *range(rank + axis, len(found.shape)))
    return r.transpose(found, order)


@reads("Expand", folds=True)
def expand(r: Reader, node: Node) -> Symbol:
    """Broadcast to a shape, which may itself have axes of one element."""
    x, shape = first(node), numbers(node, "shape", 1)
    return r.expand(x, np.broadcast_shapes(x.shape, shape or ()))


@reads("Tile", folds=True)
def tile(r: Reader, node: Node) -> Symbol:
    """Copies side by side along each axis."""
    x = first(node)
    for axis, count in enumerate(numbers(node, "repeats", 1) or ()):
        x = r.concat([x] * count, axis)
    return x


@reads("Pad")
def pad(r: Reader, node: Node) -> Symbol:
    """With a number, or with mirrored, repeated or wrapped elements; negative widths cut."""
    x, widths, axes = first(node), numbers(node, "pads", 1), numbers(node, "axes", 3)
    assert widths is not None
    filler = node.input(2)
    value = float(known(filler, "a filler")) if filler is not None else node.attributes.get("value", 0.0)
    mode = node.attributes.get("mode", "constant")
    half = len(widths) // 2
    for place, axis in enumerate(axes if axes is not None else range(half)):
        axis = counted(axis, len(x.shape))
        before, after = widths[place], widths[half + place]
        if before == after == 0:
            continue
        if mode != "constant" or min(before, after) < 0:
            line = np.arange(x.shape[axis])[max(0, -before) : x.shape[axis] - max(0, -after)]
            added = (max(0, before), max(0, after))
            if mode != "constant":
                x = r.take(x, np.pad(line, added, mode=mode), axis)
                continue
            x, (before, after) = r.take(x, line, axis), added
        if before or after:
            x = padded(r, x, axis, before, after, value)
    return x


def padded(r: Reader, x: Symbol, axis: int, before: int, after: int, value: float = 0.0) -> Symbol:
    """With `before` and `after` elements of a number along an axis."""
    if not before and not after:
        return x
    if isinstance(x, Known):
        widths = [(before, after) if index == axis else (0, 0) for index in range(len(x.shape))]
        return Known(np.pad(x.array, widths, constant_values=value))
    return r.moved(ops.PadFeatures, x, axis=axis + 1, before=before, after=after, value=float(value))


@reads("DepthToSpace", "SpaceToDepth")
def depth_to_space(r: Reader, node: Node) -> Symbol:
    """Blocks of channels and of positions, exchanged."""
    x, block = first(node), node.attributes["blocksize"]
    n, c, h, w = x.shape
    if node.op_type == "SpaceToDepth":
        cut = r.reshape(x, (n, c, h // block, block, w // block, block))
        return r.reshape(r.transpose(cut, (0, 3, 5, 1, 2, 4)), (n, c * block**2, h // block, w // block))
    depth = c // block**2
    crd = node.attributes.get("mode", "DCR") == "CRD"
    cut = r.reshape(x, (n, depth, block, block, h, w) if crd else (n, block, block, depth, h, w))
    turned = r.transpose(cut, (0, 1, 4, 2, 5, 3) if crd else (0, 3, 4, 1, 5, 2))
    return r.reshape(turned, (n, depth, h * block, w * block))


@reads("Resize", "Upsample")
def resize(r: Reader, node: Node) -> Symbol:
    """Nearest neighbours, by whole factors: the only form that is a mere copy in every version."""
    x = first(node)
    if node.attributes.get("mode", "nearest") != "nearest":
        raise UnsupportedError("interpolates", hint="use mode `nearest`, or a transposed convolution")
    sizes = node.input(3)
    scales = node.input(1 if node.op_type == "Upsample" or node.opset < 11 else 2)
    if sizes is not None:
        wanted = tuple(map(int, known(sizes, "sizes")))
    else:
        factors = known(scales, "scales") if scales is not None else np.asarray(node.attributes["scales"])
        wanted = tuple(math.floor(size * factor) for size, factor in zip(x.shape, factors, strict=True))
    for axis, (old, new) in enumerate(zip(x.shape, wanted, strict=True)):
        if new % old:
            raise UnsupportedError(f"makes {new} elements of {old}", hint="resize by a whole factor")
        x = r.take(x, _repeated(old, new // old), axis)
    return x


def _repeated(size: int, factor: int) -> Array:
    return np.repeat(np.arange(size), factor)


@reads("ReverseSequence")
def reverse_sequence(r: Reader, node: Node) -> Symbol:
    """Backward over time, where all sequences have their full length."""
    x, lengths = node.inputs
    assert isinstance(x, Given)
    axis = node.attributes.get("time_axis", 0)
    if np.any(known(lengths, "lengths") != x.shape[axis]):
        raise UnsupportedError("reverses sequences of different lengths")
    return r.take(x, np.arange(x.shape[axis])[::-1], axis)
