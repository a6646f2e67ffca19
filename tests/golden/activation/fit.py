"""How the coefficients in quantize/reference/tables.py were found: `python tests/golden/activation/fit.py` prints them.

A segment is 2048 inputs wide. Its cubic starts from the least-squares fit on Chebyshev nodes; then each integer
coefficient moves by one as long as that lowers the largest error, then the mean square, over all its inputs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

ONE = 32768
INPUTS = np.arange(16 * 2048)
FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "SIGMOID": lambda x: 1 / (1 + np.exp(-x)),
    "TANH": np.tanh,
}


def cubic(f: Array, c: tuple[int, ...]) -> Array:
    """The integer polynomial: f in units of 2^-15, c from the constant up."""
    total = np.full_like(f, c[3])
    for coefficient in (c[2], c[1], c[0]):
        total = coefficient + ((f * total + 2**14) >> 15)
    return np.minimum(total, ONE - 1)


def fit(values: Array) -> tuple[int, ...]:
    """Coefficients for one segment's wanted values, in units of 2^-15."""
    f = np.arange(-ONE, ONE, 32)
    nodes = np.polynomial.chebyshev.chebfit(f / ONE, values, 3)
    best = tuple(min(round(float(c)), ONE - 1) for c in np.polynomial.chebyshev.cheb2poly(nodes))

    def loss(c: tuple[int, ...]) -> tuple[float, float]:
        error = cubic(f, c) - values
        return float(np.abs(error).max()), float(np.mean(error**2))

    while True:
        moves = (
            tuple(a + b for a, b in zip(best, step, strict=True)) for step in itertools.product((-1, 0, 1), repeat=4)
        )
        found = min((c for c in moves if c[0] < ONE), key=loss)
        if loss(found) >= loss(best):
            return best
        best = found


def main() -> None:
    """Print both tables."""
    for name, function in FUNCTIONS.items():
        rows = [fit(ONE * function(INPUTS[i : i + 2048] / 4096)) for i in range(0, len(INPUTS), 2048)]
        print(f"{name} = (")
        for row in rows:
            print(f"    {row},")
        print(")")


if __name__ == "__main__":
    main()
