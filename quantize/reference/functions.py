"""exp, log, tanh and their kind out of float32 additions, products and quotients alone.

The polynomials and range reductions of exp, log, tanh, sin and cos are those of the Cephes library (S. Moshier), that
of erf is 7.1.26 of Abramowitz and Stegun. Each line is one rounding an operation, as `ieee` has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgernn.program import Array
from edgernn.quantize.reference.ieee import flush

_F = np.float32
_ONE, _HALF, _TWO = _F(1), _F(0.5), _F(2)

_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
_LOG: tuple[float, ...] = (
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
)
_LOG += (2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)
_TANH = (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
_SIN = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
_COS = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
_ERF = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
_LOG2E, _LN2_HIGH, _LN2_LOW = _F(1.44269504088896341), _F(0.693359375), _F(-2.12194440e-4)
_SQRT_HALF = _F(0.707106781186547524)


def _horner(x: Array, coefficients: Sequence[float]) -> Array:
    """The polynomial, its highest coefficient first."""
    total = np.full_like(x, _F(coefficients[0]))
    for coefficient in coefficients[1:]:
        total = flush(flush(total * x) + _F(coefficient))
    return total


def exp(x: Array) -> Array:
    """Relative error below 2e-7; 0 below -87.33, infinite above 88.72."""
    x = flush(x)
    inside = np.minimum(np.maximum(x, _F(-88)), _F(89))
    n = np.rint(flush(inside * _LOG2E))
    r = flush(flush(inside - flush(n * _LN2_HIGH)) - flush(n * _LN2_LOW))
    y = flush(flush(flush(_horner(r, _EXP) * flush(r * r)) + r) + _ONE)
    whole = np.nan_to_num(n).astype(np.int32)
    half = whole >> 1  # two steps: 2^128 is no float32
    y = np.ldexp(np.ldexp(y, half), whole - half)
    return flush(np.where(np.isnan(x), x, y))


def log(x: Array) -> Array:
    """Relative error below 2e-7; -inf at 0, NaN below."""
    x = flush(x)
    mantissa, exponent = np.frexp(np.where((x > 0) & np.isfinite(x), x, _ONE))
    low = mantissa < _SQRT_HALF
    e = np.where(low, exponent - 1, exponent).astype(np.float32)
    m = np.where(low, flush(flush(mantissa + mantissa) - _ONE), flush(mantissa - _ONE))
    z = flush(m * m)
    y = flush(flush(_horner(m, _LOG) * m) * z)
    y = flush(y + flush(_LN2_LOW * e))
    y = flush(flush(y - flush(_HALF * z)) + m)
    y = flush(y + flush(_LN2_HIGH * e))
    return np.where(x > 0, np.where(np.isinf(x), x, y), np.where(x == 0, _F(-np.inf), _F(np.nan)))


def tanh(x: Array) -> Array:
    """Error below 2e-7."""
    x = flush(x)
    z = flush(x * x)
    small = flush(flush(flush(_horner(z, _TANH) * z) * x) + x)
    size = np.abs(x)
    large = flush(_ONE - flush(_TWO / flush(exp(flush(size + size)) + _ONE)))
    return np.where(size < _F(0.625), small, np.copysign(large, x))


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    return flush(_ONE / flush(_ONE + exp(-flush(x))))


def softplus(x: Array) -> Array:
    """max(x, 0) + log(1 + exp(-|x|))."""
    x = flush(x)
    return flush(np.maximum(x, _F(0)) + log(flush(_ONE + exp(-np.abs(x)))))


def erf(x: Array) -> Array:
    """Error below 5e-7."""
    x = flush(x)
    size = np.abs(x)
    t = flush(_ONE / flush(_ONE + flush(_F(0.3275911) * size)))
    y = flush(_ONE - flush(flush(_horner(t, _ERF) * t) * exp(-flush(size * size))))
    return np.copysign(y, x)


def gelu(x: Array) -> Array:
    """0.5 x (1 + erf(x / sqrt 2))."""
    x = flush(x)
    return flush(flush(_HALF * x) * flush(_ONE + erf(flush(x * _SQRT_HALF))))


def _quadrant(x: Array, turn: int) -> Array:
    """sin of x plus `turn` right angles; reduced in float64."""
    wide = flush(x).astype(np.float64)
    n = np.rint(wide * (2 / np.pi))
    r = flush(wide - n * (np.pi / 2))
    z = flush(r * r)
    sine = flush(flush(flush(_horner(z, _SIN) * z) * r) + r)
    cosine = flush(flush(flush(flush(_horner(z, _COS) * z) * z) - flush(_HALF * z)) + _ONE)
    corner = (np.nan_to_num(np.fmod(n, 4)).astype(np.int64) + turn) & 3
    y = np.where(corner & 1, cosine, sine)
    return np.where(corner & 2, -y, y)


def sin(x: Array) -> Array:
    """Error below 2e-7 for |x| below 2^20."""
    return _quadrant(x, 0)


def cos(x: Array) -> Array:
    """As `sin`."""
    return _quadrant(x, 1)


def power(a: Array, b: Array) -> Array:
    """`a^b`: by products where b is a whole number up to 16, by a root where it is 0.5, else exp(b log a)."""
    a, b = np.broadcast_arrays(flush(a), flush(b))
    size = np.abs(b)
    whole = (size == np.rint(size)) & (size <= 16)
    product = np.ones_like(a)
    for count in range(1, 17):
        product = np.where(whole & (size >= count), flush(product * a), product)
    product = np.where(b < 0, flush(_ONE / product), product)
    general = np.where((a == 0) & (b > 0), _F(0), exp(flush(b * log(a))))
    return np.where(whole, product, np.where(b == _HALF, flush(np.sqrt(a)), general))


EXACT: dict[str, Callable[[Array], Array]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "cos": cos,
    "erf": erf,
    "exp": exp,
    "floor": np.floor,
    "gelu": gelu,
    "log": log,
    "neg": np.negative,
    "not": np.logical_not,
    "reciprocal": lambda x: flush(_ONE / flush(x)),
    "relu": lambda x: np.maximum(x, _F(0)),
    "round": np.rint,
    "sigmoid": sigmoid,
    "sign": np.sign,
    "sin": sin,
    "softplus": softplus,
    "sqrt": lambda x: flush(np.sqrt(flush(x))),
    "tanh": tanh,
}
