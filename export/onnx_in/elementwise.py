"""Element by element: activations, arithmetic, comparisons."""

from __future__ import annotations

import math
from functools import reduce

import numpy as np

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.onnx_in.reader import DTYPES, Reader, known
from edgernn.export.onnx_in.registry import reads
from edgernn.export.onnx_in.symbols import Given, Known, Node, Symbol
from edgernn.export.to_onnx.writer import STANDARD_BINARY, STANDARD_UNARY

UNARY = {name: kind for kind, name in STANDARD_UNARY.items() if name != "Gelu"}
BINARY = {name: kind for kind, name in STANDARD_BINARY.items() if name not in ("Max", "Min", "Pow")}


def first(node: Node) -> Symbol:
    """The operand that every operation has."""
    return node.inputs[0]  # type: ignore[return-value]


@reads(*UNARY)
def unary(r: Reader, node: Node) -> Symbol:
    """One of ours."""
    return r.unary(UNARY[node.op_type], first(node))


@reads("Identity", "Dropout")
def same(r: Reader, node: Node) -> Symbol:
    """Nothing, at inference."""
    return first(node)


@reads("Cast", "CastLike")
def cast(r: Reader, node: Node) -> Symbol:
    """Another element type."""
    x, like = first(node), node.input(1)
    number = node.attributes.get("to", 0)
    dtype = like.dtype if like is not None else DTYPES.get(number)
    if dtype is None:
        raise UnsupportedError(f"casts to element type {number} of ONNX", hint="convert the model to float32")
    assert isinstance(x, Given)
    return x if x.dtype == dtype else r.moved(ops.Cast, x, dtype=dtype)


@reads(*BINARY)
def binary(r: Reader, node: Node) -> Symbol:
    """One of ours; integers divide towards zero in both."""
    a, b = node.inputs
    assert a is not None
    assert b is not None
    return r.binary(BINARY[node.op_type], a, b)


@reads("Pow")
def power(r: Reader, node: Node) -> Symbol:
    """Squares are products and halves are roots: they round less, and the engine has them for all."""
    base, exponent = node.inputs
    assert base is not None
    assert exponent is not None
    if isinstance(exponent, Known) and exponent.array.size == 1 and len(exponent.shape) <= len(base.shape):
        number = float(exponent.array.reshape(()))
        if number in (1, 2, 3):
            return reduce(lambda product, _: r.binary("mul", product, base), range(int(number) - 1), base)
        if number == 0.5:
            return r.unary("sqrt", base)
    if isinstance(exponent, Known) and base.dtype == "float32":
        exponent = Known(exponent.array.astype(np.float32))
    return r.binary("pow", base, exponent)


@reads("Max", "Min", "Sum", "Mean")
def variadic(r: Reader, node: Node) -> Symbol:
    """Any number of operands."""
    kind = {"Max": "max", "Min": "min"}.get(node.op_type, "add")
    parts = [item for item in node.inputs if item is not None]
    total = reduce(lambda a, b: r.binary(kind, a, b), parts)
    return r.binary("mul", total, r.number(1 / len(parts))) if node.op_type == "Mean" else total


@reads("Xor")
def xor(r: Reader, node: Node) -> Symbol:
    """a or b, and not both."""
    a, b = (item for item in node.inputs if item is not None)
    return r.binary("and", r.binary("or", a, b), r.unary("not", r.binary("and", a, b)))


@reads("Where")
def where(r: Reader, node: Node) -> Symbol:
    """One of ours."""
    condition, a, b = (item for item in node.inputs if item is not None)
    return r.where(condition, a, b)


@reads("Clip")
def clip(r: Reader, node: Node) -> Symbol:
    """Limits are attributes before opset 11, and operands from then on; each may be missing."""
    limits = []
    for index, (name, missing) in enumerate((("min", np.finfo("f").min), ("max", np.finfo("f").max)), start=1):
        operand = node.input(index)
        limits.append(float(known(operand, "limits")) if operand is not None else node.attributes.get(name, missing))
    return r.clip(first(node), *limits)


@reads("LeakyRelu")
def leaky_relu(r: Reader, node: Node) -> Symbol:
    """A slope below zero."""
    return sloped(r, first(node), r.number(node.attributes.get("alpha", 0.01)))


@reads("PRelu")
def prelu(r: Reader, node: Node) -> Symbol:
    """Slopes below zero; they broadcast to x's shape."""
    x, slope = node.inputs
    assert x is not None
    assert slope is not None
    return sloped(r, x, slope)


def sloped(r: Reader, x: Symbol, slope: Symbol) -> Symbol:
    """max(x, 0) + slope min(x, 0)."""
    below = r.binary("mul", r.binary("min", x, r.number(0)), slope)
    return r.binary("add", r.unary("relu", x), below)


@reads("ThresholdedRelu")
def thresholded_relu(r: Reader, node: Node) -> Symbol:
    """x beyond alpha, else 0."""
    x = first(node)
    return r.where(r.binary("greater", x, r.number(node.attributes.get("alpha", 1.0))), x, r.number(0))


@reads("Elu", "Celu", "Selu")
def elu(r: Reader, node: Node) -> Symbol:
    """gamma (max(x, 0) + alpha (exp(min(x, 0) / width) - 1)); the width is alpha in `Celu`, else 1."""
    selu = node.op_type == "Selu"
    alpha = node.attributes.get("alpha", 1.6732632 if selu else 1.0)
    x = first(node)
    low = r.binary("min", x, r.number(0))
    low = low if node.op_type != "Celu" else r.binary("div", low, r.number(alpha))
    below = r.binary("mul", r.binary("sub", r.unary("exp", low), r.number(1)), r.number(alpha))
    y = r.binary("add", r.unary("relu", x), below)
    return r.binary("mul", y, r.number(node.attributes.get("gamma", 1.0507009))) if selu else y


@reads("HardSigmoid")
def hard_sigmoid(r: Reader, node: Node) -> Symbol:
    """alpha x + beta within 0 and 1."""
    return hard(r, first(node), node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5))


def hard(r: Reader, x: Symbol, alpha: float, beta: float) -> Symbol:
    """alpha x + beta within 0 and 1."""
    return r.clip(r.binary("add", r.binary("mul", x, r.number(alpha)), r.number(beta)), 0, 1)


@reads("HardSwish")
def hard_swish(r: Reader, node: Node) -> Symbol:
    """x times a hard sigmoid of slope 1/6."""
    return r.binary("mul", first(node), hard(r, first(node), 1 / 6, 0.5))


@reads("Softsign")
def softsign(r: Reader, node: Node) -> Symbol:
    """x / (1 + |x|)."""
    return r.binary("div", first(node), r.binary("add", r.unary("abs", first(node)), r.number(1)))


@reads("Gelu")
def gelu(r: Reader, node: Node) -> Symbol:
    """Exact, or by tanh (Hendrycks and Gimpel 2016)."""
    x = first(node)
    if node.attributes.get("approximate", "none") == "none":
        return r.unary("gelu", x)
    cube = r.binary("mul", r.binary("mul", x, x), r.binary("mul", x, r.number(0.044715)))
    inner = r.binary("mul", r.binary("add", x, cube), r.number(math.sqrt(2 / math.pi)))
    return r.binary("mul", r.binary("mul", x, r.number(0.5)), r.binary("add", r.unary("tanh", inner), r.number(1)))


@reads("Mish")
def mish(r: Reader, node: Node) -> Symbol:
    """x tanh(softplus(x))."""
    return r.binary("mul", first(node), r.unary("tanh", r.unary("softplus", first(node))))
