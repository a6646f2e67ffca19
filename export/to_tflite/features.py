"""Operations over the features of a frame."""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgernn import ops
from edgernn.export.to_tflite.builder import Builder
from edgernn.export.to_tflite.graph import Tensor
from edgernn.export.to_tflite.products import product
from edgernn.export.to_tflite.rows import row
from edgernn.export.to_tflite.time import filling
from edgernn.program import volume

_UNARY = {kind: kind.upper() for kind in ("abs", "ceil", "cos", "exp", "floor", "gelu", "log", "neg", "relu", "round")}
_UNARY |= {kind: kind.upper() for kind in ("sign", "sin", "sqrt", "tanh")}
_UNARY |= {"not": "LOGICAL_NOT", "sigmoid": "LOGISTIC"}
_BINARY = {kind: kind.upper() for kind in ("add", "div", "equal", "greater", "greater_equal", "less", "less_equal")}
_BINARY |= {kind: kind.upper() for kind in ("mul", "pow", "sub")}
_BINARY |= {"and": "LOGICAL_AND", "max": "MAXIMUM", "min": "MINIMUM", "or": "LOGICAL_OR"}
_ERF_P, _ERF = 0.3275911, (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
_REDUCE = {"max": "REDUCE_MAX", "mean": "MEAN", "min": "REDUCE_MIN", "prod": "REDUCE_PROD", "sum": "SUM"}


@row(ops.Unary)
def unary(b: Builder, op: ops.Unary) -> None:
    """One built-in each, but for the reciprocal, softplus and erf."""
    x = b.either(op.x)
    if op.kind == "reciprocal":
        y = b.binary("DIV", b.constant(1.0), x)
    elif op.kind == "softplus":  # max(x, 0) + log(1 + exp(-|x|)): no overflow
        small = b.unary("EXP", b.unary("NEG", b.unary("ABS", x)))
        y = b.binary("ADD", b.unary("RELU", x), b.unary("LOG", b.binary("ADD", small, b.constant(1.0))))
    elif op.kind == "erf":
        y = _erf(b, x)
    else:
        y = b.unary(_UNARY[op.kind], x)
    b.put(op.outputs[0], y)


def _erf(b: Builder, x: Tensor) -> Tensor:
    """Within 1.5e-7 (Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26)."""
    size = b.unary("ABS", x)
    t = b.binary("ADD", b.binary("MUL", size, b.constant(_ERF_P)), b.constant(1.0))
    t = b.binary("DIV", b.constant(1.0), t)
    total = b.constant(_ERF[0])
    for coefficient in _ERF[1:]:
        total = b.binary("ADD", b.binary("MUL", total, t), b.constant(coefficient))
    fall = b.unary("EXP", b.unary("NEG", b.binary("MUL", x, x)))
    y = b.binary("SUB", b.constant(1.0), b.binary("MUL", b.binary("MUL", total, t), fall))
    return b.where(b.binary("LESS", x, b.constant(0.0)), b.unary("NEG", y), y)


@row(ops.Binary)
def binary(b: Builder, op: ops.Binary) -> None:
    """One built-in each."""
    b.put(op.outputs[0], b.binary(_BINARY[op.kind], b.get(op.a), b.get(op.b)))


@row(ops.Clip)
def clip(b: Builder, op: ops.Clip) -> None:
    """Both limits one after the other, where they are limits."""
    y = b.either(op.x)
    if op.high < np.inf:
        y = b.binary("MINIMUM", y, b.constant(op.high, y.dtype))
    if op.low > -np.inf:
        y = b.binary("MAXIMUM", y, b.constant(op.low, y.dtype))
    b.put(op.outputs[0], y)


@row(ops.Where)
def where(b: Builder, op: ops.Where) -> None:
    """SELECT_V2."""
    b.put(op.outputs[0], b.where(b.get(op.condition), b.get(op.a), b.get(op.b)))


@row(ops.Cast)
def cast(b: Builder, op: ops.Cast) -> None:
    """CAST."""
    b.put(op.outputs[0], b.cast(b.either(op.x), op.dtype))


@row(ops.Linear)
def linear(b: Builder, op: ops.Linear) -> None:
    """FULLY_CONNECTED over all leading axes as rows."""
    weight = b.parameter(op.weight)
    x = b.get(op.x, (volume(b.shape(op.x)[:-1]), weight.shape[1]))
    bias = b.parameter(op.bias) if op.bias else None
    b.put(op.outputs[0], product(b, x, weight, bias, False if b.narrowed(op.outputs[0]) else None))


@row(ops.MatMul)
def matmul(b: Builder, op: ops.MatMul) -> None:
    """FULLY_CONNECTED where b is a matrix of parameters, else BATCH_MATMUL."""
    fixed, shape = b.fixed(op.b), b.shape(op.a)
    if fixed is not None and fixed.ndim == 2:
        x, weight = b.get(op.a, (volume(shape[:-1]), shape[-1])), np.ascontiguousarray(fixed.T)
        y = product(b, x, weight, None, False if b.narrowed(op.outputs[0]) else None)
    else:
        result = b.shape(op.outputs[0])
        y = b.make("BATCH_MATMUL", [b.get(op.a), b.get(op.b)], result, options=schema.BatchMatMulOptionsT())
    b.put(op.outputs[0], y)


@row(ops.LayerNorm)
def layer_norm(b: Builder, op: ops.LayerNorm) -> None:
    """Spelled out: mean, centred, mean square, its inverse root."""
    x = b.get(op.x)
    axes = range(len(x.shape) - op.axes, len(x.shape))
    centred = b.binary("SUB", x, b.reduced("MEAN", x, axes))
    variance = b.reduced("MEAN", b.binary("MUL", centred, centred), axes)
    y = b.binary("MUL", centred, b.unary("RSQRT", b.binary("ADD", variance, b.constant(op.eps))))
    y = b.binary("MUL", y, b.get(op.weight)) if op.weight else y
    b.put(op.outputs[0], b.binary("ADD", y, b.get(op.bias)) if op.bias else y)


@row(ops.BatchNorm)
def batch_norm(b: Builder, op: ops.BatchNorm) -> None:
    """x scale + shift."""
    x = b.get(op.x)
    shape = (-1, *[1] * (len(x.shape) - 1 - op.axis))
    scale = 1 / np.sqrt(b.parameter(op.variance) + np.float32(op.eps))
    scale = scale * b.parameter(op.weight) if op.weight else scale
    shift = -b.parameter(op.mean) * scale + (b.parameter(op.bias) if op.bias else np.float32(0))
    y = b.binary("MUL", x, b.constant(scale.reshape(shape)))
    b.put(op.outputs[0], b.binary("ADD", y, b.constant(shift.reshape(shape))))


@row(ops.Embedding)
def embedding(b: Builder, op: ops.Embedding) -> None:
    """GATHER of rows."""
    b.put(op.outputs[0], b.gather(b.get(op.weight), b.get(op.ids), 0))


@row(ops.Softmax)
def softmax(b: Builder, op: ops.Softmax) -> None:
    """SOFTMAX and LOG_SOFTMAX know the last axis alone."""
    x = b.get(op.x)
    last = len(x.shape) - 1
    axes = list(range(len(x.shape)))
    axes[op.axis], axes[last] = axes[last], axes[op.axis]
    x = b.transpose(x, axes)
    options = schema.LogSoftmaxOptionsT() if op.log else schema.SoftmaxOptionsT()
    if not op.log:
        options.beta = 1.0
    y = b.make("LOG_SOFTMAX" if op.log else "SOFTMAX", [x], x.shape, options=options)
    b.put(op.outputs[0], b.transpose(y, axes))


@row(ops.Reduce)
def reduce(b: Builder, op: ops.Reduce) -> None:
    """SUM and its kind."""
    x = b.get(op.x)
    b.put(op.outputs[0], b.reduced(_REDUCE[op.kind], x, [axis % len(x.shape) for axis in op.axes]))


@row(ops.Reshape)
def reshape(b: Builder, op: ops.Reshape) -> None:
    """Nothing, until somebody asks for that shape."""
    b.same(op.outputs[0], op.x)


@row(ops.Transpose)
def transpose(b: Builder, op: ops.Transpose) -> None:
    """TRANSPOSE, or nothing where only axes of size 1 move."""
    shape = b.shape(op.x)
    if [axis for axis in op.axes if shape[axis] != 1] == [axis for axis, size in enumerate(shape) if size != 1]:
        b.same(op.outputs[0], op.x)
    else:
        b.put(op.outputs[0], b.transpose(b.get(op.x), op.axes))


@row(ops.Slice)
def slice_(b: Builder, op: ops.Slice) -> None:
    """SLICE, STRIDED_SLICE."""
    b.put(op.outputs[0], b.slice(b.get(op.x), op.axis, op.start, op.end, op.stride))


@row(ops.Gather)
def gather(b: Builder, op: ops.Gather) -> None:
    """GATHER."""
    b.put(op.outputs[0], b.gather(b.get(op.x), b.get(op.index), op.axis))


@row(ops.Concat)
def concat(b: Builder, op: ops.Concat) -> None:
    """CONCATENATION."""
    b.put(op.outputs[0], b.concat([b.get(part) for part in op.parts], op.axis))


@row(ops.Expand)
def expand(b: Builder, op: ops.Expand) -> None:
    """BROADCAST_TO."""
    b.put(op.outputs[0], b.expand(b.get(op.x), op.shape))


@row(ops.Fill)
def fill(b: Builder, op: ops.Fill) -> None:
    """A constant."""
    b.put(op.outputs[0], b.constant(np.full(op.shape, op.value), op.dtype))


@row(ops.PadFeatures)
def pad_features(b: Builder, op: ops.PadFeatures) -> None:
    """PADV2."""
    x = b.get(op.x)
    widths = [[op.before, op.after] if axis == op.axis else [0, 0] for axis in range(len(x.shape))]
    inputs = [x, b.constant(widths, "int32"), filling(b, op.value, x)]
    b.put(op.outputs[0], b.make("PADV2", inputs, b.shape(op.outputs[0]), options=schema.PadV2OptionsT()))
