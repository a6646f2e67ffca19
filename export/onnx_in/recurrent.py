"""The recurrent operations of ONNX: as layers of ours where both mean the same, else written out step by step.

ONNX orders gates z r h (GRU) and i o f c (LSTM), ours r z n and i f g o. A layer of ours starts from zeros and runs
over the positions of its input, or takes its states as operands; if those turn out to be states of the stream, it is a
layer like any other. Everything else is written out with the formulas of ONNX's operator page: other activations,
clipping, peepholes, coupled gates, a reset gate in front of the product, sequences of different lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.onnx_in.elementwise import hard
from edgernn.export.onnx_in.reader import Reader, known
from edgernn.export.onnx_in.registry import reads
from edgernn.export.onnx_in.symbols import Given, Known, Node, Symbol
from edgernn.program import Array, Op

Activation = Callable[[Symbol], Symbol]

_KINDS: dict[str, tuple[type[Op], tuple[int, ...], tuple[str, ...]]] = {  # ours, gates in our order, activations
    "GRU": (ops.GRU, (1, 0, 2), ("Sigmoid", "Tanh")),
    "LSTM": (ops.LSTM, (0, 2, 3, 1), ("Sigmoid", "Tanh", "Tanh")),
    "RNN": (ops.RNN, (0,), ("Tanh",)),
}
_PLAIN = ("Relu", "Tanh", "Sigmoid", "Softsign", "Softplus")  # activations without a number
_ALPHA = {"LeakyRelu": 0.01, "ThresholdedRelu": 1.0, "Elu": 1.0}  # those with one, and ONNX's default
# and with two; ONNX says nothing of those of the first, and runtimes differ
_BOTH = {"Affine": (None, None), "ScaledTanh": (None, None), "HardSigmoid": (0.2, 0.5)}


@reads("GRU", "LSTM", "RNN")
def recurrent(r: Reader, node: Node) -> Sequence[Symbol | None]:
    """X `[time, batch, in]` to Y `[time, directions, batch, hidden]` and the newest states; in layout 1 batch first."""
    x = node.inputs[0]
    assert x is not None
    batch_first = bool(node.attributes.get("layout", 0))
    x = r.transpose(x, (1, 0, 2)) if batch_first else x
    direction = node.attributes.get("direction", "forward").lower()
    backward = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[direction]
    sides = [_Side(r, node, x, index, back, batch_first) for index, back in enumerate(backward)]
    results = [side.results() for side in sides]
    ys = [r.reshape(y, (y.shape[0], 1, *y.shape[1:])) for y, *_ in results if y is not None]
    y = r.concat(ys, 1)
    newest = [
        r.concat([r.reshape(state, (1, *state.shape)) for state in states if state is not None], 0)
        for states in zip(*(rest for _, *rest in results), strict=True)
        if None not in states
    ]
    if batch_first:
        y, newest = r.transpose(y, (2, 0, 1, 3)), [r.transpose(state, (1, 0, 2)) for state in newest]
    return [y, *newest]


@dataclass(frozen=True)
class _Weights:
    """Of one direction, gates as ONNX orders them."""

    w: Array  # [gates * hidden, in]
    r: Array  # [gates * hidden, hidden]
    bias: Array  # [2, gates * hidden]: of W and of R
    peepholes: Array | None  # [3, hidden]: i, o, f


class _Side:
    """One direction of a node; x is `[time, batch, in]`."""

    def __init__(self, r: Reader, node: Node, x: Symbol, index: int, backward: bool, batch_first: bool) -> None:
        assert isinstance(x, Given)
        self.reader, self.node, self.x, self.backward = r, node, x, backward
        self.kind, self.gates, usual = _KINDS[node.op_type]
        w, recurrence = (known(item, "weights")[index] for item in node.inputs[1:3])
        bias, holes = node.input(3), node.input(7) if node.op_type == "LSTM" else None
        both = np.zeros(2 * len(w), np.float32) if bias is None else known(bias, "biases")[index]
        self.hidden = recurrence.shape[1]
        self.weights = _Weights(
            w,
            recurrence,
            both.reshape(2, -1),
            None if holes is None else known(holes, "peepholes")[index].reshape(3, -1),
        )
        self.biased = bias is not None
        names = node.attributes.get("activations") or usual * (index + 1)
        names = tuple(name.capitalize() if name.islower() else name for name in names)
        self.names = names[len(usual) * index : len(usual) * (index + 1)]
        functions = list(_activations(r, node, names))
        self.functions = functions[len(usual) * index : len(usual) * (index + 1)]
        self.usual = self.names == usual or (node.op_type == "RNN" and self.names == ("Relu",))
        self.clip = float(node.attributes.get("clip", 0.0))
        self.coupled = bool(node.attributes.get("input_forget", 0))
        self.before = node.op_type == "GRU" and not node.attributes.get("linear_before_reset", 0)
        self.lengths = self._lengths(node.input(4))
        states = (5, 6) if node.op_type == "LSTM" else (5,)
        self.starts = [self._start(node.input(place), index, batch_first) for place in states]

    def _start(self, state: Symbol | None, index: int, batch_first: bool) -> Symbol:
        """An initial state `[batch, hidden]`."""
        r, shape = self.reader, (self.x.shape[1], self.hidden)
        if state is None:
            return Known(np.zeros(shape, np.float32))
        return r.reshape(r.slice(state, 1 if batch_first else 0, index, index + 1), shape)

    def _lengths(self, lengths: Symbol | None) -> Symbol | None:
        """Lengths `[batch]` of the sequences, None where all have the whole."""
        if lengths is None or (isinstance(lengths, Known) and bool(np.all(lengths.array == self.x.shape[0]))):
            return None
        return lengths

    def results(self) -> list[Symbol | None]:
        """Y `[time, batch, hidden]` and the newest states `[batch, hidden]`."""
        special = self.clip or self.coupled or self.before or self.weights.peepholes is not None or not self.usual
        if special or self.lengths is not None:
            return self._written_out()
        empty = all(isinstance(start, Known) and not start.array.any() for start in self.starts)
        if empty and not self.node.wants(2):
            return self._over_positions()
        return self._over_frames()

    # --- layers of ours --------------------------------------------------------------------------------------

    def _fields(self) -> dict[str, Any]:
        r, weights = self.reader, self.weights

        def ordered(array: Array) -> str:
            parts = np.split(array, len(self.gates))
            return r.parameter(np.concatenate([parts[gate] for gate in self.gates]))

        fields: dict[str, Any] = {"weight_ih": ordered(weights.w), "weight_hh": ordered(weights.r)}
        if self.biased:
            fields |= {"bias_ih": ordered(weights.bias[0]), "bias_hh": ordered(weights.bias[1])}
        return fields | ({"kind": self.names[0].lower()} if self.kind is ops.RNN else {})

    def _over_positions(self) -> list[Symbol | None]:
        """From zeros, over what the step holds of time. Its newest c is not to be had."""
        r, steps = self.reader, self.x.shape[0]
        x = r.transpose(self.x, (1, 0, 2))
        assert isinstance(x, Given)
        fields = self._fields() | {"reverse": self.backward}
        y = r.transpose(r.symbol(r.add(self.kind, {"x": x.value, **fields})), (1, 0, 2))
        last = 0 if self.backward else steps - 1
        newest = r.reshape(r.slice(y, 0, last, last + 1), y.shape[1:])
        return [y, newest] if self.kind is not ops.LSTM else [y, newest, None]

    def _over_frames(self) -> list[Symbol | None]:
        """From given states, each `[batch, hidden]` without an axis of frames."""
        r, (steps, batch, width) = self.reader, self.x.shape
        x = self._turned(self.x)
        frames = r.frames(steps)
        taken = r.add(ops.Reshape, {"x": r.operand(x), "shape": (steps, batch, width)}, frames)
        states = {name: self._bare(start) for name, start in zip("hc", self.starts, strict=False)}
        outputs = r.builder.add(
            self.kind, self.node.name, (frames, *[None] * len(states)), x=taken, **states, **self._fields()
        )
        y = r.symbol(r.add(ops.Reshape, {"x": outputs[0], "shape": (1, steps, batch, self.hidden)}))
        return [
            self._turned(y),
            *(r.symbol(r.add(ops.Reshape, {"x": name, "shape": (1, batch, self.hidden)})) for name in outputs[1:]),
        ]

    def _turned(self, x: Symbol) -> Symbol:
        return self.reader.take(x, np.arange(x.shape[0])[::-1], 0) if self.backward else x

    def _bare(self, state: Symbol) -> str:
        if isinstance(state, Known):
            return self.reader.parameter(np.ascontiguousarray(state.array))
        return self.reader.builder.add(ops.Reshape, self.node.name, (None,), x=state.value, shape=state.shape)[0]

    # --- written out -----------------------------------------------------------------------------------------

    def _written_out(self) -> list[Symbol | None]:
        r, steps = self.reader, self.x.shape[0]
        formulas: dict[str, Callable[..., list[Symbol]]] = {"GRU": self._gru, "LSTM": self._lstm, "RNN": self._rnn}
        formula = formulas[self.node.op_type]
        given = self._given()
        states, made = list(self.starts), dict[int, Symbol]()
        for time in range(steps)[::-1] if self.backward else range(steps):
            x = r.reshape(r.slice(given, 0, time, time + 1), given.shape[1:])
            new = formula(x, *states)
            out = new[0]
            if self.lengths is not None:  # behind its end a sequence gives zeros, and its states stay
                inside = r.reshape(r.binary("greater", self.lengths, self._moment(time)), (self.x.shape[1], 1))
                out = r.where(inside, out, r.number(0))
                new = [r.where(inside, item, old) for item, old in zip(new, states, strict=True)]
            states = new
            made[time] = r.reshape(out, (1, *out.shape))
        return [r.concat([made[time] for time in range(steps)], 0), *states]

    def _moment(self, time: int) -> Known:
        assert self.lengths is not None
        return Known(np.asarray(time, self.lengths.dtype))

    def _given(self) -> Symbol:
        """x's part of all gates, for all times, with the biases that may be added before the products meet."""
        wide = self.weights.bias.sum(0) if not self._apart() else self.weights.bias[0]
        return self.reader.linear(self.x, self.weights.w, wide)

    def _apart(self) -> bool:
        """Whether a reset gate stands between R's bias and W's."""
        return self.node.op_type == "GRU"

    def _kept(self, h: Symbol, gates: slice = slice(None)) -> Symbol:
        """h's part of some gates."""
        rows = self.weights.r.reshape(-1, self.hidden, self.hidden)[gates].reshape(-1, self.hidden)
        bias = self.weights.bias[1].reshape(-1, self.hidden)[gates].reshape(-1) if self._apart() else None
        return self.reader.linear(h, rows, bias)

    def _gate(self, x: Symbol, index: int) -> Symbol:
        return self.reader.slice(x, 1, index * self.hidden, (index + 1) * self.hidden)

    def _active(self, place: int, x: Symbol) -> Symbol:
        x = self.reader.clip(x, -self.clip, self.clip) if self.clip else x
        return self.functions[place](x)

    def _rnn(self, x: Symbol, h: Symbol) -> list[Symbol]:
        return [self._active(0, self.reader.binary("add", x, self._kept(h)))]

    def _gru(self, x: Symbol, h: Symbol) -> list[Symbol]:
        r = self.reader
        kept = self._kept(h, slice(0, 2)) if self.before else self._kept(h)
        z, reset = (self._active(0, r.binary("add", self._gate(x, i), self._gate(kept, i))) for i in (0, 1))
        inner = self._kept(r.binary("mul", reset, h), slice(2, 3)) if self.before else None
        inner = inner or r.binary("mul", reset, self._gate(kept, 2))
        n = self._active(1, r.binary("add", self._gate(x, 2), inner))
        rest = r.binary("sub", r.number(1), z)
        return [r.binary("add", r.binary("mul", rest, n), r.binary("mul", z, h))]

    def _lstm(self, x: Symbol, h: Symbol, c: Symbol) -> list[Symbol]:
        r, holes = self.reader, self.weights.peepholes
        total = r.binary("add", x, self._kept(h))
        i, o, f, g = (self._gate(total, index) for index in range(4))

        def peeped(gate: Symbol, cell: Symbol, index: int) -> Symbol:
            return gate if holes is None else r.binary("add", gate, r.binary("mul", cell, Known(holes[index])))

        i = self._active(0, peeped(i, c, 0))
        f = r.binary("sub", r.number(1), i) if self.coupled else self._active(0, peeped(f, c, 2))
        new = r.binary("add", r.binary("mul", f, c), r.binary("mul", i, self._active(1, g)))
        o = self._active(0, peeped(o, new, 1))
        return [r.binary("mul", o, self.functions[2](new)), new]


def _activations(r: Reader, node: Node, names: Sequence[str]) -> Iterator[Activation]:
    """The functions of all directions; those that take numbers take them from the node's lists in order."""
    alphas = iter(node.attributes.get("activation_alpha") or ())
    betas = iter(node.attributes.get("activation_beta") or ())
    for name in names:
        if name in _PLAIN:
            yield _plain(r, name)
        elif name in _ALPHA:
            yield _with_alpha(r, name, next(alphas, _ALPHA[name]))
        elif name in _BOTH:
            alpha, beta = next(alphas, _BOTH[name][0]), next(betas, _BOTH[name][1])
            if alpha is None or beta is None:
                raise UnsupportedError(f"does not say the numbers of its activation `{name}`")
            yield _with_both(r, name, alpha, beta)
        else:
            raise UnsupportedError(f"has an activation `{name}`")


def _plain(r: Reader, name: str) -> Activation:
    if name == "Softsign":
        return lambda x: r.binary("div", x, r.binary("add", r.unary("abs", x), r.number(1)))
    return lambda x: r.unary(name.lower(), x)


def _with_alpha(r: Reader, name: str, alpha: float) -> Activation:
    if name == "LeakyRelu":
        return lambda x: r.binary("add", r.unary("relu", x), _below(r, x, alpha))
    if name == "ThresholdedRelu":
        return lambda x: r.where(r.binary("greater_equal", x, r.number(alpha)), x, r.number(0))

    def elu(x: Symbol) -> Symbol:
        below = r.binary("sub", r.unary("exp", r.binary("min", x, r.number(0))), r.number(1))
        return r.binary("add", r.unary("relu", x), r.binary("mul", below, r.number(alpha)))

    return elu


def _below(r: Reader, x: Symbol, slope: float) -> Symbol:
    return r.binary("mul", r.binary("min", x, r.number(0)), r.number(slope))


def _with_both(r: Reader, name: str, alpha: float, beta: float) -> Activation:
    if name == "Affine":
        return lambda x: r.binary("add", r.binary("mul", x, r.number(alpha)), r.number(beta))
    if name == "HardSigmoid":
        return lambda x: hard(r, x, alpha, beta)
    return lambda x: r.binary("mul", r.unary("tanh", r.binary("mul", x, r.number(beta))), r.number(alpha))
