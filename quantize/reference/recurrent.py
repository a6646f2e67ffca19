"""The recurrent layers in integers: int16 gates, int32 state, no dead zone."""

from __future__ import annotations

import numpy as np

from edgernn import ops
from edgernn.program import Array
from edgernn.quantize.reference.fixed import WORD, activate, clamp, mulhrs, narrow, product, round_shift, word
from edgernn.quantize.reference.registry import reference

CELL_LIMIT = 2**30 - 1


def _joined(given: Array, kept: Array, shift: int) -> Array:
    """Gate pre-activations: both scaled sums rounded once."""
    return word(round_shift(given + kept, shift))


@reference(ops.QGRU)
def qgru(
    op: ops.QGRU,
    x: Array,
    h: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array,
    bias_hh: Array,
    multiplier_ih: Array,
    multiplier_hh: Array,
    active: Array | None,
) -> tuple[Array, ...]:
    """Reset after the product: the two halves of n are rounded apart, because r stands between them."""
    size = h.shape[-1]
    given = (product(x, weight_ih) + bias_ih) * multiplier_ih.astype(np.int64)
    weight, bias = weight_hh.astype(np.float64), np.concatenate([np.zeros(2 * size, np.int64), bias_hh])
    old, h, rows = h, h.astype(np.int64), []
    for frame in given:
        kept = (product(narrow(h >> 15, op.h_shift, op.h_dtype), weight) + bias) * multiplier_hh.astype(np.int64)
        r, z = np.split(activate(_joined(frame[:, : 2 * size], kept[:, : 2 * size], op.shift), "sigmoid"), 2, axis=-1)
        n_given = word(round_shift(frame[:, 2 * size :], op.shift))
        n_kept = word(round_shift(kept[:, 2 * size :], op.shift))
        n = activate(word(n_given + mulhrs(r, n_kept)), "tanh")
        h = h + (32768 - z) * (n - (h >> 15))
        rows.append(narrow(h >> 15, op.y_shift, op.y_dtype))
    return np.stack(rows), (h.astype(np.int32) if active is None or active else old)


@reference(ops.QLSTM)
def qlstm(
    op: ops.QLSTM,
    x: Array,
    h: Array,
    c: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array,
    multiplier_ih: Array,
    multiplier_hh: Array,
    weight_hr: Array | None,
    multiplier_hr: Array | None,
    active: Array | None,
) -> tuple[Array, ...]:
    """c is clamped, never wrapped; its tanh reads it rounded to units of 2^-12."""
    given = (product(x, weight_ih) + bias) * multiplier_ih.astype(np.int64)
    weight = weight_hh.astype(np.float64)
    old, h, c, rows = (h, c), h.astype(np.int64), c.astype(np.int64), []
    for frame in given:
        kept = product(narrow(h, op.h_shift, op.h_dtype), weight) * multiplier_hh.astype(np.int64)
        i, f, g, o = np.split(_joined(frame, kept, op.shift), 4, axis=-1)
        entering = round_shift(activate(i, "sigmoid") * activate(g, "tanh"), op.cell_exponent)
        leaving = (activate(f, "sigmoid") - 32768) * word(round_shift(c, 15))
        c = clamp(c + leaving + entering, -CELL_LIMIT, CELL_LIMIT)
        h = mulhrs(activate(o, "sigmoid"), activate(word(round_shift(c, 18 - op.cell_exponent)), "tanh"))
        if weight_hr is not None and multiplier_hr is not None:
            total = product(narrow(h, 7, "int8"), weight_hr) * multiplier_hr.astype(np.int64)
            h = clamp(round_shift(total, op.shift), -WORD, WORD)
        rows.append(narrow(h, op.y_shift, op.y_dtype))
    new = h.astype(np.int16), c.astype(np.int32)
    return np.stack(rows), *(new if active is None or active else old)


@reference(ops.QRNN)
def qrnn(
    op: ops.QRNN,
    x: Array,
    h: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array,
    multiplier_ih: Array,
    multiplier_hh: Array,
    active: Array | None,
) -> tuple[Array, ...]:
    """relu needs no table: its sums are scaled straight to h's units."""
    given = (product(x, weight_ih) + bias) * multiplier_ih.astype(np.int64)
    weight = weight_hh.astype(np.float64)
    old, h, rows = h, h.astype(np.int64), []
    for frame in given:
        kept = product(narrow(h, op.h_shift, op.h_dtype), weight) * multiplier_hh.astype(np.int64)
        total = _joined(frame, kept, op.shift)
        h = np.maximum(total, 0) if op.kind == "relu" else activate(total, "tanh")
        rows.append(narrow(h, op.y_shift, op.y_dtype))
    return np.stack(rows), (h.astype(np.int16) if active is None or active else old)
