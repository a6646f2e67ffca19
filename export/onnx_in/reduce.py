"""Reductions."""

from __future__ import annotations

from edgernn.export.onnx_in.elementwise import first
from edgernn.export.onnx_in.layout import counted, numbers
from edgernn.export.onnx_in.reader import Reader
from edgernn.export.onnx_in.registry import reads
from edgernn.export.onnx_in.symbols import Node, Symbol

_PLAIN = {"ReduceSum": "sum", "ReduceMean": "mean", "ReduceMax": "max", "ReduceMin": "min", "ReduceProd": "prod"}


def _axes(node: Node) -> tuple[int, ...]:
    """The axes to reduce: all where none are named, unless the node says that none means none."""
    rank, axes = len(first(node).shape), numbers(node, "axes", 1)
    if not axes:
        return () if node.attributes.get("noop_with_empty_axes", 0) else tuple(range(rank))
    return tuple(counted(axis, rank) for axis in axes)


@reads(*_PLAIN)
def reduce(r: Reader, node: Node) -> Symbol:
    """One of ours."""
    return r.reduce(_PLAIN[node.op_type], first(node), _axes(node), bool(node.attributes.get("keepdims", 1)))


@reads("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp")
def composed(r: Reader, node: Node) -> Symbol:
    """A sum with something before and behind it."""
    x, kind, axes = first(node), node.op_type, _axes(node)
    keepdims = bool(node.attributes.get("keepdims", 1))
    if kind == "ReduceLogSumExp":
        most = r.reduce("max", x, axes, True)  # so that no exponential overflows
        total = r.unary("log", r.reduce("sum", r.unary("exp", r.binary("sub", x, most)), axes, True))
        y = r.binary("add", total, most)
        kept = [size for axis, size in enumerate(y.shape) if keepdims or axis not in axes]
        return r.reshape(y, kept)
    if kind == "ReduceL1":
        x = r.unary("abs", x)
    elif kind != "ReduceLogSum":
        x = r.binary("mul", x, x)
    y = r.reduce("sum", x, axes, keepdims)
    behind = {"ReduceL2": "sqrt", "ReduceLogSum": "log"}.get(kind)
    return y if behind is None else r.unary(behind, y)


@reads("GlobalAveragePool", "GlobalMaxPool")
def global_pool(r: Reader, node: Node) -> Symbol:
    """Over all positions of each channel."""
    kind = "mean" if node.op_type == "GlobalAveragePool" else "max"
    return r.reduce(kind, first(node), tuple(range(2, len(first(node).shape))), True)
