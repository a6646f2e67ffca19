"""The integer operations of a quantized file: near forms of their exact meaning (docs/int8.md) in TFLite's built-ins.

Sums of int8 products are exact int32 (BATCH_MATMUL into int32 is the one built-in that gives them), both halves of a
gate are rounded once, and states are those of the quantized file, int32 where it has int32: an int8 state costs 17 dB.
What is near and not exact: the multipliers of rows keep about 10 bits, and sigmoid and tanh are TFLite's int16 tables.

`int16x8` widens what is int8 between operations to int16 in steps of 1/256; products are then FULLY_CONNECTED of int16
with int8 weights into int16.

An integer tensor's scale is in units of the Program's integer: 1, or 1/256 where it was widened.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgernn import ops
from edgernn.export.to_tflite.builder import Builder
from edgernn.export.to_tflite.graph import Tensor
from edgernn.export.to_tflite.rows import row
from edgernn.export.to_tflite.time import taken
from edgernn.program import Array, volume

GATE, UNIT = 2.0**-12, 2.0**-15  # of a gate's pre-activation, and of what sigmoid and tanh give
_LIMITS = {"int8": (-128, 127), "int16": (-32768, 32767)}
_CELL_LIMIT = 2**30 - 1
_ROOM = 2.0**30  # what int32 sums are kept below


# --- between scales ------------------------------------------------------------------------------------------


def _unit(x: Tensor) -> float:
    """What one step of an integer tensor is in the Program's units."""
    return 1.0 if x.scale is None else x.scale


def _wide(b: Builder, x: Tensor, unit: float | None = None) -> Tensor:
    """As int32, whose scale is taken to be `unit`."""
    return b.make("CAST", [x], x.shape, "int32", schema.CastOptionsT(), scale=_unit(x) if unit is None else unit)


def _form(b: Builder, dtype: str) -> tuple[str, float]:
    """Element type and unit in which this precision keeps the Program's integers."""
    return ("int16", 1 / 256) if b.precision == "int16x8" and dtype == "int8" else (dtype, 1.0)


def _narrow(
    b: Builder, x: Tensor, dtype: str, unit: float = 1.0, low: int | None = None, high: int | None = None
) -> Tensor:
    """int32 rounded to the steps and limits of `dtype`, and to those given in steps of it."""
    y = b.make("QUANTIZE", [x], x.shape, dtype, scale=unit)
    return _limited(b, y, low, high)


def _limited(b: Builder, x: Tensor, low: int | None, high: int | None) -> Tensor:
    """Limits in the Program's units, where they are narrower than the element type's."""
    least, most = _LIMITS[x.dtype]
    for kind, limit, edge in (("MAXIMUM", low, least + 1), ("MINIMUM", high, most)):
        whole = None if limit is None else round(limit / _unit(x))
        if whole is not None and abs(whole) < abs(edge):
            x = b.make(kind, [x, b.graph.constant(np.asarray(whole, x.dtype), x.scale)], x.shape)
    return x


def _rows(reals: Sequence[Array], bounds: Sequence[Array]) -> tuple[float, list[Array]]:
    """Integer multipliers for int32 sums of several parts, and the unit of their total.

    `reals` are a row's factors, `bounds` the largest magnitudes of its sums; the total stays below `_ROOM`.
    """
    largest = np.sum([np.abs(real) * bound for real, bound in zip(reals, bounds, strict=True)], axis=0)
    unit = max(float(largest.max()), 1e-30) / _ROOM * 1.001
    return unit, [np.maximum(np.rint(real / unit), np.sign(real)).astype(np.int32) for real in reals]


# --- products ------------------------------------------------------------------------------------------------


def _sums(b: Builder, x: Tensor, weight: Array, bias: Array) -> Tensor:
    """int8 x `[rows, in]` times weightᵀ, plus bias, as exact int32."""
    options = schema.BatchMatMulOptionsT()
    options.adjY = True
    shape, matrix = (x.shape[0], len(weight)), b.graph.constant(weight, 1.0)
    product = b.make("BATCH_MATMUL", [x, matrix], shape, "int32", options, scale=1.0, at_least=(2, "2.14.0"))
    return b.binary("ADD", product, b.constant(bias, "int32")) if bias.any() else product


def _connected(
    b: Builder, x: Tensor, weight: Array, bias: Array, real: Array, dtype: str, unit: float, step: float = 0.0
) -> Tensor:
    """FULLY_CONNECTED into `dtype` in steps of `unit`.

    One of the Program's x is `real[i]` in row i's result; one step of the tensor x is `step` of the Program's.
    """
    assert x.scale is not None
    step = step or x.scale
    scales = np.maximum(real, 1e-30) * step / x.scale
    whole = np.rint(bias / step).astype("int64" if x.dtype == "int16" else "int32")
    inputs = [x, b.graph.constant(weight, scales), b.graph.constant(whole, scales * x.scale)]
    shape = (x.shape[0], len(weight))
    return b.make("FULLY_CONNECTED", inputs, shape, dtype, schema.FullyConnectedOptionsT(), scale=unit)


def _requantized(
    b: Builder, op: ops.QLinear | ops.QConv1d, x: Tensor, weight: Array, bias: Array, multiplier: Array
) -> Tensor:
    """`clamp((x weightᵀ + bias) * multiplier)` as the operation says."""
    if x.dtype == "int8" and op.dtype == "float32":
        total = _sums(b, x, weight, bias)
        return b.binary("MUL", b.cast(total, "float32"), b.constant(multiplier))
    if op.dtype == "float32":
        bound = 32768 * _unit(x) * np.abs(weight.astype(np.int64)).sum(1) + np.abs(bias.astype(np.float64))
        fine = float((bound * multiplier).max()) / 32767
        y = _connected(b, x, weight, bias, multiplier.astype(np.float64), "int16", fine)
        return b.make("DEQUANTIZE", [y], y.shape, "float32")
    real = multiplier.astype(np.float64) * 2.0**-op.shift
    dtype, unit = _form(b, op.dtype)
    if x.dtype == dtype:
        return _limited(b, _connected(b, x, weight, bias, real, dtype, unit), op.low, op.high)
    if x.dtype == "int8":
        return _narrow(b, _sum_of_rows(b, x, weight, bias, real), dtype, unit, op.low, op.high)
    return _narrow(b, _connected(b, x, weight, bias, real, "int16", 1 / 256), dtype, unit, op.low, op.high)


def _scaled(b: Builder, total: Tensor, factors: Array, unit: float) -> Tensor:
    """int32 sums times a factor a row."""
    return b.binary("MUL", total, b.constant(factors, "int32"), scale=unit)


def _sum_of_rows(b: Builder, x: Tensor, weight: Array, bias: Array, real: Array) -> Tensor:
    """int8 x weightᵀ + bias, each row times its factor, in int32."""
    unit, (factors,) = _rows([real], [_bound(weight, bias)])
    return _scaled(b, _sums(b, x, weight, bias), factors, unit)


@row(ops.QLinear)
def qlinear(b: Builder, op: ops.QLinear) -> None:
    """All leading axes as rows."""
    weight = b.parameter(op.weight)
    x = b.get(op.x, (volume(b.shape(op.x)[:-1]), weight.shape[1]))
    b.put(op.outputs[0], _requantized(b, op, x, weight, b.parameter(op.bias), b.parameter(op.multiplier)))


@row(ops.QConv1d)
def qconv1d(b: Builder, op: ops.QConv1d) -> None:
    """A product over the taps; groups are blocks of one matrix."""
    weight = b.parameter(op.weight)
    out, inputs, taps = weight.shape
    matrix = np.zeros((out, taps, op.groups * inputs), np.int8)
    for group in range(op.groups):
        rows = slice(group * out // op.groups, (group + 1) * out // op.groups)
        matrix[rows, :, group * inputs : (group + 1) * inputs] = weight[rows].transpose(0, 2, 1)
    x = taken(b, op, taps)
    y = _requantized(b, op, x, matrix.reshape(out, -1), b.parameter(op.bias), b.parameter(op.multiplier))
    b.put(op.outputs[0], y)


# --- borders and element-wise --------------------------------------------------------------------------------


@row(ops.Quantize)
def quantize(b: Builder, op: ops.Quantize) -> None:
    """Offset and scale in float, then QUANTIZE into whole steps."""
    x = b.get(op.x)
    x = b.binary("SUB", x, b.get(op.offset)) if op.offset else x
    x = b.binary("MUL", x, b.get(op.inverse))
    if op.dtype == "int16":
        x = b.binary("MAXIMUM", b.binary("MINIMUM", x, b.constant(16319.0)), b.constant(-16319.0))
    dtype, unit = _form(b, op.dtype)
    b.put(op.outputs[0], b.make("QUANTIZE", [x], x.shape, dtype, scale=unit))


@row(ops.Dequantize)
def dequantize(b: Builder, op: ops.Dequantize) -> None:
    """DEQUANTIZE, or a cast of wider integers, and the scale."""
    q = b.either(op.q)
    narrow = q.dtype in ("int8", "int16")
    real = b.make("DEQUANTIZE", [q], q.shape, "float32") if narrow else b.cast(q, "float32")
    b.put(op.outputs[0], b.binary("MUL", real, b.constant(op.scale)))


@row(ops.Rescale)
def rescale(b: Builder, op: ops.Rescale) -> None:
    """int32 taken for something of another scale, and rounded."""
    q = b.either(op.q)
    dtype, unit = _form(b, op.dtype)
    wide = _wide(b, q, _unit(q) * op.multiplier * 2.0**-op.shift)
    b.put(op.outputs[0], _narrow(b, wide, dtype, unit, op.low, op.high))


@row(ops.QAdd)
def qadd(b: Builder, op: ops.QAdd) -> None:
    """A sum of int32 with 14-bit factors."""
    sources = b.get(op.a), b.get(op.b)
    reals = [m * 2.0**-op.shift * _unit(x) for x, m in zip(sources, (op.multiplier_a, op.multiplier_b), strict=True)]
    step = max(map(abs, reals)) / 2.0**14
    parts = [
        b.binary("MUL", _wide(b, x), b.constant(round(real / step), "int32"))
        for x, real in zip(sources, reals, strict=True)
    ]
    dtype, unit = _form(b, op.dtype)
    b.put(op.outputs[0], _narrow(b, b.binary("ADD", *parts, scale=step), dtype, unit, op.low, op.high))


@row(ops.QMul)
def qmul(b: Builder, op: ops.QMul) -> None:
    """An exact product in int32."""
    sources = b.get(op.a), b.get(op.b)
    real = op.multiplier * 2.0**-op.shift * _unit(sources[0]) * _unit(sources[1])
    product = b.binary("MUL", *(_wide(b, x) for x in sources), scale=real)
    dtype, unit = _form(b, op.dtype)
    b.put(op.outputs[0], _narrow(b, product, dtype, unit, op.low, op.high))


@row(ops.QUnary)
def qunary(b: Builder, op: ops.QUnary) -> None:
    """LOGISTIC or TANH of int16, whose scales are what they are."""
    x = b.either(op.x)
    gate = _narrow(b, _wide(b, x, GATE), "int16", GATE)
    y = _activated(b, gate, op.kind)
    b.put(op.outputs[0], _narrow(b, _wide(b, y, 1.0), "int16"))


def _activated(b: Builder, gate: Tensor, kind: str) -> Tensor:
    """sigmoid or tanh of int16 in units of `GATE`; int16 in units of `UNIT`."""
    return b.make({"sigmoid": "LOGISTIC", "tanh": "TANH"}[kind], [gate], gate.shape, "int16", scale=UNIT)


# --- recurrent layers ----------------------------------------------------------------------------------------


class _Gates:
    """Both products of a recurrent layer and their way to int16 pre-activations in steps of `unit`."""

    def __init__(self, b: Builder, op: ops.QGRU | ops.QLSTM | ops.QRNN, unit: float, bias: Array, kept: Array) -> None:
        self.b, self.op, self.unit = b, op, unit
        self.frames, self.batch, width = b.shape(op.x)
        self.weights, self.biases = (b.parameter(op.weight_ih), b.parameter(op.weight_hh)), (bias, kept)
        multipliers = b.parameter(op.multiplier_ih), b.parameter(op.multiplier_hh)
        self.reals = [item.astype(np.float64) * 2.0**-op.shift * unit for item in multipliers]
        x = b.get(op.x, (self.frames * self.batch, width))
        self.narrow = op.h_dtype == "int8" and b.precision == "int8"  # h in its product
        self.exact = x.dtype == "int8" and self.narrow
        if self.exact:
            bounds = [_bound(*half) for half in zip(self.weights, self.biases, strict=True)]
            self.step, self.factors = _rows(self.reals, bounds)
        self.given = self._half(0, x, 0.0)
        self.rows: list[Tensor] = []

    def _half(self, half: int, x: Tensor, step: float) -> Tensor:
        weight, bias = self.weights[half], self.biases[half]
        if self.exact:
            return _scaled(self.b, _sums(self.b, x, weight, bias), self.factors[half], self.step)
        if x.dtype == "int8":
            total = _sum_of_rows(self.b, x, weight, bias, self.reals[half])
            return self.b.make("QUANTIZE", [total], total.shape, "int16", scale=self.unit)
        return _connected(self.b, x, weight, bias, self.reals[half], "int16", self.unit, step)

    def of(self, frame: int) -> Tensor:
        """x's half of a frame."""
        return self.b.slice(self.given, 0, frame * self.batch, (frame + 1) * self.batch)

    def kept(self, h: Tensor) -> Tensor:
        """h's half, of a state that is int32 or int16."""
        scale = 2.0 ** (getattr(self.op, "h_exponent", 0) - self.op.h_shift)
        if self.narrow:
            return self._half(1, self.b.make("QUANTIZE", [h], h.shape, "int8", scale=scale), 1.0)
        if h.dtype == "int32":
            h = self.b.make("QUANTIZE", [h], h.shape, "int16", scale=UNIT)
        return self._half(1, h, _unit(h) / scale)

    def joined(self, *halves: Tensor) -> Tensor:
        """Their sum, or one half alone, rounded to int16."""
        total = halves[0] if len(halves) == 1 else self.b.binary("ADD", *halves, scale=halves[0].scale)
        return self.b.make("QUANTIZE", [total], total.shape, "int16", scale=self.unit) if self.exact else total

    def leave(self, h: Tensor) -> None:
        """Keep a frame of y."""
        dtype, unit = _form(self.b, self.op.y_dtype)
        scale = 2.0 ** (getattr(self.op, "h_exponent", 0) - self.op.y_shift)
        self.rows.append(_narrow(self.b, _wide(self.b, h, _unit(h) / scale), dtype, unit))

    def end(self, *states: tuple[str, Tensor, str]) -> None:
        """Put y, and the new states: result's name, tensor, old state's name."""
        self.b.put(self.op.outputs[0], self.b.concat(self.rows, 0))
        for name, new, old in states:
            self.b.put(name, self.b.held(self.op.active, new, self.b.get(old)))


def _bound(weight: Array, bias: Array) -> Array:
    """The largest magnitude of each sum of int8."""
    return np.asarray(128.0 * np.abs(weight.astype(np.int64)).sum(1) + np.abs(bias.astype(np.float64)))


def _shifted(b: Builder, x: Tensor, bits: int) -> Tensor:
    """int32 divided by a power of two, rounded half up."""
    if bits == 0:
        return x
    x = b.binary("ADD", x, b.constant(2 ** (bits - 1), "int32"))
    return b.binary("FLOOR_DIV", x, b.constant(2**bits, "int32"))


@row(ops.QGRU)
def qgru(b: Builder, op: ops.QGRU) -> None:
    """h' = h + (1 - z) (n - h) with h in int32: no dead zone."""
    size = b.shape(op.h)[-1]
    kept_bias = np.concatenate([np.zeros(2 * size, np.int32), b.parameter(op.bias_hh)])
    gates = _Gates(b, op, GATE, b.parameter(op.bias_ih), kept_bias)
    h = b.get(op.h)
    for frame in range(gates.frames):
        given, kept = gates.of(frame), gates.kept(h)
        rz = _activated(b, gates.joined(*(b.slice(half, 1, 0, 2 * size) for half in (given, kept))), "sigmoid")
        r, z = b.split(rz, 2)
        n_given, n_kept = (gates.joined(b.slice(half, 1, 2 * size, 3 * size)) for half in (given, kept))
        n = _activated(b, b.binary("ADD", n_given, b.binary("MUL", r, n_kept, scale=GATE), scale=GATE), "tanh")
        near = b.binary("FLOOR_DIV", h, b.constant(2**15, "int32"))
        step = b.binary(
            "MUL", b.binary("SUB", b.constant(2**15, "int32"), _wide(b, z)), b.binary("SUB", _wide(b, n), near)
        )
        h = b.binary("ADD", h, step, scale=h.scale)
        gates.leave(h)
    gates.end((op.outputs[1], h, op.h))


@row(ops.QLSTM)
def qlstm(b: Builder, op: ops.QLSTM) -> None:
    """c' = c + (f - 1) c + i g in int32, limited and never wrapped."""
    gates = _Gates(b, op, GATE, b.parameter(op.bias), np.zeros(len(b.parameter(op.weight_hh)), np.int32))
    size, h, c = b.shape(op.c)[-1], b.get(op.h), b.get(op.c)
    for frame in range(gates.frames):
        total = gates.joined(gates.of(frame), gates.kept(h))
        all_gates = _activated(b, total, "sigmoid")
        i, f, o = (b.slice(all_gates, 1, gate * size, (gate + 1) * size) for gate in (0, 1, 3))
        g = _activated(b, b.slice(total, 1, 2 * size, 3 * size), "tanh")
        entering = _shifted(b, b.binary("MUL", _wide(b, i), _wide(b, g)), op.cell_exponent)
        near = _wide(b, b.make("QUANTIZE", [c], c.shape, "int16", scale=2.0 ** (op.cell_exponent - 15)))
        leaving = b.binary("MUL", b.binary("SUB", _wide(b, f), b.constant(2**15, "int32")), near)
        new = b.binary("ADD", b.binary("ADD", c, leaving), entering)
        new = b.binary("MAXIMUM", new, b.constant(-_CELL_LIMIT, "int32"))
        c = b.binary("MINIMUM", new, b.constant(_CELL_LIMIT, "int32"), scale=c.scale)
        squashed = _activated(b, b.make("QUANTIZE", [c], c.shape, "int16", scale=GATE), "tanh")
        h = b.binary("MUL", o, squashed, scale=UNIT)
        if op.weight_hr:
            h = _projected(b, op, h)
        gates.leave(h)
    gates.end((op.outputs[1], h, op.h), (op.outputs[2], c, op.c))


def _projected(b: Builder, op: ops.QLSTM, m: Tensor) -> Tensor:
    """weight_hr m, of int16 or what is left of it in int8."""
    weight, out = b.parameter(op.weight_hr), 2.0 ** (op.h_exponent - 15)
    real = b.parameter(op.multiplier_hr).astype(np.float64) * 2.0**-op.shift * out
    if b.precision == "int16x8":
        return _connected(b, m, weight, np.zeros(len(weight)), real, "int16", out, UNIT / 2.0**-7)
    m = b.make("QUANTIZE", [m], m.shape, "int8", scale=2.0**-7)
    total = _sum_of_rows(b, m, weight, np.zeros(len(weight), np.int32), real)
    return b.make("QUANTIZE", [total], total.shape, "int16", scale=out)


@row(ops.QRNN)
def qrnn(b: Builder, op: ops.QRNN) -> None:
    """relu's sums are in h's units already."""
    unit = GATE if op.kind == "tanh" else 2.0 ** (op.h_exponent - 15)
    gates = _Gates(b, op, unit, b.parameter(op.bias), np.zeros(len(b.parameter(op.weight_hh)), np.int32))
    h = b.get(op.h)
    for frame in range(gates.frames):
        total = gates.joined(gates.of(frame), gates.kept(h))
        h = _activated(b, total, "tanh") if op.kind == "tanh" else _limited_below(b, total)
        gates.leave(h)
    gates.end((op.outputs[1], h, op.h))


def _limited_below(b: Builder, x: Tensor) -> Tensor:
    """max(x, 0) of int16."""
    return b.make("MAXIMUM", [x, b.graph.constant(np.zeros((), np.int16), x.scale)], x.shape)
