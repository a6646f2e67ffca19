"""Operations on integers: weights in panels of 16 rows, as the engine's products read them."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgernn import ops
from edgernn.export.to_ernn.builder import Builder
from edgernn.export.to_ernn.cells import GATES, Run
from edgernn.export.to_ernn.format import NONE
from edgernn.export.to_ernn.islands import columns, give_images, lanes, parameter, patches
from edgernn.export.to_ernn.rows import row
from edgernn.program import Array, volume
from edgernn.quantize.reference import LIMITS

PANEL = 16
_MOST = 1 << 31


def panels(weight: Array, gates: int) -> Array:
    """`[gates * size, in]` as `[panel][in / 4][gate][16][4]`, zeros where rows or columns end inside."""
    size, width = len(weight) // gates, weight.shape[1]
    padded = np.zeros((gates, lanes(size), lanes(width)), np.int8)
    padded[:, :size, :width] = weight.reshape(gates, size, width)
    blocks = padded.reshape(gates, lanes(size) // PANEL, PANEL, lanes(width) // 4, 4)
    return np.ascontiguousarray(blocks.transpose(1, 3, 0, 2, 4))


def by_panel(values: Array, gates: int) -> Array:
    """One number a row `[gates * size]` as `[panel][gate][16]`."""
    size = len(values) // gates
    padded = np.zeros((gates, lanes(size)), values.dtype)
    padded[:, :size] = values.reshape(gates, size)
    return np.ascontiguousarray(padded.reshape(gates, -1, PANEL).transpose(1, 0, 2))


def _reach(weight: Array, dtype: str, bias: Array) -> Array:
    """Largest size of each row's sum."""
    rows = np.abs(weight.reshape(len(weight), -1).astype(np.int64)).sum(axis=1)
    return np.asarray(rows * LIMITS[dtype] + np.abs(bias.astype(np.int64)))


@row(ops.Quantize)
def quantize(b: Builder, op: ops.Quantize) -> None:
    """With one scale, or one a feature."""
    shape, inverse = b.type(op.x).shape, b.type(op.inverse).shape
    each = int(volume(inverse) > 1)
    inner = volume(inverse) if each else volume(shape)
    ins = (b.value(op.x), b.value(op.inverse), b.value(op.offset))
    b.node("quantize", ins, (b.result(op.outputs[0]),), volume(shape) // inner, inner, each)


@row(ops.Dequantize)
def dequantize(b: Builder, op: ops.Dequantize) -> None:
    """One product."""
    b.node("dequantize", (b.value(op.q),), (b.result(op.outputs[0]),), float(op.scale))


@row(ops.Rescale)
def rescale(b: Builder, op: ops.Rescale) -> None:
    """One product and one rounding."""
    b.node("rescale", (b.value(op.q),), (b.result(op.outputs[0]),), op.multiplier, op.shift, op.low, op.high)


def _qlinear(b: Builder, op: Any, x: int, dtype: str, weight: Array, attributes: tuple[int, ...], y: int) -> None:
    """weight `[groups * out, in]`, y the value of the result."""
    groups = attributes[1]
    bias, multiplier = parameter(b, op.bias), parameter(b, op.multiplier)
    reach = _reach(weight, dtype, bias)
    wide = bool((reach >= _MOST).any())
    if op.dtype != "float32":
        wide |= bool((reach.astype(float) * np.abs(multiplier.astype(float)) / 2**op.shift >= _MOST).any())
    parts = [
        np.concatenate([part.reshape(-1) for part in pieces])
        for pieces in (
            [panels(w, 1) for w in np.split(weight, groups)],
            [by_panel(v, 1) for v in np.split(bias.astype(np.int32), groups)],
            [by_panel(v, 1) for v in np.split(multiplier, groups)],
        )
    ]
    ins = (x, *(b.constant(part) for part in parts))
    limits = (op.shift, op.low, op.high, int(wide))
    b.node("qlinear", ins, (y,), *attributes, *limits)


@row(ops.QLinear)
def qlinear(b: Builder, op: ops.QLinear) -> None:
    """All frames' rows."""
    x, weight = b.type(op.x), parameter(b, op.weight)
    attributes = (volume(x.shape[:-1]), 1, x.shape[-1], len(weight), x.shape[-1], 0)
    _qlinear(b, op, b.value(op.x), x.dtype, weight, attributes, b.result(op.outputs[0]))


@row(ops.QConv1d)
def qconv1d(b: Builder, op: ops.QConv1d) -> None:
    """A matrix product a frame. Integer sums have no order: a window whose frames lie together is read in place."""
    weight, window = parameter(b, op.weight), b.type(op.window)
    taps, (_, batch, features) = weight.shape[2], window.shape
    if batch == 1 and op.groups == 1 and op.dilation == 1:
        flat = weight.transpose(0, 2, 1).reshape(len(weight), -1)
        attributes: tuple[int, ...]
        attributes = (op.count, 1, taps * features, len(weight), op.stride * features, op.first * features)
        _qlinear(b, op, b.value(op.window), window.dtype, flat, attributes, b.result(op.outputs[0]))
        return
    x, attributes = columns(b, op, window.dtype, taps)
    _qlinear(b, op, x, window.dtype, weight.reshape(len(weight), -1), attributes, b.result(op.outputs[0]))


@row(ops.QConv2d)
def qconv2d(b: Builder, op: ops.QConv2d) -> None:
    """A matrix product a patch."""
    weight, dtype = parameter(b, op.weight), b.type(op.window).dtype
    x, attributes = patches(b, op, dtype)
    y = b.new(op.dtype, volume(b.type(op.outputs[0]).shape))
    _qlinear(b, op, x, dtype, weight.reshape(len(weight), -1), attributes, y)
    give_images(b, op, y)


@row(ops.QUnary)
def qunary(b: Builder, op: ops.QUnary) -> None:
    """By the table."""
    b.node("qunary", (b.value(op.x),), (b.result(op.outputs[0]),), ("sigmoid", "tanh").index(op.kind))


@row(ops.QAdd)
def qadd(b: Builder, op: ops.QAdd) -> None:
    """Broadcast."""
    spread = b.spread(b.type(op.outputs[0]).shape, b.type(op.a).shape, b.type(op.b).shape)
    attributes = (op.multiplier_a, op.multiplier_b, op.shift, op.low, op.high)
    b.node("qadd", (b.value(op.a), b.value(op.b)), (b.result(op.outputs[0]),), *spread, *attributes)


@row(ops.QMul)
def qmul(b: Builder, op: ops.QMul) -> None:
    """Broadcast."""
    spread = b.spread(b.type(op.outputs[0]).shape, b.type(op.a).shape, b.type(op.b).shape)
    attributes = (op.multiplier, op.shift, op.low, op.high)
    b.node("qmul", (b.value(op.a), b.value(op.b)), (b.result(op.outputs[0]),), *spread, *attributes)


def _cell(b: Builder, op: Any, biases: tuple[Array, Array], rest: list[int]) -> None:
    """x, states, weights, biases, multipliers, what else there is."""
    run, x_dtype = Run(b, op), b.type(op.x).dtype
    gates = GATES[run.kind.removeprefix("q")]
    weights = [parameter(b, name) for name in (op.weight_ih, op.weight_hh)]
    multipliers = [parameter(b, name) for name in (op.multiplier_ih, op.multiplier_hh)]
    reaches = [_reach(*row) for row in zip(weights, (x_dtype, op.h_dtype), biases, strict=True)]
    scaled = sum(r.astype(float) * np.abs(m.astype(float)) for r, m in zip(reaches, multipliers, strict=True))
    wide = any((reach >= _MOST).any() for reach in reaches) or bool((scaled / 2**op.shift >= _MOST).any())
    constants = [panels(weight, gates) for weight in weights]
    constants += [by_panel(values.astype(np.int32), gates) for values in (*biases, *multipliers)]
    kind = ("tanh", "relu").index(getattr(op, "kind", "tanh"))
    more = (op.y_shift, int(op.h_dtype == "int16"), int(wide))
    operands = (*(b.constant(array) for array in constants), *rest)
    run.node(operands, kind, op.shift, getattr(op, "cell_exponent", 0), op.h_shift, *more)


@row(ops.QGRU)
def qgru(b: Builder, op: ops.QGRU) -> None:
    """The recurrent bias is that of n alone."""
    kept = parameter(b, op.bias_hh)
    biases = parameter(b, op.bias_ih), np.concatenate([np.zeros(2 * len(kept), np.int32), kept])
    _cell(b, op, biases, [b.value(op.active)])


@row(ops.QLSTM)
def qlstm(b: Builder, op: ops.QLSTM) -> None:
    """With the projection, where there is one."""
    bias = parameter(b, op.bias)
    projection = [NONE, NONE]
    if op.weight_hr:
        multiplier = parameter(b, op.multiplier_hr)
        projection = [b.constant(panels(parameter(b, op.weight_hr), 1)), b.constant(by_panel(multiplier, 1))]
    _cell(b, op, (bias, np.zeros_like(bias)), [*projection, b.value(op.active)])


@row(ops.QRNN)
def qrnn(b: Builder, op: ops.QRNN) -> None:
    """tanh or relu."""
    bias = parameter(b, op.bias)
    _cell(b, op, (bias, np.zeros_like(bias)), [b.value(op.active)])
