"""Bodies of the operations over the features of a frame."""

from __future__ import annotations

import numpy as np

from edgernn import ops
from edgernn.export.to_onnx.body import ONNX_TYPES, Body, body_of


@body_of(ops.Linear)
def linear(body: Body, op: ops.Linear) -> list[str]:
    """x weightᵀ + bias."""
    if len(body.type("x").shape) == 2:
        return [body.node("Gemm", "x", "weight", *(["bias"] if op.bias else []), transB=1)]
    y = body.node("MatMul", "x", body.node("Transpose", "weight", perm=[1, 0]))
    return [body.node("Add", y, "bias") if op.bias else y]


@body_of(ops.MatMul)
def matmul(body: Body, op: ops.MatMul) -> list[str]:
    """a @ b."""
    return [body.node("MatMul", "a", "b")]


@body_of(ops.Clip)
def clip(body: Body, op: ops.Clip) -> list[str]:
    """Clip."""
    dtype = body.type("x").dtype
    return [body.node("Clip", "x", body.constant(op.low, dtype), body.constant(op.high, dtype))]


@body_of(ops.LayerNorm)
def layer_norm(body: Body, op: ops.LayerNorm) -> list[str]:
    """LayerNormalization, whose scale is not optional."""
    shape = body.type("x").shape[-op.axes :]
    weight = "weight" if op.weight else body.constant(np.ones(shape), "float32")
    bias = ["bias"] if op.bias else []
    return [body.node("LayerNormalization", "x", weight, *bias, axis=-op.axes, epsilon=op.eps)]


@body_of(ops.BatchNorm)
def batch_norm(body: Body, op: ops.BatchNorm) -> list[str]:
    """x scale + shift; both come from parameters alone, so a runtime computes them once, when it loads the file."""
    deviation = body.node("Sqrt", body.node("Add", "variance", body.constant(op.eps, "float32")))
    scale = body.node("Div", "weight" if op.weight else body.constant(1.0, "float32"), deviation)
    shift = body.node("Neg", body.node("Mul", "mean", scale))
    if op.bias:
        shift = body.node("Add", shift, "bias")
    behind = len(body.type("x").shape) - 1 - op.axis
    if behind:
        scale, shift = (body.reshape(item, (-1, *[1] * behind)) for item in (scale, shift))
    return [body.node("Add", body.node("Mul", "x", scale), shift)]


@body_of(ops.Embedding)
def embedding(body: Body, op: ops.Embedding) -> list[str]:
    """Gather."""
    return [body.node("Gather", "weight", "ids", axis=0)]


@body_of(ops.Softmax)
def softmax(body: Body, op: ops.Softmax) -> list[str]:
    """Softmax or LogSoftmax."""
    return [body.node("LogSoftmax" if op.log else "Softmax", "x", axis=op.axis)]


@body_of(ops.Reduce)
def reduce(body: Body, op: ops.Reduce) -> list[str]:
    """ReduceSum and its kind."""
    axes = body.constant(list(op.axes))
    return [body.node(f"Reduce{op.kind.capitalize()}", "x", axes, keepdims=int(op.keepdims))]


@body_of(ops.Reshape)
def reshape(body: Body, op: ops.Reshape) -> list[str]:
    """Reshape."""
    return [body.reshape("x", op.shape)]


@body_of(ops.Transpose)
def transpose(body: Body, op: ops.Transpose) -> list[str]:
    """Transpose."""
    return [body.node("Transpose", "x", perm=list(op.axes))]


@body_of(ops.Slice)
def slice_(body: Body, op: ops.Slice) -> list[str]:
    """Slice."""
    return [body.slice("x", op.axis, op.start, op.end, op.stride)]


@body_of(ops.Gather)
def gather(body: Body, op: ops.Gather) -> list[str]:
    """Gather."""
    return [body.node("Gather", "x", "index", axis=op.axis)]


@body_of(ops.Concat)
def concat(body: Body, op: ops.Concat) -> list[str]:
    """Concat."""
    return [body.node("Concat", *(f"parts_{index}" for index in range(len(op.parts))), axis=op.axis)]


@body_of(ops.Expand)
def expand(body: Body, op: ops.Expand) -> list[str]:
    """Expand."""
    return [body.node("Expand", "x", body.constant(list(op.shape)))]


@body_of(ops.Fill)
def fill(body: Body, op: ops.Fill) -> list[str]:
    """A constant."""
    return [body.constant(np.full(op.shape, op.value), op.dtype)]


@body_of(ops.PadFeatures)
def pad_features(body: Body, op: ops.PadFeatures) -> list[str]:
    """Pad, with widths for all axes: onnxruntime 1.32 moves a Transpose past one that names its axes, wrongly."""
    x = body.type("x")
    widths = np.zeros((2, len(x.shape)), np.int64)
    widths[:, op.axis] = op.before, op.after
    wide = "int32" if x.dtype == "int16" else x.dtype  # onnxruntime pads no int16
    value = "x" if wide == x.dtype else body.cast("x", wide)
    y = body.node("Pad", value, body.constant(widths.reshape(-1)), body.constant(op.value, wide))
    return [y if wide == x.dtype else body.cast(y, x.dtype)]


@body_of(ops.Cast)
def cast(body: Body, op: ops.Cast) -> list[str]:
    """Cast."""
    return [body.node("Cast", "x", to=ONNX_TYPES[op.dtype])]
