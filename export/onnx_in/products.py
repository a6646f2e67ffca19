"""Matrix products."""

from __future__ import annotations

import numpy as np

from edgernn import ops
from edgernn.export.onnx_in.reader import Reader
from edgernn.export.onnx_in.registry import reads
from edgernn.export.onnx_in.symbols import Given, Known, Node, Symbol
from edgernn.program import Array


@reads("MatMul")
def matmul(r: Reader, node: Node) -> Symbol:
    """A known matrix makes it a linear layer; vectors are matrices with an axis less."""
    a, b = node.inputs
    assert a is not None
    assert b is not None
    return product(r, a, b)


def product(r: Reader, a: Symbol, b: Symbol) -> Symbol:
    """a @ b as NumPy's."""
    if len(a.shape) == 1:
        y = product(r, r.reshape(a, (1, *a.shape)), b)
        return r.reshape(y, (*y.shape[:-2], y.shape[-1]))
    if len(b.shape) == 1:
        y = product(r, a, r.reshape(b, (*b.shape, 1)))
        return r.reshape(y, y.shape[:-1])
    if isinstance(b, Known) and len(b.shape) == 2:
        return r.linear(a, b.array.T)
    if isinstance(a, Known) and len(a.shape) == 2:
        return turned(r, r.linear(turned(r, b), a.array))
    rank = max(len(a.shape), len(b.shape))
    first, second = (r.operand(_ranked(r, item, rank)) for item in (a, b))
    return r.symbol(r.add(ops.MatMul, {"a": first, "b": second}))


def turned(r: Reader, x: Symbol) -> Symbol:
    """The last two axes exchanged."""
    rank = len(x.shape)
    return r.transpose(x, (*range(rank - 2), rank - 1, rank - 2))


def _ranked(r: Reader, x: Symbol, rank: int) -> Symbol:
    return r.reshape(x, (*[1] * (rank - len(x.shape)), *x.shape))


@reads("Gemm")
def gemm(r: Reader, node: Node) -> Symbol:
    """alpha a b + beta c; what is known is scaled here."""
    a, b = node.inputs[:2]
    assert a is not None
    assert b is not None
    c, attributes = node.input(2), node.attributes
    alpha, beta = (float(attributes.get(name, 1.0)) for name in ("alpha", "beta"))
    a = turned(r, a) if attributes.get("transA", 0) else a
    b = turned(r, b) if attributes.get("transB", 0) else b
    bias = _bias(c, b.shape[1])
    if isinstance(b, Known) and isinstance(a, Given) and (c is None or bias is not None):
        return r.linear(a, (b.array * np.float32(alpha)).T, None if bias is None else bias * np.float32(beta))
    y = product(r, a, b)
    y = y if alpha == 1 else r.binary("mul", y, r.number(alpha))
    if c is None:
        return y
    return r.binary("add", y, c if beta == 1 else r.binary("mul", c, r.number(beta)))


def _bias(c: Symbol | None, width: int) -> Array | None:
    """An addend as `[width]`, where it is known and the same for every row."""
    if not isinstance(c, Known) or (len(c.shape) == 2 and c.shape[0] != 1):
        return None
    return np.broadcast_to(c.array.reshape(-1), (width,))
