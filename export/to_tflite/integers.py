"""The integer operations of a quantized file: near forms of their exact meaning (docs/int8.md) in TFLite's built-ins.

States are those of the quantized file, int32 where it has int32: an int8 state costs 17 dB. What is near and not exact:
sigmoid and tanh are TFLite's int16 tables, and the multipliers of rows (integer_products.py).

`int16x8` widens what is int8 between operations to int16 in steps of 1/256.
"""

from __future__ import annotations

from edgernn import ops
from edgernn.export.to_tflite.builder import Builder
from edgernn.export.to_tflite.graph import Tensor
from edgernn.export.to_tflite.rows import row
from edgernn.export.to_tflite.scales import as_narrow, as_wide, form_of, unit_of

GATE, UNIT = 2.0**-12, 2.0**-15  # of a gate's pre-activation, and of what sigmoid and tanh give


@row(ops.Quantize)
def quantize(b: Builder, op: ops.Quantize) -> None:
    """Offset and scale in float, then QUANTIZE into whole steps."""
    x = b.get(op.x)
    x = b.binary("SUB", x, b.get(op.offset)) if op.offset else x
    x = b.binary("MUL", x, b.get(op.inverse))
    if op.dtype == "int16":
        x = b.binary("MAXIMUM", b.binary("MINIMUM", x, b.constant(16319.0)), b.constant(-16319.0))
    dtype, unit = form_of(b, op.dtype)
    b.put(op.outputs[0], b.make("QUANTIZE", [x], x.shape, dtype, scale=unit))


@row(ops.Dequantize)
def dequantize(b: Builder, op: ops.Dequantize) -> None:
    """DEQUANTIZE, or a cast of wider integers, and the scale."""
    q = b.either(op.q)
    if q.dtype in ("int8", "int16"):
        real = b.binary("MUL", b.make("DEQUANTIZE", [q], q.shape, "float32"), b.constant(op.scale))
    else:
        real = _real(b, q, op.scale)
    b.put(op.outputs[0], real)


def _real(b: Builder, q: Tensor, scale: float) -> Tensor:
    """int32 or int64 in float."""
    return b.binary("MUL", b.cast(q, "float32"), b.constant(scale * unit_of(q)))


@row(ops.Rescale)
def rescale(b: Builder, op: ops.Rescale) -> None:
    """int32 taken for something of another scale, and rounded; int64 by way of float."""
    q, real = b.either(op.q), op.multiplier * 2.0**-op.shift
    wide = _real(b, q, real) if q.dtype == "int64" else as_wide(b, q, unit_of(q) * real)
    b.put(op.outputs[0], as_narrow(b, wide, *form_of(b, op.dtype), op.low, op.high))


@row(ops.QAdd)
def qadd(b: Builder, op: ops.QAdd) -> None:
    """A sum of int32 with 14-bit factors; sums of many frames, which are int32 or int64, by way of float."""
    sources = b.get(op.a), b.get(op.b)
    if not _short(*sources):
        reals = [m * 2.0**-op.shift for m in (op.multiplier_a, op.multiplier_b)]
        total = b.binary("ADD", *(_real(b, x, real) for x, real in zip(sources, reals, strict=True)))
        b.put(op.outputs[0], as_narrow(b, total, *form_of(b, op.dtype), op.low, op.high))
        return
    reals = [m * 2.0**-op.shift * unit_of(x) for x, m in zip(sources, (op.multiplier_a, op.multiplier_b), strict=True)]
    step = max(map(abs, reals)) / 2.0**14
    parts = [
        b.binary("MUL", as_wide(b, x), b.constant(round(real / step), "int32"))
        for x, real in zip(sources, reals, strict=True)
    ]
    total = b.binary("ADD", *parts, scale=step)
    b.put(op.outputs[0], as_narrow(b, total, *form_of(b, op.dtype), op.low, op.high))


@row(ops.QMul)
def qmul(b: Builder, op: ops.QMul) -> None:
    """An exact product in int32, or one in float as in a sum."""
    sources, real = (b.get(op.a), b.get(op.b)), op.multiplier * 2.0**-op.shift
    if _short(*sources):
        scale = real * unit_of(sources[0]) * unit_of(sources[1])
        product = b.binary("MUL", *(as_wide(b, x) for x in sources), scale=scale)
    else:
        product = b.binary("MUL", _real(b, sources[0], real), _real(b, sources[1], 1.0))
    b.put(op.outputs[0], as_narrow(b, product, *form_of(b, op.dtype), op.low, op.high))


def _short(*sources: Tensor) -> bool:
    """Whether products of these fit int32."""
    return all(x.dtype in ("int8", "int16") for x in sources)


@row(ops.QUnary)
def qunary(b: Builder, op: ops.QUnary) -> None:
    """LOGISTIC or TANH of int16, whose scales are what they are."""
    x = b.either(op.x)
    gate = as_narrow(b, as_wide(b, x, GATE), "int16", GATE)
    y = activated(b, gate, op.kind)
    b.put(op.outputs[0], as_narrow(b, as_wide(b, y, 1.0), "int16"))


def activated(b: Builder, gate: Tensor, kind: str) -> Tensor:
    """sigmoid or tanh of int16 in units of `GATE`; int16 in units of `UNIT`."""
    return b.make({"sigmoid": "LOGISTIC", "tanh": "TANH"}[kind], [gate], gate.shape, "int16", scale=UNIT)
