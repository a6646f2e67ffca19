"""Linear layers and convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgernn import ops
from edgernn.program import Array, volume
from edgernn.quantize.convert.converter import Converter, converts
from edgernn.quantize.convert.forms import Coded
from edgernn.quantize.convert.scales import GATE, row_multipliers, row_shift
from edgernn.quantize.convert.weights import bias_floor, integer_moments, store_bias, store_weight
from edgernn.quantize.reference.fixed import LIMITS, WORD
from edgernn.quantize.rounding import round_rows

Product = ops.Linear | ops.Conv1d | ops.Conv2d


@converts(ops.Linear)
def linear(c: Converter, op: ops.Linear) -> None:
    """The offset of its input goes into its bias."""
    code = c.as_factor(op.x, c.demand.entering(op.name), centred=True)
    width = c.program.parameters[op.weight].shape[1]
    scale, offset = (np.broadcast_to(np.asarray(item, np.float64), (width,)) for item in (code.scale, code.offset))
    fields = _product(c, op, scale, offset)
    c.emit(ops.QLinear(name=op.name, x=code.name, **fields), op.outputs[0])


@converts(ops.Conv1d)
def conv1d(c: Converter, op: ops.Conv1d) -> None:
    """Its columns are `[in, taps]`; without groups each input channel has a step of its own."""
    code = c.as_window(op.window, c.demand.entering(op.name))
    inputs, taps = c.program.parameters[op.weight].shape[1:]
    scale = np.repeat(np.broadcast_to(np.asarray(code.scale, np.float64), (inputs,)), taps)
    fields = _product(c, op, scale, np.zeros(inputs * taps))
    sizes = {key: getattr(op, key) for key in ("count", "first", "stride", "dilation", "groups")}
    c.emit(ops.QConv1d(name=op.name, window=code.name, **sizes, **fields), op.outputs[0])


@converts(ops.Conv2d)
def conv2d(c: Converter, op: ops.Conv2d) -> None:
    """One step for all of its window, whose features are positions too."""
    code = c.as_window(op.window, c.demand.entering(op.name), plain=True)
    scale = np.full(volume(c.program.parameters[op.weight].shape[1:]), float(code.scale))
    fields = _product(c, op, scale, np.zeros(len(scale)))
    sizes = {key: getattr(op, key) for key in op.attribute_fields()}
    c.emit(ops.QConv2d(name=op.name, window=code.name, **sizes, **fields), op.outputs[0])


def _product(c: Converter, op: Product, scale: Array, offset: Array) -> dict[str, Any]:
    """What `QLinear`, `QConv1d` and `QConv2d` share, for an input of `scale` and `offset` by column."""
    weight = c.weight(op.weight)
    flat = weight.reshape(len(weight), -1)
    bias = (c.weight(op.bias) if op.bias else np.zeros(len(flat))) + flat @ offset
    layer = c.seen.layers.get(op.name)
    moments = integer_moments(c, layer.moments if layer else None, scale, offset)
    (rows,), change = round_rows([flat * scale], [bias_floor(bias)], c.options.rounding, moments)
    fields: dict[str, Any] = {
        "weight": store_weight(c, f"{op.name}.weight", rows, weight.shape, scale),
        "bias": store_bias(c, op, "bias", bias + change, rows.unit),
    }
    return fields | _requantized(c, op, rows.unit)


def _requantized(c: Converter, op: Product, units: Array) -> dict[str, Any]:
    """How sums in `units` leave, with the relu or gate that follows."""
    result, follower = op.outputs[0], c.demand.follower(op)
    if follower is None and c.demand.dtype(result) == "float32":
        c.leave_float(result)
        multiplier = c.parameter(f"{op.name}.multiplier", units.astype(np.float32))
        return {"multiplier": multiplier, "dtype": "float32", "outputs": (result,)}
    if follower is None:
        dtype = c.demand.dtype(result)
        scale, low, high = c.scale_of(result, dtype), -LIMITS[dtype], LIMITS[dtype]
    elif follower.kind == "relu":
        after = follower.outputs[0]
        dtype = c.demand.integer_dtype(after)
        scale, low, high = c.scale_of(after if after in c.seen.values else result, dtype), 0, LIMITS[dtype]
    else:
        dtype, scale, low, high = "int16", GATE, -WORD - 1, WORD
    shift = row_shift(op, units / scale)
    multiplier = c.parameter(f"{op.name}.multiplier", row_multipliers(op, units / scale, shift))
    made = Coded(f"{result}.q", dtype, scale)
    c.leave(result, made)
    return {
        "multiplier": multiplier,
        "dtype": dtype,
        "outputs": (made.name,),
        "shift": shift,
        "low": low,
        "high": high,
    }
