"""Activations that are written in terms of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.rules import rule
from edgernn.export.symbols import Const, Timed

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator


class _Terms:
    """Writes a formula over one timed value as step operations."""

    def __init__(self, t: Translator, node: fx.Node, x: Timed) -> None:
        self.t, self.node = t, node
        self.x = t.settle(x)

    def unary(self, kind: str, x: str) -> str:
        return self.t.add(ops.Unary, self.t.name(self.node, kind), self.x.timing, x=x, kind=kind)

    def binary(self, kind: str, a: str | float, b: str | float) -> str:
        left, right = (item if isinstance(item, str) else self.t.number(item, "float32") for item in (a, b))
        return self.t.add(ops.Binary, self.t.name(self.node, kind), self.x.timing, a=left, b=right, kind=kind)

    def clip(self, x: str, low: float, high: float) -> str:
        return self.t.add(ops.Clip, self.t.name(self.node, "clip"), self.x.timing, x=x, low=low, high=high)

    def done(self, value: str) -> Timed:
        return self.t.result(self.node, value, self.x)


@rule("silu.default")
def silu(t: Translator, node: fx.Node, x: Timed) -> Timed:
    """x sigmoid(x)."""
    f = _Terms(t, node, x)
    return f.done(f.binary("mul", f.x.value, f.unary("sigmoid", f.x.value)))


@rule("gelu.default")
def gelu(t: Translator, node: fx.Node, x: Timed, approximate: str = "none") -> Timed:
    """Gaussian error linear unit, exact or by tanh (Hendrycks and Gimpel 2016)."""
    f = _Terms(t, node, x)
    if approximate == "none":
        return f.done(f.unary("gelu", f.x.value))
    cube = f.binary("mul", f.binary("mul", f.x.value, f.x.value), f.x.value)
    inner = f.binary("add", f.x.value, f.binary("mul", cube, 0.044715))
    curve = f.binary("add", f.unary("tanh", f.binary("mul", inner, 0.7978845608028654)), 1.0)
    return f.done(f.binary("mul", f.binary("mul", f.x.value, 0.5), curve))


@rule("leaky_relu.default")
def leaky_relu(t: Translator, node: fx.Node, x: Timed, slope: float = 0.01) -> Timed:
    """max(x, 0) + slope min(x, 0)."""
    f = _Terms(t, node, x)
    return f.done(f.binary("add", f.unary("relu", f.x.value), f.binary("mul", f.binary("min", f.x.value, 0.0), slope)))


@rule("elu.default")
def elu(
    t: Translator, node: fx.Node, x: Timed, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0
) -> Timed:
    """scale (max(x, 0) + alpha (exp(input_scale min(x, 0)) - 1))."""
    f = _Terms(t, node, x)
    low = f.binary("min", f.x.value, 0.0)
    low = low if input_scale == 1 else f.binary("mul", low, float(input_scale))
    below = f.binary("mul", f.binary("sub", f.unary("exp", low), 1.0), float(alpha))
    y = f.binary("add", f.unary("relu", f.x.value), below)
    return f.done(y if scale == 1 else f.binary("mul", y, float(scale)))


@rule("selu.default")
def selu(t: Translator, node: fx.Node, x: Timed) -> Timed:
    """Self-normalising ELU (Klambauer et al. 2017)."""
    return elu(t, node, x, 1.6732632423543772, 1.0507009873554805)


@rule("celu.default")
def celu(t: Translator, node: fx.Node, x: Timed, alpha: float = 1.0) -> Timed:
    """max(x, 0) + alpha (exp(min(x, 0) / alpha) - 1)."""
    return elu(t, node, x, alpha, 1.0, 1 / alpha)


@rule("mish.default")
def mish(t: Translator, node: fx.Node, x: Timed) -> Timed:
    """x tanh(softplus(x))."""
    f = _Terms(t, node, x)
    return f.done(f.binary("mul", f.x.value, f.unary("tanh", f.unary("softplus", f.x.value))))


@rule("log_sigmoid.default")
def log_sigmoid(t: Translator, node: fx.Node, x: Timed) -> Timed:
    """-softplus(-x)."""
    f = _Terms(t, node, x)
    return f.done(f.unary("neg", f.unary("softplus", f.unary("neg", f.x.value))))


@rule("softplus.default")
def softplus(t: Translator, node: fx.Node, x: Timed, beta: float = 1.0, threshold: float = 20.0) -> Timed:
    """log(1 + exp(beta x)) / beta; PyTorch's threshold only guards against overflow."""
    f = _Terms(t, node, x)
    if beta == 1:
        return f.done(f.unary("softplus", f.x.value))
    return f.done(f.binary("div", f.unary("softplus", f.binary("mul", f.x.value, float(beta))), float(beta)))


@rule("hardsigmoid.default")
def hardsigmoid(t: Translator, node: fx.Node, x: Timed) -> Timed:
    """clip(x / 6 + 1/2, 0, 1)."""
    f = _Terms(t, node, x)
    return f.done(f.clip(f.binary("add", f.binary("div", f.x.value, 6.0), 0.5), 0.0, 1.0))


@rule("hardswish.default")
def hardswish(t: Translator, node: fx.Node, x: Timed) -> Timed:
    """x clip(x + 3, 0, 6) / 6."""
    f = _Terms(t, node, x)
    gate = f.clip(f.binary("add", f.x.value, 3.0), 0.0, 6.0)
    return f.done(f.binary("div", f.binary("mul", f.x.value, gate), 6.0))


@rule("rsqrt.default")
def rsqrt(t: Translator, node: fx.Node, x: Timed) -> Timed:
    """1 / sqrt(x)."""
    f = _Terms(t, node, x)
    return f.done(f.unary("reciprocal", f.unary("sqrt", f.x.value)))


@rule("log2.default", "log10.default", "log1p.default", "exp2.default", "expm1.default")
def other_logarithms(t: Translator, node: fx.Node, x: Timed) -> Timed:
    """Logarithms to base 2 and 10, log(1 + x), 2 to the power of x, and exp(x) - 1."""
    f = _Terms(t, node, x)
    name = str(node.target).split(".")[1]
    if name == "exp2":
        return f.done(f.unary("exp", f.binary("mul", f.x.value, 0.6931471805599453)))
    if name == "expm1":
        return f.done(f.binary("sub", f.unary("exp", f.x.value), 1.0))
    if name == "log1p":
        return f.done(f.unary("log", f.binary("add", f.x.value, 1.0)))
    base = {"log2": 0.6931471805599453, "log10": 2.302585092994046}[name]
    return f.done(f.binary("div", f.unary("log", f.x.value), base))


@rule("prelu.default")
def prelu(t: Translator, node: fx.Node, x: Timed, weight: Const) -> Timed:
    """max(x, 0) + weight min(x, 0), one weight per channel (axis 1) or one for all."""
    f = _Terms(t, node, x)
    if f.x.axis == 1 and weight.tensor.numel() > 1:
        raise UnsupportedError("has a slope per frame: axis 1 is time", hint="put channels on axis 1")
    axis = f.x.dim(1) if weight.tensor.numel() > 1 else len(f.x.frame)
    slope = weight.tensor.reshape(-1, *[1] * (len(f.x.frame) - axis))
    below = f.binary("mul", f.binary("min", f.x.value, 0.0), t.constant(Const(slope, weight.name)))
    return f.done(f.binary("add", f.unary("relu", f.x.value), below))


@rule("glu.default")
def glu(t: Translator, node: fx.Node, x: Timed, dim: int = -1) -> Timed:
    """First half times the sigmoid of the second half of an axis."""
    f = _Terms(t, node, x)
    axis = f.x.dim(dim)
    if axis == 0:
        raise UnsupportedError("gates one half of the frames by the other", hint="take a feature axis: `dim=`")
    size = t.builder.shape(f.x.value)[axis]
    half = [
        t.add(ops.Slice, t.name(node, part), f.x.timing, x=f.x.value, axis=axis, start=start, end=start + size // 2)
        for part, start in (("value", 0), ("gate", size // 2))
    ]
    return f.done(f.binary("mul", half[0], f.unary("sigmoid", half[1])))
