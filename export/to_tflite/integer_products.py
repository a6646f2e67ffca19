"""Products of integers with constant int8 weights.

Sums of int8 products are exact int32 (BATCH_MATMUL into int32 is the one built-in that gives them). What is near and
not exact: the multipliers of rows keep about 10 bits. Products of int16 are FULLY_CONNECTED into int16.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgernn import ops
from edgernn.export.to_tflite.builder import Builder
from edgernn.export.to_tflite.convolutions import convolved, image_of, leave_image, patches, taken
from edgernn.export.to_tflite.graph import Tensor
from edgernn.export.to_tflite.rows import row
from edgernn.export.to_tflite.scales import as_narrow, form_of, limited, row_factors, unit_of
from edgernn.program import Array, volume


def exact_sums(b: Builder, x: Tensor, weight: Array, bias: Array) -> Tensor:
    """int8 x `[rows, in]` times weightᵀ, plus bias, as exact int32."""
    options = schema.BatchMatMulOptionsT()
    options.adjY = True
    shape, matrix = (x.shape[0], len(weight)), b.graph.constant(weight, 1.0)
    product = b.make("BATCH_MATMUL", [x, matrix], shape, "int32", options, scale=1.0, at_least=(2, "2.14.0"))
    return b.binary("ADD", product, b.constant(bias, "int32")) if bias.any() else product


def connected(
    b: Builder, x: Tensor, weight: Array, bias: Array, real: Array, dtype: str, unit: float, step: float = 0.0
) -> Tensor:
    """FULLY_CONNECTED into `dtype` in steps of `unit`.

    One of the Program's x is `real[i]` in row i's result; one step of the tensor x is `step` of the Program's.
    """
    scales, whole = _in_steps(b, x, bias, real, step)
    inputs, shape = [x, b.graph.constant(weight, scales), whole], (x.shape[0], len(weight))
    return b.make("FULLY_CONNECTED", inputs, shape, dtype, schema.FullyConnectedOptionsT(), scale=unit)


def _in_steps(b: Builder, x: Tensor, bias: Array, real: Array, step: float = 0.0) -> tuple[Array, Tensor]:
    """The rows' scales of a weight, and its bias in the steps of their sums; as `connected` has it."""
    assert x.scale is not None
    step = step or x.scale
    scales = np.maximum(real, 1e-30) * step / x.scale
    whole = np.rint(bias / step).astype("int64" if x.dtype == "int16" else "int32")
    return scales, b.graph.constant(whole, scales * x.scale)


def _requantized(
    b: Builder, op: ops.QLinear | ops.QConv1d | ops.QConv2d, x: Tensor, weight: Array, bias: Array, multiplier: Array
) -> Tensor:
    """`clamp((x weightᵀ + bias) * multiplier)` as the operation says."""
    if x.dtype == "int8" and op.dtype == "float32":
        total = exact_sums(b, x, weight, bias)
        return b.binary("MUL", b.cast(total, "float32"), b.constant(multiplier))
    if op.dtype == "float32":
        bound = 32768 * unit_of(x) * np.abs(weight.astype(np.int64)).sum(1) + np.abs(bias.astype(np.float64))
        fine = float((bound * multiplier).max()) / 32767
        y = connected(b, x, weight, bias, multiplier.astype(np.float64), "int16", fine)
        return b.make("DEQUANTIZE", [y], y.shape, "float32")
    real = multiplier.astype(np.float64) * 2.0**-op.shift
    dtype, unit = form_of(b, op.dtype)
    if x.dtype == dtype:
        return limited(b, connected(b, x, weight, bias, real, dtype, unit), op.low, op.high)
    if x.dtype == "int8":
        return as_narrow(b, sum_of_rows(b, x, weight, bias, real), dtype, unit, op.low, op.high)
    return as_narrow(b, connected(b, x, weight, bias, real, "int16", 1 / 256), dtype, unit, op.low, op.high)


def bound_of(weight: Array, bias: Array) -> Array:
    """The largest magnitude of each sum of int8."""
    return np.asarray(128.0 * np.abs(weight.astype(np.int64)).sum(1) + np.abs(bias.astype(np.float64)))


def scaled(b: Builder, total: Tensor, factors: Array, unit: float) -> Tensor:
    """int32 sums times a factor a row."""
    return b.binary("MUL", total, b.constant(factors, "int32"), scale=unit)


def sum_of_rows(b: Builder, x: Tensor, weight: Array, bias: Array, real: Array) -> Tensor:
    """int8 x weightᵀ + bias, each row times its factor, in int32."""
    unit, (factors,) = row_factors([real], [bound_of(weight, bias)])
    return scaled(b, exact_sums(b, x, weight, bias), factors, unit)


@row(ops.QLinear)
def qlinear(b: Builder, op: ops.QLinear) -> None:
    """All leading axes as rows."""
    weight = b.parameter(op.weight)
    x = b.get(op.x, (volume(b.shape(op.x)[:-1]), weight.shape[1]))
    b.put(op.outputs[0], _requantized(b, op, x, weight, b.parameter(op.bias), b.parameter(op.multiplier)))


@row(ops.QConv1d)
def qconv1d(b: Builder, op: ops.QConv1d) -> None:
    """A product over the taps."""
    weight = b.parameter(op.weight)
    x = taken(b, op, weight.shape[2])
    matrix = _matrix(weight[:, :, :, None], op.groups)
    b.put(op.outputs[0], _requantized(b, op, x, matrix, b.parameter(op.bias), b.parameter(op.multiplier)))


@row(ops.QConv2d)
def qconv2d(b: Builder, op: ops.QConv2d) -> None:
    """CONV_2D, which gives what it takes; into other integers or float a product over the taps."""
    weight, bias, multiplier = (b.parameter(name) for name in (op.weight, op.bias, op.multiplier))
    image, (dtype, unit) = image_of(b, op, weight.shape), form_of(b, op.dtype)
    if image.dtype == dtype:
        scales, whole = _in_steps(b, image, bias, multiplier.astype(np.float64) * 2.0**-op.shift)
        y = limited(b, convolved(b, op, image, weight, whole, scales, dtype, unit), op.low, op.high)
    else:
        x, shape = patches(b, op, image, weight.shape)
        y = _requantized(b, op, x, _matrix(weight, op.groups), bias, multiplier)
        y = b.reshape(y, (*shape, len(weight)))
    leave_image(b, op, y)


def _matrix(weight: Array, groups: int) -> Array:
    """A convolution's weight as `[out, taps * width taps * in]`; groups are blocks of it."""
    out, inputs, *taps = weight.shape
    matrix = np.zeros((out, *taps, groups * inputs), np.int8)
    for group in range(groups):
        rows = slice(group * out // groups, (group + 1) * out // groups)
        matrix[rows, :, :, group * inputs : (group + 1) * inputs] = weight[rows].transpose(0, 2, 3, 1)
    return matrix.reshape(out, -1)
