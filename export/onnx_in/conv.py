"""Convolutions over the positions that a step holds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.onnx_in.elementwise import first
from edgernn.export.onnx_in.layout import padded
from edgernn.export.onnx_in.reader import Reader, known
from edgernn.export.onnx_in.registry import reads
from edgernn.export.onnx_in.symbols import Given, Node, Shape, Symbol
from edgernn.program import Array


@dataclass(frozen=True)
class Sizes:
    """The attributes that windows over positions share, one number an axis; padding is `(before, after)`."""

    kernel: Shape
    strides: Shape
    dilations: Shape
    pads: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, node: Node, shape: Shape, kernel: Shape) -> Sizes:
        """Those of a node, for positions of `shape`."""
        rank, attributes = len(kernel), node.attributes
        strides = tuple(attributes.get("strides") or (1,) * rank)
        dilations = tuple(attributes.get("dilations") or (1,) * rank)
        flat = attributes.get("pads") or (0,) * 2 * rank
        pads = tuple(zip(flat[:rank], flat[rank:], strict=True))
        auto = attributes.get("auto_pad", "NOTSET")
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            pads = tuple(
                _same(size, k, s, d, auto) for size, k, s, d in zip(shape, kernel, strides, dilations, strict=True)
            )
        elif auto == "VALID":
            pads = ((0, 0),) * rank
        return cls(kernel, strides, dilations, pads)

    def count(self, axis: int, size: int) -> int:
        """Windows over an axis that is padded already."""
        return (size - (self.kernel[axis] - 1) * self.dilations[axis] - 1) // self.strides[axis] + 1


def _same(size: int, kernel: int, stride: int, dilation: int, auto: str) -> tuple[int, int]:
    total = max(0, (-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size)
    less, more = total // 2, total - total // 2
    return (less, more) if auto == "SAME_UPPER" else (more, less)


@reads("Conv")
def conv(r: Reader, node: Node) -> Symbol:
    """x `[batch, channels, positions…]`, weight `[out, channels / groups, taps…]`, over one or two axes."""
    x, weight = first(node), known(node.inputs[1], "weights")
    bias = node.input(2)
    sizes = Sizes.of(node, x.shape[2:], weight.shape[2:])
    for axis, (before, after) in enumerate(sizes.pads):
        x = padded(r, x, 2 + axis, before, after)
    return convolved(
        r, x, weight, None if bias is None else known(bias, "a bias"), sizes, node.attributes.get("group", 1)
    )


def convolved(r: Reader, x: Symbol, weight: Array, bias: Array | None, sizes: Sizes, groups: int) -> Symbol:
    """A convolution of what is padded already."""
    assert isinstance(x, Given)
    rank = len(sizes.kernel)
    if rank > 2:
        raise UnsupportedError(f"convolves over {rank} axes")
    out = tuple(sizes.count(axis, size) for axis, size in enumerate(x.shape[2:]))
    if groups == 1 and x.shape[2:] == sizes.kernel and math.prod(out) == 1:  # one window: its elements in a row
        row = r.reshape(x, (x.shape[0], math.prod(x.shape[1:])))
        return r.reshape(r.linear(row, weight.reshape(len(weight), -1), bias), (x.shape[0], len(weight), *out))
    batch, channels, *positions = x.shape
    height, width = (1, *positions) if rank == 1 else positions
    window = r.add(ops.Reshape, {"x": x.value, "shape": (batch, channels, height, width)}, r.frames(batch))
    # a convolution over one axis has rows of one element
    strides, dilations, counts = ((1, *item) if rank == 1 else item for item in (sizes.strides, sizes.dilations, out))
    fields = {
        "window": window,
        "weight": r.parameter(weight.reshape(*weight.shape[:2], *((1, *sizes.kernel) if rank == 1 else sizes.kernel))),
        "bias": "" if bias is None else r.parameter(bias),
        "count": counts[0],
        "stride": strides[0],
        "dilation": dilations[0],
        "width_stride": strides[1],
        "width_dilation": dilations[1],
        "groups": groups,
        "over_time": False,
    }
    y = r.add(ops.Conv2d, fields, r.frames(batch))
    return r.symbol(r.add(ops.Reshape, {"x": y, "shape": (1, batch, len(weight), *out)}))


@reads("ConvTranspose")
def conv_transpose(r: Reader, node: Node) -> Symbol:
    """Polyphase: a convolution whose result is read as `stride` times as many positions.

    x `[batch, channels, positions…]`, weight `[channels, out / groups, taps…]`.
    """
    x, weight = first(node), known(node.inputs[1], "weights")
    operand, groups = node.input(2), node.attributes.get("group", 1)
    rank = len(weight.shape) - 2
    strides = tuple(node.attributes.get("strides") or (1,) * rank)
    dilations = tuple(node.attributes.get("dilations") or (1,) * rank)
    pads, wanted = _cuts(node, x.shape[2:], weight.shape[2:], strides, dilations)
    # between the phases' taps a dilation leaves zeros; with a single phase it is the convolution's own
    steps = tuple(d if s == 1 else 1 for s, d in zip(strides, dilations, strict=True))
    taps = tuple(
        -(-((k - 1) * d // step + 1) // s)
        for k, s, d, step in zip(weight.shape[2:], strides, dilations, steps, strict=True)
    )
    for axis, (stride, step) in enumerate(zip(strides, steps, strict=True)):
        skipped, cut = divmod(pads[axis], stride)
        rows, reach = -(-(cut + wanted[axis]) // stride), (taps[axis] - 1) * step
        x = _framed(r, x, 2 + axis, reach - skipped, rows + skipped - x.shape[2 + axis])
        pads[axis] = cut
    phases = math.prod(strides)
    bias = None if operand is None else np.repeat(known(operand, "a bias"), phases)
    sizes = Sizes(taps, (1,) * rank, steps, ((0, 0),) * rank)
    apart = tuple(d // step for d, step in zip(dilations, steps, strict=True))
    y = convolved(r, x, _by_phase(weight, groups, strides, apart, taps), bias, sizes, groups)
    batch, channels, *positions = y.shape
    y = r.reshape(y, (batch, channels // phases, *strides, *positions))
    order = [item for axis in range(rank) for item in (2 + rank + axis, 2 + axis)]
    y = r.transpose(y, (0, 1, *order))
    y = r.reshape(y, (batch, channels // phases, *(s * p for s, p in zip(strides, positions, strict=True))))
    for axis in range(rank):
        y = r.slice(y, 2 + axis, pads[axis], pads[axis] + wanted[axis])
    return y


def _framed(r: Reader, x: Symbol, axis: int, before: int, after: int) -> Symbol:
    """With zeros in front of and behind an axis, or without so many elements where a number is negative."""
    x = r.slice(x, axis, max(0, -before), x.shape[axis] + min(0, after))
    return padded(r, x, axis, max(0, before), max(0, after))


def _cuts(node: Node, positions: Shape, kernel: Shape, strides: Shape, dilations: Shape) -> tuple[list[int], list[int]]:
    """Elements cut in front of each axis, and how many stay behind."""
    rank, attributes = len(kernel), node.attributes
    extra = attributes.get("output_padding") or (0,) * rank
    flat = attributes.get("pads") or (0,) * 2 * rank
    shape, auto = attributes.get("output_shape"), attributes.get("auto_pad", "NOTSET")
    cuts, wanted = [], []
    for axis in range(rank):
        full = (positions[axis] - 1) * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1 + extra[axis]
        if shape is None and auto not in ("SAME_UPPER", "SAME_LOWER"):
            cuts.append(flat[axis])
            wanted.append(full - flat[axis] - flat[rank + axis])
            continue
        size = shape[-rank:][axis] if shape is not None else positions[axis] * strides[axis]
        total = max(0, full - size)
        cuts.append(total // 2 if auto == "SAME_UPPER" else total - total // 2)
        wanted.append(size)
    return cuts, wanted


def _by_phase(weight: Array, groups: int, strides: Shape, dilations: Shape, taps: Shape) -> Array:
    """Weights `[out * phases, channels / groups, taps…]`: output `s q + p` sums inputs `q - j` with tap `k`, for
    `k dilation = s j + p`."""
    channels, each, *kernel = weight.shape
    made = np.zeros((groups, each, *strides, channels // groups, *taps), weight.dtype)
    grouped = weight.reshape(groups, channels // groups, each, *kernel)
    for index in np.ndindex(*kernel):
        reach = [k * d for k, d in zip(index, dilations, strict=True)]
        phase = tuple(k % s for k, s in zip(reach, strides, strict=True))
        tap = tuple(t - 1 - k // s for k, s, t in zip(reach, strides, taps, strict=True))
        made[(slice(None), slice(None), *phase, slice(None), *tap)] = grouped[(..., *index)].swapaxes(1, 2)
    return made.reshape(groups * each * math.prod(strides), channels // groups, *taps)
