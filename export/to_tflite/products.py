"""Products with constant weights, float or hybrid.

In a hybrid product weights are int8, and the runtime quantizes the input as it comes. FULLY_CONNECTED with one scale
for a weight is what every runtime computes, but it costs up to 6 dB against a scale for each row. So rows are stretched
to one scale, and what they were stretched by is multiplied behind the product: 20 ns, and the accuracy of row scales.
With `per_channel` the rows' scales stand in the file instead: runtimes before 2.17 took such a file and computed
garbage in silence, so it is tagged with the version that they refuse.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgernn.export.to_tflite.builder import Builder
from edgernn.export.to_tflite.graph import Tensor
from edgernn.program import Array

_HYBRID, _PER_CHANNEL = (9, "2.3.0"), (12, "2.17.0")  # 9: inputs quantized with a zero-point
_LEAST = 1024  # elements of a layer's weights that are worth int8
_ALIKE = 1.25  # weights whose largest elements differ by less than this factor share a scale


def in_int8(b: Builder, *weights: Array) -> bool:
    """Whether the weights of one layer are to be int8."""
    return b.precision == "hybrid8" and sum(weight.size for weight in weights) >= _LEAST


def product(b: Builder, x: Tensor, weight: Array, bias: Array | None = None, int8: bool | None = None) -> Tensor:
    """x weightᵀ + bias: x float32 `[rows, in]`, weight `[out, in]`, bias `[out]`; `int8` where the layer decided it."""
    bias = np.zeros(len(weight), np.float32) if bias is None else bias
    if not (in_int8(b, weight) if int8 is None else int8):
        return _connected(b, x, b.graph.constant(weight), bias, None)
    if b.per_channel:
        scales = np.maximum(np.abs(weight).max(1), 1e-30) / 127
        return _connected(b, x, b.graph.constant(whole_rows(weight, scales), scales), bias, _PER_CHANNEL)
    (whole,), (scale,), stretch = _stretched(weight)
    y = _connected(b, x, b.graph.constant(whole, scale), (bias / stretch).astype(np.float32), _HYBRID)
    return b.binary("MUL", y, b.constant(stretch))


def sum_of_products(b: Builder, parts: tuple[Tensor, Tensor], weights: tuple[Array, Array], bias: Array) -> Tensor:
    """Two int8 products added, of `[batch, in]` each: the inputs side by side before one product.

    A product spends 30 % on starting its rows, so one is faster than two (in float it is not). Each part keeps its
    weight's scale, by a factor on the first one's input.
    """
    x, h = parts
    (first, second), scales, stretch = _stretched(*weights)
    if scales[0] != scales[1]:
        x = b.binary("MUL", x, b.constant(scales[0] / scales[1]))
    matrix = b.graph.constant(np.concatenate([first, second], axis=1), scales[1])
    y = _connected(b, b.concat([x, h], 1), matrix, (bias / stretch).astype(np.float32), _HYBRID)
    return b.binary("MUL", y, b.constant(stretch))


def related_products(
    b: Builder, parts: tuple[Tensor, Tensor], weights: tuple[Array, Array], biases: tuple[Array, Array]
) -> tuple[Tensor, Tensor, Array]:
    """Two int8 products whose rows are stretched alike, and what is left to multiply their combination by."""
    whole, scales, stretch = _stretched(*weights)
    first, second = (
        _connected(b, x, b.graph.constant(matrix, scale), (bias / stretch).astype(np.float32), _HYBRID)
        for x, matrix, scale, bias in zip(parts, whole, scales, biases, strict=True)
    )
    return first, second, stretch


def _stretched(*weights: Array) -> tuple[list[Array], list[float], Array]:
    """int8 weights, a scale for each, and what their rows, alike in all, were stretched by."""
    largest = [np.maximum(np.abs(weight).max(1), 1e-30) for weight in weights]  # of each row
    most = [float(rows.max()) for rows in largest]
    if max(most) < _ALIKE * min(most):
        most = [max(most)] * len(most)
    stretch = np.max([rows / item for rows, item in zip(largest, most, strict=True)], axis=0).astype(np.float32)
    whole = [whole_rows(weight, stretch * (item / 127)) for weight, item in zip(weights, most, strict=True)]
    return whole, [item / 127 for item in most], stretch


def whole_rows(weight: Array, scale: Array) -> Array:
    """int8 in steps of `scale` by row."""
    return np.asarray(np.rint(weight / scale[:, None]).astype(np.int8))


def _connected(b: Builder, x: Tensor, matrix: Tensor, bias: Array, needs: tuple[int, str] | None) -> Tensor:
    options = schema.FullyConnectedOptionsT()
    options.asymmetricQuantizeInputs = needs is not None
    inputs, shape = [x, matrix, b.graph.constant(bias)], (x.shape[0], matrix.shape[0])
    return b.make("FULLY_CONNECTED", inputs, shape, options=options, at_least=needs)
