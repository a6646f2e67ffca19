"""The recurrent layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgernn import ops
from edgernn.errors import QuantizeError
from edgernn.program import Array
from edgernn.quantize.convert.converter import Converter, converts
from edgernn.quantize.convert.forms import Coded
from edgernn.quantize.convert.scales import GATE, row_multipliers, row_shift
from edgernn.quantize.convert.weights import bias_floor, integer_moments, store_bias, store_weight
from edgernn.quantize.reference.fixed import LIMITS, WORD
from edgernn.quantize.reference.recurrent import CELL_LIMIT
from edgernn.quantize.rounding import round_rows

Cell = ops.GRU | ops.LSTM | ops.RNN
_CELL_ROOM, _H_ROOM = 2.0, 1.5  # times the largest magnitude seen: states of a longer stream go further
_UNSEEN_CELL = 4.0
_LARGEST_EXPONENT = 18  # of a cell: tanh reads it in units of 2^-12


@converts(ops.GRU)
def gru(c: Converter, op: ops.GRU) -> None:
    """The reset gate stands between h's half of n and n: errors there count by its mean."""
    size = c.program.parameters[op.weight_hh].shape[1]
    layer, share = c.seen.layers.get(op.name), np.ones(3 * size)
    if layer is not None and layer.reset is not None:
        share[2 * size :] = layer.reset / max(1, layer.moments.frames)
    _carry(c, op, ("int32", 2.0**-30, 2**30 - 1))
    fields = _cell(c, op, 0, GATE, own=slice(2 * size, None), share=share)
    c.emit(ops.QGRU(**fields), op.outputs[0])


@converts(ops.LSTM)
def lstm(c: Converter, op: ops.LSTM) -> None:
    """The range of its cell is calibrated, that of a projected h too."""
    layer = c.seen.layers.get(op.name)
    largest = _CELL_ROOM * (layer.cell if layer is not None else _UNSEEN_CELL)
    cell_exponent = max(0, math.ceil(math.log2(max(largest, 1e-3))))
    if cell_exponent > _LARGEST_EXPONENT:
        raise QuantizeError(f"its cell goes to {largest:.3g}", place=op.name, hint=f"--exclude {op.name}")
    exponent = _range_exponent(c, op.outputs[0]) if op.weight_hr else 0
    _carry(c, op, ("int16", 2.0 ** (exponent - 15), WORD), ("int32", 2.0 ** (cell_exponent - 30), CELL_LIMIT))
    fields = _cell(c, op, exponent, GATE)
    if op.weight_hr:
        fields |= _projection(c, op, exponent, fields["shift"])
    c.emit(ops.QLSTM(**fields, c=op.c, cell_exponent=cell_exponent, h_exponent=exponent), op.outputs[0])


@converts(ops.RNN)
def rnn(c: Converter, op: ops.RNN) -> None:
    """A relu has no range of its own: h's is calibrated."""
    exponent = _range_exponent(c, op.outputs[0]) if op.kind == "relu" else 0
    _carry(c, op, ("int16", 2.0 ** (exponent - 15), WORD))
    fields = _cell(c, op, exponent, GATE if op.kind == "tanh" else 2.0 ** (exponent - 15))
    c.emit(ops.QRNN(**fields, kind=op.kind, h_exponent=exponent), op.outputs[0])


def _carry(c: Converter, op: Cell, *kinds: tuple[str, float, int]) -> None:
    """Element type, unit and limit of each state, before and behind a layer; one over positions has none."""
    if not op.h:
        return
    for field, new, (dtype, unit, limit) in zip(op.STATES, op.outputs[1:], kinds, strict=True):
        c.state(getattr(op, field), dtype, unit, limit)
        c.leave(new, Coded(c.next_state(new), dtype, unit))


def _cell(
    c: Converter, op: Cell, exponent: int, unit: float, own: slice = slice(0, 0), share: Array | None = None
) -> dict[str, Any]:
    """Fields that all recurrent layers share: both halves of weights, biases and multipliers.

    h is in units of 2^(exponent - shift), sums are scaled to `unit`. Rows of `own` keep the bias of h's half apart;
    `share` is `round_rows`' factor.
    """
    x = c.as_factor(op.x, c.demand.entering(op.name), centred=True)
    h_dtype = c.demand.entering(f"{op.name}.h")
    h_shift = _h_shift(c, op.outputs[0], h_dtype, exponent)
    w_x, w_h = c.weight(op.weight_ih), c.weight(op.weight_hh)
    x_scale, x_offset = (np.broadcast_to(np.asarray(item, np.float64), (w_x.shape[1],)) for item in (x.scale, x.offset))
    h_scale = np.full(w_h.shape[1], 2.0 ** (exponent - h_shift))
    b_x, b_h = (c.weight(name) if name else np.zeros(len(w_x)) for name in (op.bias_ih, op.bias_hh))
    kept_bias = np.zeros(len(w_x))
    kept_bias[own] = b_h[own]
    given_bias = b_x + w_x @ x_offset + b_h - kept_bias
    layer = c.seen.layers.get(op.name)
    moments = integer_moments(
        c,
        layer.moments if layer else None,
        np.concatenate([x_scale, h_scale]),
        np.concatenate([x_offset, np.zeros(len(h_scale))]),
    )
    (given, kept), change = round_rows(
        [w_x * x_scale, w_h * h_scale],
        [bias_floor(given_bias), bias_floor(kept_bias)],
        c.options.rounding,
        moments,
        share,
    )
    shift = row_shift(op, given.unit / unit, kept.unit / unit)
    y_dtype = c.demand.integer_dtype(op.outputs[0])
    y_shift = h_shift if y_dtype == h_dtype else _h_shift(c, op.outputs[0], y_dtype, exponent)
    y = Coded(f"{op.outputs[0]}.q", y_dtype, 2.0 ** (exponent - y_shift))
    c.leave(op.outputs[0], y)
    fields: dict[str, Any] = {
        "name": op.name,
        "outputs": (y.name, *map(c.next_state, op.outputs[1:])),
        "x": x.name,
        "h": op.h,
        "active": op.active,
        "reverse": op.reverse,
        "weight_ih": store_weight(c, f"{op.name}.weight_ih", given, w_x.shape, x_scale),
        "weight_hh": store_weight(c, f"{op.name}.weight_hh", kept, w_h.shape, h_scale),
        "shift": shift,
        "h_dtype": h_dtype,
        "h_shift": h_shift,
        "y_dtype": y_dtype,
        "y_shift": y_shift,
    }
    for half, rows in (("ih", given), ("hh", kept)):
        multipliers = row_multipliers(op, rows.unit / unit, shift)
        fields[f"multiplier_{half}"] = c.parameter(f"{op.name}.multiplier_{half}", multipliers)
    if share is None:
        return fields | {"bias": store_bias(c, op, "bias", given_bias + change, given.unit)}
    fields["bias_ih"] = store_bias(c, op, "bias_ih", given_bias + change, given.unit)
    fields["bias_hh"] = store_bias(c, op, "bias_hh", kept_bias[own], kept.unit[own])
    return fields


def _projection(c: Converter, op: ops.LSTM, exponent: int, shift: int) -> dict[str, str]:
    """weight_hr takes o tanh c as int8 of 2^-7; its sums share the layer's shift."""
    step = 2.0**-7
    weight = c.weight(op.weight_hr)
    layer = c.seen.layers.get(op.name)
    columns = np.full(weight.shape[1], step)
    moments = integer_moments(c, layer.projected if layer else None, columns, np.zeros(len(columns)))
    # columns of ones have no bias to go into
    (rows,), _ = round_rows([weight * step], [np.zeros(len(weight))], c.options.rounding, moments)
    multiplier = row_multipliers(op, rows.unit * 2.0 ** (15 - exponent), shift)
    return {
        "weight_hr": store_weight(c, f"{op.name}.weight_hr", rows, weight.shape, step),
        "multiplier_hr": c.parameter(f"{op.name}.multiplier_hr", multiplier),
    }


def _h_shift(c: Converter, y: str, dtype: str, exponent: int) -> int:
    """The power of two that loses least of h."""
    samples = c.seen_of(y).samples.reshape(-1) / 2.0**exponent
    limit = LIMITS[dtype]

    def loss(shift: int) -> float:
        step = 2.0**-shift
        return float(np.mean((np.clip(np.rint(samples / step), -limit, limit) * step - samples) ** 2))

    return min(range(7, 15) if dtype == "int8" else range(13, 15), key=loss)


def _range_exponent(c: Converter, name: str) -> int:
    """A power of two with room above what calibration saw."""
    return max(-8, math.ceil(math.log2(max(_H_ROOM * c.seen_of(name).largest(), 1e-3))))
