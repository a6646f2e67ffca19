"""The integer recurrent layers, one step's frames spelled out, or the positions of each frame."""

from __future__ import annotations

import numpy as np

from edgernn import ops
from edgernn.export.to_tflite.builder import Builder
from edgernn.export.to_tflite.graph import Tensor
from edgernn.export.to_tflite.integer_products import bound_of, connected, exact_sums, scaled, sum_of_rows
from edgernn.export.to_tflite.integers import GATE, UNIT, activated
from edgernn.export.to_tflite.line import Line
from edgernn.export.to_tflite.rows import row
from edgernn.export.to_tflite.scales import as_narrow, as_wide, form_of, row_factors, shifted, unit_of
from edgernn.program import Array

_CELL_LIMIT = 2**30 - 1


class _Gates:
    """Both products of a recurrent layer and their way to int16 pre-activations in steps of `unit`."""

    def __init__(self, b: Builder, op: ops.QGRU | ops.QLSTM | ops.QRNN, unit: float, bias: Array, kept: Array) -> None:
        self.b, self.op, self.unit, self.line = b, op, unit, Line(b, op)
        self.weights, self.biases = (b.parameter(op.weight_ih), b.parameter(op.weight_hh)), (bias, kept)
        multipliers = b.parameter(op.multiplier_ih), b.parameter(op.multiplier_hh)
        self.reals = [item.astype(np.float64) * 2.0**-op.shift * unit for item in multipliers]
        x = self.line.rows
        self.narrow = op.h_dtype == "int8" and b.precision == "int8"  # h in its product
        self.exact = x.dtype == "int8" and self.narrow
        if self.exact:
            bounds = [bound_of(*half) for half in zip(self.weights, self.biases, strict=True)]
            self.step, self.factors = row_factors(self.reals, bounds)
        self.given = self._half(0, x, 0.0)
        self.rows: list[Tensor] = []

    def _half(self, half: int, x: Tensor, step: float) -> Tensor:
        weight, bias = self.weights[half], self.biases[half]
        if self.exact:
            return scaled(self.b, exact_sums(self.b, x, weight, bias), self.factors[half], self.step)
        if x.dtype == "int8":
            total = sum_of_rows(self.b, x, weight, bias, self.reals[half])
            return self.b.make("QUANTIZE", [total], total.shape, "int16", scale=self.unit)
        return connected(self.b, x, weight, bias, self.reals[half], "int16", self.unit, step)

    def start(self, state: str, dtype: str, scale: float, size: int) -> Tensor:
        """A layer's state to begin with: zeros over positions."""
        if state:
            return self.b.get(state)
        return self.b.graph.constant(np.zeros((self.line.batch, size), dtype), scale)

    def of(self, place: int) -> Tensor:
        """x's half of a place."""
        return self.line.at(self.given, place)

    def kept(self, h: Tensor) -> Tensor:
        """h's half, of a state that is int32 or int16; of zeros, with which positions begin, it is the bias."""
        if not self.op.h and not self.rows:
            factors, unit = (self.factors[1], self.step) if self.exact else (self.reals[1] / self.unit, self.unit)
            bias = np.rint(self.biases[1] * factors).astype("int32" if self.exact else "int16")
            return self.b.graph.constant(bias[None], unit)
        scale = 2.0 ** (getattr(self.op, "h_exponent", 0) - self.op.h_shift)
        if self.narrow:
            return self._half(1, self.b.make("QUANTIZE", [h], h.shape, "int8", scale=scale), 1.0)
        if h.dtype == "int32":
            h = self.b.make("QUANTIZE", [h], h.shape, "int16", scale=UNIT)
        return self._half(1, h, unit_of(h) / scale)

    def joined(self, *halves: Tensor) -> Tensor:
        """Their sum, or one half alone, rounded to int16."""
        total = halves[0] if len(halves) == 1 else self.b.binary("ADD", *halves, scale=halves[0].scale)
        return self.b.make("QUANTIZE", [total], total.shape, "int16", scale=self.unit) if self.exact else total

    def leave(self, *states: Tensor) -> None:
        """Put y, and the new states."""
        dtype, unit = form_of(self.b, self.op.y_dtype)
        scale = 2.0 ** (getattr(self.op, "h_exponent", 0) - self.op.y_shift)
        h = self.line.joined(self.rows)
        y = as_narrow(self.b, as_wide(self.b, h, unit_of(h) / scale), dtype, unit)
        self.line.leave(y, *states)


@row(ops.QGRU)
def qgru(b: Builder, op: ops.QGRU) -> None:
    """h' = h + (1 - z) (n - h) with h in int32: no dead zone."""
    size = b.parameter(op.weight_hh).shape[1]
    kept_bias = np.concatenate([np.zeros(2 * size, np.int32), b.parameter(op.bias_hh)])
    gates = _Gates(b, op, GATE, b.parameter(op.bias_ih), kept_bias)
    h = gates.start(op.h, "int32", 2.0**-30, size)
    for place in gates.line.places:
        given, kept = gates.of(place), gates.kept(h)
        rz = activated(b, gates.joined(*(b.slice(half, 1, 0, 2 * size) for half in (given, kept))), "sigmoid")
        r, z = b.split(rz, 2)
        n_given, n_kept = (gates.joined(b.slice(half, 1, 2 * size, 3 * size)) for half in (given, kept))
        n = activated(b, b.binary("ADD", n_given, b.binary("MUL", r, n_kept, scale=GATE), scale=GATE), "tanh")
        near = b.binary("FLOOR_DIV", h, b.constant(2**15, "int32"))
        step = b.binary(
            "MUL", b.binary("SUB", b.constant(2**15, "int32"), as_wide(b, z)), b.binary("SUB", as_wide(b, n), near)
        )
        h = b.binary("ADD", h, step, scale=h.scale)
        gates.rows.append(h)
    gates.leave(h)


@row(ops.QLSTM)
def qlstm(b: Builder, op: ops.QLSTM) -> None:
    """c' = c + (f - 1) c + i g in int32, limited and never wrapped."""
    weight = b.parameter(op.weight_hh)
    gates, size = _Gates(b, op, GATE, b.parameter(op.bias), np.zeros(len(weight), np.int32)), len(weight) // 4
    h = gates.start(op.h, "int16", 2.0 ** (op.h_exponent - 15), weight.shape[1])
    c = gates.start(op.c, "int32", 2.0 ** (op.cell_exponent - 30), size)
    for place in gates.line.places:
        total = gates.joined(gates.of(place), gates.kept(h))
        all_gates = activated(b, total, "sigmoid")
        i, f, o = (b.slice(all_gates, 1, gate * size, (gate + 1) * size) for gate in (0, 1, 3))
        g = activated(b, b.slice(total, 1, 2 * size, 3 * size), "tanh")
        entering = shifted(b, b.binary("MUL", as_wide(b, i), as_wide(b, g)), op.cell_exponent)
        near = as_wide(b, b.make("QUANTIZE", [c], c.shape, "int16", scale=2.0 ** (op.cell_exponent - 15)))
        leaving = b.binary("MUL", b.binary("SUB", as_wide(b, f), b.constant(2**15, "int32")), near)
        new = b.binary("ADD", b.binary("ADD", c, leaving), entering)
        new = b.binary("MAXIMUM", new, b.constant(-_CELL_LIMIT, "int32"))
        c = b.binary("MINIMUM", new, b.constant(_CELL_LIMIT, "int32"), scale=c.scale)
        squashed = activated(b, b.make("QUANTIZE", [c], c.shape, "int16", scale=GATE), "tanh")
        h = b.binary("MUL", o, squashed, scale=UNIT)
        if op.weight_hr:
            h = _projected(b, op, h)
        gates.rows.append(h)
    gates.leave(h, c)


def _projected(b: Builder, op: ops.QLSTM, m: Tensor) -> Tensor:
    """weight_hr m, of int16 or what is left of it in int8."""
    weight, out = b.parameter(op.weight_hr), 2.0 ** (op.h_exponent - 15)
    real = b.parameter(op.multiplier_hr).astype(np.float64) * 2.0**-op.shift * out
    if b.precision == "int16x8":
        return connected(b, m, weight, np.zeros(len(weight)), real, "int16", out, UNIT / 2.0**-7)
    m = b.make("QUANTIZE", [m], m.shape, "int8", scale=2.0**-7)
    total = sum_of_rows(b, m, weight, np.zeros(len(weight), np.int32), real)
    return b.make("QUANTIZE", [total], total.shape, "int16", scale=out)


@row(ops.QRNN)
def qrnn(b: Builder, op: ops.QRNN) -> None:
    """relu's sums are in h's units already."""
    h_unit, weight = 2.0 ** (op.h_exponent - 15), b.parameter(op.weight_hh)
    unit = GATE if op.kind == "tanh" else h_unit
    gates = _Gates(b, op, unit, b.parameter(op.bias), np.zeros(len(weight), np.int32))
    h = gates.start(op.h, "int16", h_unit, weight.shape[1])
    for place in gates.line.places:
        total = gates.joined(gates.of(place), gates.kept(h))
        h = activated(b, total, "tanh") if op.kind == "tanh" else _limited_below(b, total)
        gates.rows.append(h)
    gates.leave(h)


def _limited_below(b: Builder, x: Tensor) -> Tensor:
    """max(x, 0) of int16."""
    return b.make("MAXIMUM", [x, b.graph.constant(np.zeros((), np.int16), x.scale)], x.shape)
