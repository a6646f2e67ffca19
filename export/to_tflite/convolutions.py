"""Convolutions over time and over features.

TFLite's images are `[images, rows, columns, channels]`. Rows are frames, or the first of two feature axes; columns are
the other feature axis, one of them where a convolution is over time alone.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgernn import ops
from edgernn.export.to_tflite.builder import Builder
from edgernn.export.to_tflite.graph import Tensor
from edgernn.export.to_tflite.products import in_int8, product, whole_rows
from edgernn.export.to_tflite.rows import row
from edgernn.program import Array

Conv1d = ops.Conv1d | ops.QConv1d
Conv2d = ops.Conv2d | ops.QConv2d
_GROUPED, _PER_CHANNEL = (6, "2.9.0"), (5, "2.4.0")  # versions of CONV_2D


@row(ops.Conv1d)
def conv1d(b: Builder, op: ops.Conv1d) -> None:
    """Without groups a product over the taps of each output frame, with them a convolution of one column."""
    weight, bias = b.parameter(op.weight), _bias(b, op)
    out, inputs, taps = weight.shape
    if op.groups == 1:
        matrix = weight.transpose(0, 2, 1).reshape(out, taps * inputs)
        b.put(op.outputs[0], product(b, taken(b, op, taps), matrix, bias))
        return
    batch, used = b.shape(op.window)[1], (op.count - 1) * op.stride + (taps - 1) * op.dilation + 1
    frames = b.transpose(b.slice(b.get(op.window), 0, op.first, op.first + used), (1, 0, 2))
    image = b.reshape(frames, (batch, used, 1, inputs * op.groups))
    y = convolved(b, op, image, weight[:, :, :, None], b.graph.constant(bias))
    b.put(op.outputs[0], b.transpose(b.reshape(y, (batch, op.count, out)), (1, 0, 2)))


@row(ops.Conv2d)
def conv2d(b: Builder, op: ops.Conv2d) -> None:
    """CONV_2D; hybrid where it has no groups, with a scale for each row of its weight, as every runtime takes it."""
    weight, bias = b.parameter(op.weight), b.graph.constant(_bias(b, op))
    image = image_of(b, op, weight.shape)
    if op.groups > 1 or not in_int8(b, weight):
        y = convolved(b, op, image, weight, bias)
    else:
        flat = weight.reshape(len(weight), -1)
        scales = np.maximum(np.abs(flat).max(1), 1e-30) / 127
        y = convolved(b, op, image, whole_rows(flat, scales).reshape(weight.shape), bias, scales)
    leave_image(b, op, y)


def _bias(b: Builder, op: ops.Conv1d | ops.Conv2d) -> Array:
    return b.parameter(op.bias) if op.bias else np.zeros(len(b.parameter(op.weight)), np.float32)


def taken(b: Builder, op: Conv1d, taps: int) -> Tensor:
    """What each output frame reads, `[count * batch, taps * in]`."""
    kept, batch, inputs = b.shape(op.window)
    span = (taps - 1) * op.dilation + 1
    if op.count == 1 and batch == 1:
        if kept == taps:
            return b.get(op.window, (1, taps * inputs))
        part = b.slice(b.get(op.window), 0, op.first, op.first + span, op.dilation)
        return b.reshape(part, (1, taps * inputs))
    index = op.first + op.stride * np.arange(op.count)[:, None] + op.dilation * np.arange(taps)
    frames = b.gather(b.get(op.window), b.constant(index, "int32"), 0)  # [count, taps, batch, in]
    frames = b.transpose(frames, (0, 2, 1, 3))
    return b.reshape(frames, (op.count * batch, taps * inputs))


def image_of(b: Builder, op: Conv2d, weight: tuple[int, ...]) -> Tensor:
    """The rows of a window that are read, `[images, rows, columns, in]`, for a weight of this shape."""
    used = (op.count - 1) * op.stride + (weight[2] - 1) * op.dilation + 1
    window = b.slice(b.get(op.window), 0 if op.over_time else 2, op.first, op.first + used)
    return b.transpose(window, (1, 0, 3, 2) if op.over_time else (0, 2, 3, 1))


def leave_image(b: Builder, op: Conv2d, y: Tensor) -> None:
    """Put `[images, rows, columns, out]` as the result."""
    b.put(op.outputs[0], b.transpose(y, (1, 0, 3, 2) if op.over_time else (0, 3, 1, 2)))


def patches(b: Builder, op: Conv2d, image: Tensor, weight: tuple[int, ...]) -> tuple[Tensor, tuple[int, ...]]:
    """What each output reads, `[positions, taps * width taps * in]`; and images, rows and columns of the result."""
    images, rows, columns, channels = image.shape
    _, _, taps, width_taps = weight
    wide = (columns - (width_taps - 1) * op.width_dilation - 1) // op.width_stride + 1
    row_index = op.stride * np.arange(op.count)[:, None] + op.dilation * np.arange(taps)
    column_index = op.width_stride * np.arange(wide)[:, None] + op.width_dilation * np.arange(width_taps)
    index = row_index[:, None, :, None] * columns + column_index[None, :, None, :]
    index = index.reshape(op.count * wide, taps * width_taps)
    index = (rows * columns * np.arange(images)[:, None, None] + index).reshape(-1, taps * width_taps)
    found = b.gather(b.reshape(image, (images * rows * columns, channels)), b.constant(index, "int32"), 0)
    return b.reshape(found, (len(index), taps * width_taps * channels)), (images, op.count, wide)


def convolved(
    b: Builder,
    op: Conv1d | Conv2d,
    image: Tensor,
    weight: Array,
    bias: Tensor,
    scales: Array | None = None,
    dtype: str = "",
    scale: float | None = None,
) -> Tensor:
    """CONV_2D or DEPTHWISE_CONV_2D without padding, `[images, rows, columns, out]`.

    weight `[out, in / groups, taps, width taps]`, int8 where its rows' `scales` are given. The result is of `dtype`
    and `scale`, by default the image's.
    """
    out, inputs, taps, width_taps = weight.shape
    strides, dilations = (op.stride, getattr(op, "width_stride", 1)), (op.dilation, getattr(op, "width_dilation", 1))
    depthwise = inputs == 1 and op.groups > 1
    options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    options.padding = schema.Padding.VALID
    options.strideH, options.strideW = strides
    options.dilationHFactor, options.dilationWFactor = dilations
    sizes = [
        (size - (count - 1) * dilation - 1) // stride + 1
        for size, count, stride, dilation in zip(image.shape[1:3], (taps, width_taps), strides, dilations, strict=True)
    ]
    shape, at_least = (image.shape[0], *sizes, out), None
    if depthwise:
        options.depthMultiplier = out // op.groups
        matrix = b.graph.constant(weight.transpose(1, 2, 3, 0), scales, 3)
        if max(dilations) > 1 and image.dtype == "float32":
            at_least = (2, "1.12.0")
    else:
        matrix = b.graph.constant(weight.transpose(0, 2, 3, 1), scales)
        if op.groups > 1:
            at_least = _GROUPED
        elif image.dtype == "float32" and scales is not None:
            at_least = _PER_CHANNEL
    kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    return b.make(kind, [image, matrix, bias], shape, dtype, options, scale=scale, at_least=at_least)
