"""`nn.GRUCell` and `nn.LSTMCell` in a step: their products, which become integers, and the gates behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.rules import rule
from edgernn.export.symbols import Const, Timed

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator


@rule("gru_cell.default")
def gru_cell(
    t: Translator,
    node: fx.Node,
    x: Timed,
    h: Timed,
    weight_ih: Const,
    weight_hh: Const,
    bias_ih: Const | None = None,
    bias_hh: Const | None = None,
) -> Timed:
    """Gates r, z, n as `nn.GRU` has them."""
    gates = _Gates(t, node, h)
    given = gates.split("ih", gates.product("ih", x, weight_ih, bias_ih), 3)
    kept = gates.split("hh", gates.product("hh", h, weight_hh, bias_hh), 3)
    r, z = (gates.sigmoid(gate, gates.both("add", gate, given[i], kept[i])) for i, gate in enumerate("rz"))
    n = gates.tanh("n", gates.both("add", "n", given[2], gates.both("mul", "reset", r, kept[2])))
    # (1 - z) n + z h
    new = gates.both("add", "h", n, gates.both("mul", "update", z, gates.both("sub", "change", h.value, n)))
    return t.symbol(new, h.shape, h.axis, h.timing, newest=True)


@rule("lstm_cell.default")
def lstm_cell(
    t: Translator,
    node: fx.Node,
    x: Timed,
    states: list[Timed],
    weight_ih: Const,
    weight_hh: Const,
    bias_ih: Const | None = None,
    bias_hh: Const | None = None,
) -> tuple[Timed, Timed]:
    """Gates i, f, g, o as `nn.LSTM` has them; gives h and c."""
    h, c = states
    gates = _Gates(t, node, h)
    products = gates.product("ih", x, weight_ih, bias_ih), gates.product("hh", h, weight_hh, bias_hh)
    i, f, g, o = gates.split("gates", gates.both("add", "sum", *products), 4)
    i, f, o = (gates.sigmoid(gate, value) for gate, value in zip("ifo", (i, f, o), strict=True))
    g = gates.tanh("g", g)
    cell = gates.both("add", "c", gates.both("mul", "keep", f, c.value), gates.both("mul", "enter", i, g))
    new = gates.both("mul", "h", o, gates.tanh("out", cell))
    made = [t.symbol(value, h.shape, h.axis, h.timing, newest=True) for value in (new, cell)]
    return made[0], made[1]


class _Gates:
    """Adds a cell's operations, named after it."""

    def __init__(self, t: Translator, node: fx.Node, h: Timed) -> None:
        if not isinstance(h, Timed):
            raise UnsupportedError("starts each frame from a constant state", hint="carry the state: `step(x, *state)`")
        self._t, self._node, self._timing = t, node, h.timing

    def product(self, half: str, x: Timed, weight: Const, bias: Const | None) -> str:
        fields = {"x": x.value, "weight": self._t.constant(weight), "bias": self._t.constant(bias) if bias else ""}
        return self._t.add(ops.Linear, self._t.name(self._node, half), self._timing, **fields)

    def split(self, name: str, value: str, count: int) -> list[str]:
        shape = self._t.builder.shape(value)
        size, axis = shape[-1] // count, len(shape) - 1
        return [
            self._t.add(
                ops.Slice, self._t.name(self._node, name), self._timing, x=value, axis=axis, start=s, end=s + size
            )
            for s in range(0, shape[-1], size)
        ]

    def both(self, kind: str, name: str, a: str, b: str) -> str:
        return self._t.add(ops.Binary, self._t.name(self._node, name), self._timing, a=a, b=b, kind=kind)

    def sigmoid(self, name: str, x: str) -> str:
        return self._t.add(ops.Unary, self._t.name(self._node, name), self._timing, x=x, kind="sigmoid")

    def tanh(self, name: str, x: str) -> str:
        return self._t.add(ops.Unary, self._t.name(self._node, name), self._timing, x=x, kind="tanh")
