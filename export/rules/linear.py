"""Matrix products."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.rules import rule
from edgernn.export.rules.layout import IN_WINDOWS, reshape_value
from edgernn.export.symbols import Const, Timed

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator

OVER_TIME = "sums over all frames of the sequence"
OVER_TIME_HINT = f"use a recurrent layer or a causal convolution; {IN_WINDOWS}"


@rule("linear.default")
def linear(t: Translator, node: fx.Node, x: Timed, weight: Const, bias: Const | None = None) -> Timed:
    """x weightᵀ + bias over the last axis."""
    x = t.settle(x)
    if x.axis == len(x.shape) - 1:
        raise UnsupportedError(OVER_TIME, hint="Linear takes features on the last axis: transpose(1, 2) first")
    return _linear(t, node, x, weight, bias)


def _linear(t: Translator, node: fx.Node, x: Timed, weight: Const, bias: Const | None) -> Timed:
    value = t.add(
        ops.Linear,
        t.name(node),
        x.timing,
        x=x.value,
        weight=t.constant(weight),
        bias=t.constant(bias) if bias else "",
    )
    return t.result(node, value, x)


@rule("addmm.default")
def addmm(t: Translator, node: fx.Node, bias: Const, x: Timed, weight: Const) -> Timed:
    """bias + x weight."""
    x = t.settle(x)
    if x.axis == len(x.shape) - 1:
        raise UnsupportedError(OVER_TIME, hint=OVER_TIME_HINT)
    return _linear(t, node, x, _transposed(weight), bias)


@rule("matmul.default", "mm.default", "bmm.default", "mv.default")
def matmul(t: Translator, node: fx.Node, a: Timed | Const, b: Timed | Const) -> Timed:
    """A product with a constant over features, or of two values frame by frame."""
    if isinstance(a, Timed) and isinstance(b, Const):
        return _times_constant(t, node, t.settle(a), b)
    if isinstance(a, Const) and isinstance(b, Timed):
        return _constant_times(t, node, a, t.settle(b))
    assert isinstance(a, Timed)
    assert isinstance(b, Timed)
    a, b = t.align((a, b))
    rank = len(t.shape(node))
    for item in (a, b):
        if item.axis is not None and item.axis >= len(item.shape) - 2:
            raise UnsupportedError(OVER_TIME, hint=OVER_TIME_HINT)
        if len(item.shape) != rank or rank < 3:
            raise UnsupportedError("multiplies values of different rank", hint="bring both to one rank: unsqueeze")
    return t.result(node, t.add(ops.MatMul, t.name(node), t.meet((a, b)), a=a.value, b=b.value), a)


def _times_constant(t: Translator, node: fx.Node, x: Timed, matrix: Const) -> Timed:
    if x.axis == len(x.shape) - 1:
        raise UnsupportedError(OVER_TIME, hint=OVER_TIME_HINT)
    if len(matrix.shape) == 1:
        row = Const(matrix.tensor.unsqueeze(0), f"{matrix.name}.row")
        value = t.add(ops.Linear, t.name(node, "product"), x.timing, x=x.value, weight=t.constant(row))
        return t.result(node, reshape_value(t, t.name(node), value, t.builder.shape(value)[:-1], x.timing), x)
    if len(matrix.shape) == 2:
        return _linear(t, node, x, _transposed(matrix), None)
    if len(matrix.shape) > len(x.shape) or len(matrix.shape) < 2 or matrix.shape[:-2] != (1,) * (len(matrix.shape) - 2):
        raise UnsupportedError("multiplies by a batch of matrices", hint="multiply by one matrix of two axes")
    return _linear(t, node, x, _transposed(Const(matrix.tensor.reshape(matrix.shape[-2:]), matrix.name)), None)


def _constant_times(t: Translator, node: fx.Node, matrix: Const, x: Timed) -> Timed:
    """matrix @ x: with time last, each frame is a column and the product is a linear layer over axis -2."""
    if x.axis == len(x.shape) - 2:
        raise UnsupportedError(OVER_TIME, hint=OVER_TIME_HINT)
    if x.axis != len(x.shape) - 1 or any(size != 1 for size in matrix.shape[:-2]):
        raise UnsupportedError("multiplies from the left over features", hint="write x @ matrix.T over the last axis")
    flat = Const(matrix.tensor.reshape(matrix.shape[-2:]), matrix.name)
    return _linear(t, node, x, flat, None)


def _transposed(matrix: Const) -> Const:
    return Const(matrix.tensor.T, f"{matrix.name}.T")
