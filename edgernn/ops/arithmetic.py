"""Element-wise operations. Operands broadcast as in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgernn.program import Array, Op, Operand, Type, broadcast, present

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


def _gelu(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + _erf(x / math.sqrt(2))))


UNARY: dict[str, Callable[[Array], Array]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "cos": np.cos,
    "erf": _erf,
    "exp": np.exp,
    "floor": np.floor,
    "gelu": _gelu,
    "log": np.log,
    "neg": np.negative,
    "not": np.logical_not,
    "reciprocal": np.reciprocal,
    "relu": lambda x: np.maximum(x, 0),
    "round": np.round,
    "sigmoid": _sigmoid,
    "sign": np.sign,
    "sin": np.sin,
    "softplus": lambda x: np.logaddexp(x, 0),
    "sqrt": np.sqrt,
    "tanh": np.tanh,
}

BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
    "pow": np.power,
    "sub": np.subtract,
    "equal": np.equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "and": np.logical_and,
    "or": np.logical_or,
}

COMPARISONS = frozenset({"equal", "greater", "greater_equal", "less", "less_equal"})


@dataclass(frozen=True, kw_only=True)
class Unary(Op):
    """`kind(x)` element by element."""

    x: Operand
    kind: str

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        return (present(operands[0]),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        x = present(operands[0])
        return (np.asarray(UNARY[self.kind](x)).astype(x.dtype),)


@dataclass(frozen=True, kw_only=True)
class Binary(Op):
    """`kind(a, b)` element by element; comparisons give bool."""

    a: Operand
    b: Operand
    kind: str

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        a, b = present(operands[0]), present(operands[1])
        return (Type("bool" if self.kind in COMPARISONS else a.dtype, broadcast(a, b)),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        a, b = present(operands[0]), present(operands[1])
        return (np.asarray(BINARY[self.kind](a, b)).astype("bool" if self.kind in COMPARISONS else a.dtype),)


@dataclass(frozen=True, kw_only=True)
class Clip(Op):
    """`x` limited to [low, high]."""

    x: Operand
    low: float
    high: float

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        return (present(operands[0]),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        x = present(operands[0])
        return (np.clip(x, self.low, self.high).astype(x.dtype),)


@dataclass(frozen=True, kw_only=True)
class Where(Op):
    """`a` where `condition` (bool), else `b`."""

    condition: Operand
    a: Operand
    b: Operand

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        condition, a, b = present(operands[0]), present(operands[1]), present(operands[2])
        return (Type(a.dtype, broadcast(condition, a, b)),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        return (np.where(present(operands[0]), present(operands[1]), present(operands[2])),)
