"""Normalisation and softmax."""

from __future__ import annotations

import math

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.onnx_in.elementwise import first
from edgernn.export.onnx_in.layout import counted
from edgernn.export.onnx_in.reader import Reader, known
from edgernn.export.onnx_in.registry import reads
from edgernn.export.onnx_in.symbols import Given, Known, Node, Symbol


@reads("BatchNormalization")
def batch_norm(r: Reader, node: Node) -> Symbol:
    """With the statistics of training, by channel."""
    if node.attributes.get("training_mode", 0):
        raise UnsupportedError("is in training mode", hint="export the model in eval mode")
    x = first(node)
    assert isinstance(x, Given)
    weight, bias, mean, variance = (r.parameter(known(item, "statistics")) for item in node.inputs[1:5])
    fields = {"weight": weight, "bias": bias, "mean": mean, "variance": variance}
    return r.moved(ops.BatchNorm, x, axis=2, eps=float(node.attributes.get("epsilon", 1e-5)), **fields)


@reads("LayerNormalization")
def layer_norm(r: Reader, node: Node) -> Symbol:
    """Over the axes from `axis` on."""
    x = first(node)
    axis = counted(node.attributes.get("axis", -1), len(x.shape))
    return scaled(r, node, _normal(r, x, len(x.shape) - axis, node), 1)


@reads("InstanceNormalization")
def instance_norm(r: Reader, node: Node) -> Symbol:
    """Over the positions of each channel."""
    x = first(node)
    return scaled(r, node, _normal(r, x, len(x.shape) - 2, node), len(x.shape) - 2)


@reads("GroupNormalization")
def group_norm(r: Reader, node: Node) -> Symbol:
    """Over channels and positions of each group; scales are by group before opset 21, by channel from then on."""
    x, groups = first(node), node.attributes["num_groups"]
    inner = (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    y = _normal(r, r.reshape(x, inner), len(inner) - 2, node)
    if node.opset < 21:
        return r.reshape(scaled(r, node, y, len(inner) - 2), x.shape)
    return scaled(r, node, r.reshape(y, x.shape), len(x.shape) - 2)


def _normal(r: Reader, x: Symbol, axes: int, node: Node) -> Symbol:
    assert isinstance(x, Given)
    return r.moved(ops.LayerNorm, x, axes=axes, eps=float(node.attributes.get("epsilon", 1e-5)))


def scaled(r: Reader, node: Node, x: Symbol, behind: int) -> Symbol:
    """Times the second operand, plus the third; both have `behind` axes fewer at their end."""
    for kind, index in (("mul", 1), ("add", 2)):
        factor = node.input(index)
        if factor is not None:
            axes = behind if len(factor.shape) == 1 and node.op_type != "LayerNormalization" else 0
            x = r.binary(kind, x, r.reshape(factor, (*factor.shape, *[1] * axes)))
    return x


@reads("LpNormalization")
def lp_norm(r: Reader, node: Node) -> Symbol:
    """Over the sum of magnitudes, or the root of the sum of squares."""
    x = first(node)
    axis = counted(node.attributes.get("axis", -1), len(x.shape))
    if node.attributes.get("p", 2) == 1:
        size = r.reduce("sum", r.unary("abs", x), (axis,), True)
    else:
        size = r.unary("sqrt", r.reduce("sum", r.binary("mul", x, x), (axis,), True))
    return r.binary("div", x, size)


@reads("Softmax", "LogSoftmax")
def softmax(r: Reader, node: Node) -> Symbol:
    """Over one axis; before opset 13 over that and all behind it."""
    x, log = first(node), node.op_type == "LogSoftmax"
    axis = counted(node.attributes.get("axis", -1 if node.opset >= 13 else 1), len(x.shape))
    if node.opset < 13 and axis < len(x.shape) - 1:
        flat = r.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))
        return r.reshape(_softmax(r, flat, 1, log), x.shape)
    return _softmax(r, x, axis, log)


def _softmax(r: Reader, x: Symbol, axis: int, log: bool) -> Symbol:
    assert not isinstance(x, Known)
    return r.moved(ops.Softmax, x, axis=axis + 1, log=log)
