"""Pooling, one axis after the other."""

from __future__ import annotations

import math

import numpy as np

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.onnx_in.conv import Sizes
from edgernn.export.onnx_in.elementwise import first
from edgernn.export.onnx_in.layout import padded
from edgernn.export.onnx_in.reader import Reader
from edgernn.export.onnx_in.registry import reads
from edgernn.export.onnx_in.symbols import Given, Known, Node, Symbol
from edgernn.program import LOWEST


@reads("MaxPool", "AveragePool")
def pool(r: Reader, node: Node) -> Symbol:
    """Padding is nothing to a maximum; it counts in a mean where the node says so."""
    if node.wants(1):
        raise UnsupportedError("is asked for its indices")
    if node.attributes.get("ceil_mode", 0):
        raise UnsupportedError("rounds its size up", hint="pad the input, and use ceil_mode=0")
    x, most = first(node), node.op_type == "MaxPool"
    sizes = Sizes.of(node, x.shape[2:], tuple(node.attributes["kernel_shape"]))
    shape = x.shape[2:]
    for axis in range(len(sizes.kernel)):
        before, after = sizes.pads[axis]
        x = padded(r, x, 2 + axis, before, after, LOWEST if most else 0.0)
        assert isinstance(x, Given)
        fields = {"kind": "max" if most else "sum", "axis": axis + 3, "size": sizes.kernel[axis]}
        fields |= {"stride": sizes.strides[axis], "dilation": sizes.dilations[axis]}
        fields |= {"count": sizes.count(axis, x.shape[2 + axis])}
        x = r.symbol(r.add(ops.Pool, {"window": x.value, **fields}))
    if most:
        return x
    if node.attributes.get("count_include_pad", 0):
        return r.binary("mul", x, r.number(1 / math.prod(sizes.kernel)))
    counts = np.ones((), np.float32)
    for axis, size in enumerate(shape):
        inside = np.pad(np.ones(size, np.float32), sizes.pads[axis])
        index = sizes.strides[axis] * np.arange(sizes.count(axis, len(inside)))[:, None]
        taken = inside[index + sizes.dilations[axis] * np.arange(sizes.kernel[axis])].sum(1)
        counts = counts[..., None] * taken
    return r.binary("div", x, Known(counts))
