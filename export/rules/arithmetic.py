"""Element-wise operations with a step operation of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.rules import rule
from edgernn.export.rules.complex import binary as complex_binary
from edgernn.export.rules.complex import is_complex, magnitude
from edgernn.export.rules.complex import unary as complex_unary
from edgernn.export.rules.operands import Number, broadcast
from edgernn.export.symbols import Const, Timed

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator

UNARY = {
    "abs": "abs",
    "ceil": "ceil",
    "cos": "cos",
    "erf": "erf",
    "exp": "exp",
    "floor": "floor",
    "log": "log",
    "bitwise_not": "not",
    "logical_not": "not",
    "neg": "neg",
    "reciprocal": "reciprocal",
    "relu": "relu",
    "round": "round",
    "sigmoid": "sigmoid",
    "sign": "sign",
    "sin": "sin",
    "sqrt": "sqrt",
    "tanh": "tanh",
}
BINARY = {
    "__and__": "and",
    "__or__": "or",
    "bitwise_and": "and",
    "bitwise_or": "or",
    "div": "div",
    "eq": "equal",
    "ge": "greater_equal",
    "gt": "greater",
    "le": "less_equal",
    "logical_and": "and",
    "logical_or": "or",
    "lt": "less",
    "maximum": "max",
    "minimum": "min",
    "mul": "mul",
}
# which have no overload for numbers, or none that a graph holds
_OF_TENSORS = dict.fromkeys(("logical_and", "logical_or", "maximum", "minimum"), ("default",))
_OF_TENSORS |= dict.fromkeys(("__and__", "__or__", "bitwise_and", "bitwise_or"), ("Tensor",))
Operand = Timed | Const | Number


def unary(t: Translator, node: fx.Node, x: Timed, kind: str, suffix: str = "") -> str:
    """Add `kind(x)`."""
    return t.add(ops.Unary, t.name(node, suffix), x.timing, x=x.value, kind=kind)


def binary(t: Translator, node: fx.Node, kind: str, a: Operand, b: Operand) -> Timed:
    """The symbol of a node that is `kind(a, b)`."""
    (left, right), like = broadcast(t, node, (a, b))
    value = t.add(ops.Binary, t.name(node), like.timing, a=left, b=right, kind=kind)
    return t.result(node, value, like)


def _unary_rule(kind: str) -> Callable[..., Timed]:
    def apply(t: Translator, node: fx.Node, x: Timed) -> Timed:
        x = t.settle(x)
        if kind == "not":
            x = _truth(t, node, x)
        if x.complex:
            return complex_unary(t, node, kind, x)
        return t.result(node, unary(t, node, x, kind), x)

    return apply


def _binary_rule(kind: str) -> Callable[..., Timed]:
    def apply(t: Translator, node: fx.Node, a: Operand, b: Operand) -> Timed:
        if is_complex(a) or is_complex(b):
            return complex_binary(t, node, kind, a, b)
        if kind in ("and", "or"):
            return binary(t, node, kind, *(_truth(t, node, item) for item in (a, b)))
        if kind == "mul" and node.meta["val"].dtype == torch.bool:
            return binary(t, node, "and", a, b)
        return binary(t, node, kind, *promote(t, node, a, b))

    return apply


def _truth(t: Translator, node: fx.Node, item: Any) -> Any:
    """An operand of a logical operation, which is true where it is not zero; bits of integers have no rule."""
    if not isinstance(item, (Timed, Const)):
        return bool(item)
    if not str(node.target).startswith("aten.logical") and _dtype(t, item) != "bool":
        raise UnsupportedError("works on the bits of integers", hint="compute with bool or float values")
    return cast(t, node, item, "bool")


@rule("ne.Tensor", "ne.Scalar")
def differs(t: Translator, node: fx.Node, a: Operand, b: Operand) -> Timed:
    """Not equal."""
    same = binary(t, node, "equal", *promote(t, node, a, b))
    return t.result(node, unary(t, node, same, "not", "not"), same)


def promote(t: Translator, node: fx.Node, *operands: Operand) -> list[Operand]:
    """Operands brought to one element type, as PyTorch promotes them."""
    kinds = [item for item in operands if isinstance(item, (Timed, Const))]
    dtypes = {_dtype(t, item) for item in kinds}
    fractional = any(isinstance(item, float) for item in operands) or node_is_float(node)
    if dtypes == {"float32"} or (len(dtypes) == 1 and not fractional):
        return list(operands)
    target = "float32" if fractional or "float32" in dtypes else "int64"
    return [cast(t, node, item, target) if isinstance(item, (Timed, Const)) else item for item in operands]


def node_is_float(node: fx.Node) -> bool:
    """Whether PyTorch's result is a float."""
    return bool(node.meta["val"].is_floating_point())


def cast(t: Translator, node: fx.Node, item: Timed | Const, dtype: str) -> Timed | Const:
    """The operand converted to `dtype`."""
    if isinstance(item, Const):
        return Const(item.tensor.to(getattr(torch, dtype)), f"{item.name}.{dtype}")
    if t.builder.dtype(item.value) == dtype:
        return item
    item = t.settle(item)
    value = t.add(ops.Cast, t.name(node, "cast"), item.timing, x=item.value, dtype=dtype)
    return Timed(value, item.shape, item.axis, item.timing, free=item.free)


def _dtype(t: Translator, item: Timed | Const) -> str:
    if isinstance(item, Timed):
        return t.builder.dtype(item.value)
    return str(item.tensor.dtype).removeprefix("torch.")


for _name, _kind in UNARY.items():
    if _name != "abs":
        rule(f"{_name}.default", complex=_kind in ("cos", "sin", "exp", "neg"))(_unary_rule(_kind))
for _name, _kind in BINARY.items():
    for _overload in _OF_TENSORS.get(_name, ("Tensor", "Scalar")):
        rule(f"{_name}.{_overload}", complex=_kind in ("mul", "div"))(_binary_rule(_kind))


@rule("add.Tensor", "add.Scalar", complex=True)
def add(t: Translator, node: fx.Node, a: Operand, b: Operand, alpha: Number = 1) -> Timed:
    """a + alpha b."""
    return _weighted(t, node, a, b, alpha, "add")


@rule("sub.Tensor", "sub.Scalar", complex=True)
def sub(t: Translator, node: fx.Node, a: Operand, b: Operand, alpha: Number = 1) -> Timed:
    """a - alpha b."""
    return _weighted(t, node, a, b, alpha, "sub")


@rule("rsub.Scalar", "rsub.Tensor")
def rsub(t: Translator, node: fx.Node, a: Operand, b: Operand, alpha: Number = 1) -> Timed:
    """b - alpha a."""
    return _weighted(t, node, b, a, alpha, "sub")


def _weighted(t: Translator, node: fx.Node, a: Operand, b: Operand, alpha: Number, kind: str) -> Timed:
    if alpha != 1:
        raise UnsupportedError(f"`alpha={alpha}`", hint="multiply the operand itself")
    if is_complex(a) or is_complex(b):
        return complex_binary(t, node, kind, a, b)
    return binary(t, node, kind, *promote(t, node, a, b))


@rule("abs.default", complex=True)
def absolute(t: Translator, node: fx.Node, x: Timed) -> Timed:
    """Absolute value; of a complex value the root of its power."""
    x = t.settle(x)
    if not x.complex:
        return t.result(node, unary(t, node, x, "abs"), x)
    return t.result(node, magnitude(t, node, x), replace(x, complex=False))


@rule("pow.Tensor_Scalar")
def power(t: Translator, node: fx.Node, x: Timed, exponent: Number) -> Timed:
    """x to a constant power; squares are products, and the square of a root is what the root was taken of."""
    x = t.settle(x)
    if exponent == 2:
        root = t.builder.producer(x.value)
        if isinstance(root, ops.Unary) and root.kind == "sqrt":
            return t.result(node, root.x, x)
        return t.result(node, t.add(ops.Binary, t.name(node), x.timing, a=x.value, b=x.value, kind="mul"), x)
    if exponent == 0.5:
        return t.result(node, unary(t, node, x, "sqrt"), x)
    return binary(t, node, "pow", x, exponent)


@rule("pow.Scalar", "pow.Tensor_Tensor")
def power_of(t: Translator, node: fx.Node, base: Operand, exponent: Operand) -> Timed:
    """A power with a changing exponent."""
    return binary(t, node, "pow", *promote(t, node, base, exponent))


@rule("square.default")
def square(t: Translator, node: fx.Node, x: Timed) -> Timed:
    """x squared."""
    return power(t, node, x, 2)


@rule("max.other", "min.other")
def extreme_of_two(t: Translator, node: fx.Node, a: Operand, b: Operand) -> Timed:
    """The larger or smaller of two values."""
    return binary(t, node, str(node.target).split(".")[1], *promote(t, node, a, b))


@rule("relu6.default")
def relu6(t: Translator, node: fx.Node, x: Timed) -> Timed:
    """x limited to [0, 6]."""
    return clamp(t, node, x, 0, 6)


@rule("clamp.default", "hardtanh.default")
def clamp(t: Translator, node: fx.Node, x: Timed, low: Number | None = None, high: Number | None = None) -> Timed:
    """x limited to [low, high]."""
    x = t.settle(x)
    if node.target.__name__.startswith("hardtanh"):  # type: ignore[union-attr]
        low, high = -1 if low is None else low, 1 if high is None else high
    if low is None or high is None:
        kind, bound = ("min", high) if low is None else ("max", low)
        assert bound is not None
        return binary(t, node, kind, x, bound)
    value = t.add(ops.Clip, t.name(node), x.timing, x=x.value, low=float(low), high=float(high))
    return t.result(node, value, x)


@rule("clamp.Tensor")
def clamp_between(
    t: Translator, node: fx.Node, x: Timed, low: Timed | Const | None = None, high: Timed | Const | None = None
) -> Timed:
    """x limited by other values."""
    for kind, bound in (("max", low), ("min", high)):
        if bound is not None:
            x = binary(t, node, kind, *promote(t, node, x, bound))
    return x


@rule("clamp_min.default")
def clamp_min(t: Translator, node: fx.Node, x: Timed, low: Number) -> Timed:
    """x, at least `low`."""
    return binary(t, node, "max", x, low)


@rule("clamp_max.default")
def clamp_max(t: Translator, node: fx.Node, x: Timed, high: Number) -> Timed:
    """x, at most `high`."""
    return binary(t, node, "min", x, high)


@rule("where.self", "where.ScalarOther", "where.ScalarSelf")
def where(t: Translator, node: fx.Node, condition: Timed | Const, a: Operand, b: Operand) -> Timed:
    """a where the condition holds, else b."""
    (test, left, right), like = broadcast(t, node, (condition, a, b), dtype=_result_dtype(node))
    return t.result(node, t.add(ops.Where, t.name(node), like.timing, condition=test, a=left, b=right), like)


@rule("masked_fill.Scalar")
def masked_fill(t: Translator, node: fx.Node, x: Timed, condition: Timed | Const, value: Number) -> Timed:
    """`value` where the condition holds, else x."""
    return where(t, node, condition, value, x)


@rule("_to_copy.default", "to.device", "to.dtype", "to.dtype_layout", "type_as.default")
def to_dtype(t: Translator, node: fx.Node, x: Timed, *_: Any, **__: Any) -> Timed | Const:
    """x as another element type."""
    return cast(t, node, x, _result_dtype(node))


def _result_dtype(node: fx.Node) -> str:
    return str(node.meta["val"].dtype).removeprefix("torch.")
