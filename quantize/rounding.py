"""Weights to integers: a step per row, plain or error-compensated rounding, 8 bits or 4 in groups.

Compensated rounding (GPTQ: Frantar et al. 2022) takes a row's columns in the order of their inputs' power and lets the
columns still to come make up for the error of each. Here the columns of x and h are taken jointly, with a step of
their own, and behind them stands a column of ones that is not rounded: the mean error goes into the bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from edgernn.program import Array

LIMIT, LIMIT4, STEPS4 = 127, 7, 18
_SPAN = 2.0**-16  # least ratio of a row's units: one half's errors may go into a bias in units of the other
_DAMPING = 1e-3  # of the mean power
_BLOCK = 64  # columns whose errors go to those behind the block in one product


@dataclass(frozen=True)
class Rounding:
    """How weights are rounded."""

    compensated: bool = True
    weight_type: str = "int8"
    per_tensor: bool = False
    group: int = 32  # columns that share a step of int4


@dataclass(frozen=True)
class Rows:
    """A rounded half: int8 `[rows, columns]`, what one unit of each row is worth, int4 steps `[rows, groups]`."""

    weight: Array
    unit: Array
    steps: Array | None


def round_rows(
    halves: Sequence[Array],
    floors: Sequence[Array],
    rounding: Rounding,
    moments: Array | None,
    factor: Array | None = None,
) -> tuple[list[Rows], Array]:
    """Round a matrix `[halves side by side]`; also gives what to add to the bias, `[rows]`.

    `halves` are `[rows, columns]` in float64; `floors` has the least unit of each half's rows `[rows]`; `moments` is
    E[u uᵀ] of what the columns are multiplied with and a 1 behind them, None for plain rounding; `factor` `[rows]`
    is the share of the last half that reaches the row's result (a GRU's reset gate stands before it), 1 by default.
    """
    units = [_units(half, floor, rounding) for half, floor in zip(halves, floors, strict=True)]
    coarsest = np.max(units, axis=0)
    grids = [
        _grid(half, np.maximum(unit, _SPAN * coarsest), rounding) for half, unit in zip(halves, units, strict=True)
    ]
    weight = np.concatenate(list(halves), axis=1)
    step = np.concatenate([grid.step for grid in grids], axis=1)
    limit = np.concatenate([np.full(half.shape[1], grid.limit) for grid, half in zip(grids, halves, strict=True)])
    if moments is None or not rounding.compensated:
        codes, shift = np.clip(np.rint(weight / step), -limit, limit), np.zeros(len(weight))
    else:
        share = np.ones_like(weight)
        if factor is not None:
            share[:, halves[0].shape[1] :] = np.maximum(factor, 1e-3)[:, None]
        codes, shift = _compensate(weight, step, limit, moments, share)
    starts = np.cumsum([0, *(half.shape[1] for half in halves)])
    rows = [grid.rows(codes[:, a:b]) for grid, (a, b) in zip(grids, pairwise(starts), strict=True)]
    return rows, shift


@dataclass(frozen=True)
class _Grid:
    """The values that a half's elements can take: codes up to `limit` times `step` `[rows, columns]`."""

    step: Array
    unit: Array
    limit: int
    steps: Array | None

    def rows(self, codes: Array) -> Rows:
        whole = codes if self.steps is None else codes * np.rint(self.step / self.unit[:, None])
        return Rows(whole.astype(np.int8), self.unit, self.steps)


def _units(half: Array, floors: Array, rounding: Rounding) -> Array:
    """What one unit of each row is worth."""
    largest = np.abs(half).max(1, initial=0.0)
    if rounding.per_tensor:
        largest = np.full_like(largest, largest.max(initial=0.0))
    limit = LIMIT if rounding.weight_type == "int8" else LIMIT4 * STEPS4
    return np.asarray(np.maximum(np.maximum(largest / limit, floors), 2.0**-60))


def _grid(half: Array, unit: Array, rounding: Rounding) -> _Grid:
    if rounding.weight_type == "int8":
        return _Grid(np.repeat(unit[:, None], half.shape[1], axis=1), unit, LIMIT, None)
    groups = -(-half.shape[1] // rounding.group)
    padded = np.zeros((len(half), groups * rounding.group))
    padded[:, : half.shape[1]] = half
    blocks = padded.reshape(len(half), groups, rounding.group) / unit[:, None, None]
    errors = []
    for step in range(1, STEPS4 + 1):
        codes = np.clip(np.rint(blocks / step), -LIMIT4, LIMIT4)
        errors.append(((codes * step - blocks) ** 2).sum(-1))
    steps = np.argmin(errors, axis=0) + 1
    wide = np.repeat(steps, rounding.group, axis=1)[:, : half.shape[1]]
    return _Grid(wide * unit[:, None], unit, LIMIT4, steps.astype(np.int8))


def _compensate(weight: Array, step: Array, limit: Array, moments: Array, share: Array) -> tuple[Array, Array]:
    columns = weight.shape[1]
    power = np.diag(moments)[:columns]
    order = np.append(np.argsort(-power, kind="stable"), columns)
    hessian = moments[np.ix_(order, order)].copy()
    damping = np.full(columns + 1, _DAMPING * power.mean() + 1e-12)
    damping[-1] = 1e-9
    hessian[np.diag_indices_from(hessian)] += damping
    inverse = np.linalg.inv(hessian)
    factor = np.linalg.cholesky((inverse + inverse.T) / 2).T  # upper: the inverse is factorᵀ factor
    w = np.concatenate([weight, np.zeros((len(weight), 1))], axis=1)[:, order]
    shares = np.concatenate([share, np.ones((len(weight), 1))], axis=1)[:, order]
    steps, limits = step[:, order[:-1]], limit[order[:-1]]
    codes = np.empty_like(steps)
    for start in range(0, columns, _BLOCK):
        end = min(start + _BLOCK, columns)
        errors = np.empty((len(w), end - start))
        for p in range(start, end):
            codes[:, p] = np.clip(np.rint(w[:, p] / steps[:, p]), -limits[p], limits[p])
            error = (w[:, p] - codes[:, p] * steps[:, p]) * shares[:, p] / factor[p, p]
            w[:, p + 1 : end] -= error[:, None] * factor[p, p + 1 : end] / shares[:, p + 1 : end]
            errors[:, p - start] = error
        w[:, end:] -= errors @ factor[start:end, end:] / shares[:, end:]  # what the block leaves to the columns behind
    result = np.empty_like(codes)
    result[:, order[:-1]] = codes
    return result, w[:, -1]
