"""The recurrent layers in float, one step's frames spelled out, or the positions of each frame.

Fewest operations win: a delegate spends as long on starting one as on 128 elements. So activations run over whole rows
of gates and the gates are cut out behind them, although a few elements are computed for nothing; and where both halves
of a gate are only added, x and h stand side by side before one product.
"""

from __future__ import annotations

import numpy as np

from edgernn import ops
from edgernn.export.to_tflite.builder import Builder
from edgernn.export.to_tflite.graph import Tensor
from edgernn.export.to_tflite.line import Line
from edgernn.export.to_tflite.products import in_int8, product, related_products, sum_of_products
from edgernn.export.to_tflite.rows import row
from edgernn.program import Array


class _Gates:
    """x's and h's halves of the gates' pre-activations."""

    def __init__(self, b: Builder, op: ops.GRU | ops.LSTM | ops.RNN) -> None:
        self.b, self.line = b, Line(b, op)
        self.weights = b.parameter(op.weight_ih), b.parameter(op.weight_hh)
        zero = np.zeros(len(self.weights[0]), np.float32)
        self.biases = [b.parameter(name) if name else zero for name in (op.bias_ih, op.bias_hh)]
        self.x = self.line.rows
        self.size = self.weights[1].shape[1]  # of h
        # The input of an int8 product is quantized as a whole: beside an x of large values h's steps are as coarse as
        # x's. That costs 3 dB at most when x is as wide, and more beside a narrow one.
        self.int8 = in_int8(b, *self.weights)
        wide = self.x.shape[1] >= self.size
        self.joins = self.int8 and wide and self.line.count == 1 and bool(op.h) and not b.per_channel
        self._given: dict[int, Tensor] = {}

    def sums(self, place: int, h: Tensor | None, rows: slice) -> Tensor:
        """Both halves of these rows, added."""
        if not self.joins or h is None:
            return self.b.binary("ADD", *self.halves(place, h, rows))
        weights = self.weights[0][rows], self.weights[1][rows]
        return sum_of_products(self.b, (self.x, h), weights, (self.biases[0] + self.biases[1])[rows])

    def related(self, h: Tensor, rows: slice) -> tuple[Tensor, Tensor, Array]:
        """Each half of these rows of the one frame, and what their combination is to be multiplied by."""
        weights = self.weights[0][rows], self.weights[1][rows]
        biases = self.biases[0][rows], self.biases[1][rows]
        return related_products(self.b, (self.x, h), weights, biases)

    def halves(self, place: int, h: Tensor | None, rows: slice) -> tuple[Tensor, Tensor]:
        """Each half of these rows. x's is one product for all places; where h is 0 its half is the bias."""
        if rows.start not in self._given:
            self._given[rows.start] = product(self.b, self.x, self.weights[0][rows], self.biases[0][rows], self.int8)
        given, bias = self.line.at(self._given[rows.start], place), self.biases[1][rows]
        if h is None:
            return given, self.b.constant(bias[None])
        return given, product(self.b, h, self.weights[1][rows], bias, self.int8)


@row(ops.GRU)
def gru(b: Builder, op: ops.GRU) -> None:
    """n's two halves stay apart, because r stands between them."""
    gates = _Gates(b, op)
    line, size, rows = gates.line, gates.size, []
    h = b.get(op.h) if op.h else None
    for place in line.places:
        if gates.joins and h is not None:
            r, z = b.split(b.unary("LOGISTIC", gates.sums(place, h, slice(0, 2 * size))), 2)
            n_given, n_kept, stretch = gates.related(h, slice(2 * size, 3 * size))
        else:
            given, kept = gates.halves(place, h, slice(0, 3 * size))
            both = b.unary("LOGISTIC", b.binary("ADD", given, kept))
            r, z = b.slice(both, 1, 0, size), b.slice(both, 1, size, 2 * size)
            n_given, n_kept = (b.slice(half, 1, 2 * size, 3 * size) for half in (given, kept))
            stretch = None
        n = b.binary("ADD", n_given, b.binary("MUL", r, n_kept))
        n = b.unary("TANH", n if stretch is None else b.binary("MUL", n, b.constant(stretch)))
        h = b.binary("SUB", n, b.binary("MUL", z, n)) if h is None else _between(b, n, h, z)
        rows.append(h)
    line.leave(line.joined(rows), rows[-1])


def _between(b: Builder, n: Tensor, h: Tensor, z: Tensor) -> Tensor:
    """(1 - z) n + z h."""
    return b.binary("ADD", n, b.binary("MUL", z, b.binary("SUB", h, n)))


@row(ops.LSTM)
def lstm(b: Builder, op: ops.LSTM) -> None:
    """With or without a projection."""
    gates = _Gates(b, op)
    line, size, rows = gates.line, len(gates.weights[1]) // 4, []
    h, c = (b.get(op.h), b.get(op.c)) if op.h else (None, None)
    for place in line.places:
        total = gates.sums(place, h, slice(0, 4 * size))
        sigmoids = b.unary("LOGISTIC", total)
        i, f, o = (b.slice(sigmoids, 1, gate * size, (gate + 1) * size) for gate in (0, 1, 3))
        entering = b.binary("MUL", i, b.unary("TANH", b.slice(total, 1, 2 * size, 3 * size)))
        c = entering if c is None else b.binary("ADD", b.binary("MUL", f, c), entering)
        h = b.binary("MUL", o, b.unary("TANH", c))
        if op.weight_hr:
            h = product(b, h, b.parameter(op.weight_hr))
        rows.append(h)
    assert c is not None
    line.leave(line.joined(rows), rows[-1], c)


@row(ops.RNN)
def rnn(b: Builder, op: ops.RNN) -> None:
    """tanh or relu."""
    gates, rows = _Gates(b, op), []
    h = b.get(op.h) if op.h else None
    for place in gates.line.places:
        h = b.unary(op.kind.upper(), gates.sums(place, h, slice(None)))
        rows.append(h)
    gates.line.leave(gates.line.joined(rows), rows[-1])
