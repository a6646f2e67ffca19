"""The recurrent layers in float, one step's frames spelled out.

Fewest operations win: a delegate spends as long on starting one as on 128 elements. So activations run over whole rows
of gates and the gates are cut out behind them, although a few elements are computed for nothing; and where both halves
of a gate are only added, x and h stand side by side before one product.
"""

from __future__ import annotations

import numpy as np

from edgernn import ops
from edgernn.export.to_tflite.builder import Builder
from edgernn.export.to_tflite.graph import Tensor
from edgernn.export.to_tflite.products import in_int8, product, related_products, sum_of_products
from edgernn.export.to_tflite.rows import row
from edgernn.program import Array


class _Gates:
    """x's and h's halves of the gates' pre-activations."""

    def __init__(self, b: Builder, op: ops.GRU | ops.LSTM | ops.RNN) -> None:
        self.b = b
        self.frames, self.batch, width = b.shape(op.x)
        self.weights = b.parameter(op.weight_ih), b.parameter(op.weight_hh)
        zero = np.zeros(len(self.weights[0]), np.float32)
        self.biases = [b.parameter(name) if name else zero for name in (op.bias_ih, op.bias_hh)]
        self.x = b.get(op.x, (self.frames * self.batch, width))
        # The input of an int8 product is quantized as a whole: beside an x of large values h's steps are as coarse as
        # x's. That costs 3 dB at most when x is as wide, and more beside a narrow one.
        self.int8 = in_int8(b, *self.weights)
        wide = width >= self.weights[1].shape[1]
        self.joins = self.int8 and wide and self.frames == 1 and not b.per_channel
        self._given: dict[int, Tensor] = {}

    def sums(self, frame: int, h: Tensor, rows: slice) -> Tensor:
        """Both halves of these rows, added."""
        if not self.joins:
            return self.b.binary("ADD", *self.halves(frame, h, rows))
        weights = self.weights[0][rows], self.weights[1][rows]
        return sum_of_products(self.b, (self.x, h), weights, (self.biases[0] + self.biases[1])[rows])

    def related(self, h: Tensor, rows: slice) -> tuple[Tensor, Tensor, Array]:
        """Each half of these rows of the one frame, and what their combination is to be multiplied by."""
        weights = self.weights[0][rows], self.weights[1][rows]
        biases = self.biases[0][rows], self.biases[1][rows]
        return related_products(self.b, (self.x, h), weights, biases)

    def halves(self, frame: int, h: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        """Each half of these rows. x's is one product for all frames."""
        if rows.start not in self._given:
            self._given[rows.start] = product(self.b, self.x, self.weights[0][rows], self.biases[0][rows], self.int8)
        given = self.b.slice(self._given[rows.start], 0, frame * self.batch, (frame + 1) * self.batch)
        return given, product(self.b, h, self.weights[1][rows], self.biases[1][rows], self.int8)


@row(ops.GRU)
def gru(b: Builder, op: ops.GRU) -> None:
    """n's two halves stay apart, because r stands between them."""
    gates, size, h, rows = _Gates(b, op), b.shape(op.h)[-1], b.get(op.h), []
    for frame in range(gates.frames):
        if gates.joins:
            r, z = b.split(b.unary("LOGISTIC", gates.sums(frame, h, slice(0, 2 * size))), 2)
            n_given, n_kept, stretch = gates.related(h, slice(2 * size, 3 * size))
        else:
            given, kept = gates.halves(frame, h, slice(0, 3 * size))
            both = b.unary("LOGISTIC", b.binary("ADD", given, kept))
            r, z = b.slice(both, 1, 0, size), b.slice(both, 1, size, 2 * size)
            n_given, n_kept = (b.slice(half, 1, 2 * size, 3 * size) for half in (given, kept))
            stretch = None
        n = b.binary("ADD", n_given, b.binary("MUL", r, n_kept))
        n = b.unary("TANH", n if stretch is None else b.binary("MUL", n, b.constant(stretch)))
        h = b.binary("ADD", n, b.binary("MUL", z, b.binary("SUB", h, n)))
        rows.append(h)
    b.put(op.outputs[0], b.concat(rows, 0))
    b.put(op.outputs[1], b.held(op.active, h, b.get(op.h)))


@row(ops.LSTM)
def lstm(b: Builder, op: ops.LSTM) -> None:
    """With or without a projection."""
    gates, size, h, c, rows = _Gates(b, op), b.shape(op.c)[-1], b.get(op.h), b.get(op.c), []
    for frame in range(gates.frames):
        total = gates.sums(frame, h, slice(0, 4 * size))
        sigmoids = b.unary("LOGISTIC", total)
        i, f, o = (b.slice(sigmoids, 1, gate * size, (gate + 1) * size) for gate in (0, 1, 3))
        g = b.unary("TANH", b.slice(total, 1, 2 * size, 3 * size))
        c = b.binary("ADD", b.binary("MUL", f, c), b.binary("MUL", i, g))
        h = b.binary("MUL", o, b.unary("TANH", c))
        if op.weight_hr:
            h = product(b, h, b.parameter(op.weight_hr))
        rows.append(h)
    b.put(op.outputs[0], b.concat(rows, 0))
    b.put(op.outputs[1], b.held(op.active, h, b.get(op.h)))
    b.put(op.outputs[2], b.held(op.active, c, b.get(op.c)))


@row(ops.RNN)
def rnn(b: Builder, op: ops.RNN) -> None:
    """tanh or relu."""
    gates, h, rows = _Gates(b, op), b.get(op.h), []
    for frame in range(gates.frames):
        h = b.unary(op.kind.upper(), gates.sums(frame, h, slice(None)))
        rows.append(h)
    b.put(op.outputs[0], b.concat(rows, 0))
    b.put(op.outputs[1], b.held(op.active, h, b.get(op.h)))
