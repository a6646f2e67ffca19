"""LSTM cells that a file spells out in products and gates, found again as layers.

As a layer a cell has its int8 form and the engine's kernel. A cell is found from its states: c' = f c + i g and
h' = o tanh(c'), with gates that are sigmoids, and g a tanh, of sums of products of x and h. What else the file makes of
the values in between stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgernn import ops
from edgernn.export.builder import Builder
from edgernn.export.onnx_in.separate import renamed
from edgernn.program import Array, Timing, volume
from edgernn.spec import StateSpec


def find_cells(builder: Builder, timing: Timing) -> None:
    """Replace every LSTM cell that is spelled out."""
    for c in list(builder.states):
        for h in list(builder.states):
            if c is not h and c in builder.states and h in builder.states:
                found = _Finder(builder).lstm(c, h)
                if found is not None:
                    _replace(builder, c, h, found, timing)


@dataclass(frozen=True)
class _Lstm:
    """A cell: what it reads, and its weights with gates in the order i f g o."""

    name: str
    x: str
    weight_ih: Array
    weight_hh: Array
    bias: Array
    new_c: str
    new_h: str


@dataclass
class _Sum:
    """Rows of products of x and of h, and of a bias, while they are collected."""

    x: str
    from_x: Array | None = None
    from_h: Array | None = None
    bias: Array | None = None


class _Finder:
    def __init__(self, builder: Builder) -> None:
        self.b = builder
        self.maker = {name: op for op in builder.ops for name in op.outputs}

    def root(self, name: str) -> str:
        """The value behind all reshapes."""
        op = self.maker.get(name)
        return self.root(op.x) if isinstance(op, ops.Reshape) else name

    def made(self, name: str, kind: str) -> tuple[str, ...] | None:
        """The operands of the element-wise operation that makes a value, if it is of this kind."""
        op = self.maker.get(self.root(name))
        if isinstance(op, ops.Binary) and op.kind == kind:
            return op.a, op.b
        return (op.x,) if isinstance(op, ops.Unary) and op.kind == kind else None

    def pair(self, name: str, kind: str, first: str, second: str) -> tuple[str, str] | None:
        """What `first` and `second` are of, where a binary `kind` of the two makes a value."""
        operands = self.made(name, kind)
        for a, b in (operands, operands[::-1]) if operands else ():
            left, right = self.made(a, first), self.made(b, second)
            if left is not None and right is not None:
                return left[0], right[0]
        return None

    def lstm(self, c: StateSpec, h: StateSpec) -> _Lstm | None:
        """The cell with these two states, if they are one's."""
        new_c, new_h = self.root(c.output), self.root(h.output)
        out = self.pair(new_h, "mul", "sigmoid", "tanh")  # o tanh(c')
        terms = self.made(new_c, "add")
        if out is None or terms is None or self.root(out[1]) != new_c:
            return None
        for kept, entering in (terms, terms[::-1]):
            forget = self._times(kept, c.input)
            gates = self.pair(entering, "mul", "sigmoid", "tanh")
            if forget is not None and gates is not None:
                hidden = self.b.shape(new_c)[-1]
                sums = [self._sum(name, h.input, hidden) for name in (gates[0], forget, gates[1], out[0])]
                return self._cell(sums, hidden, new_c, new_h)
        return None

    def _times(self, name: str, state: str) -> str | None:
        """The argument of a sigmoid that multiplies a state."""
        operands = self.made(name, "mul")
        for a, b in (operands, operands[::-1]) if operands else ():
            gate = self.made(a, "sigmoid")
            if gate is not None and self.root(b) == state:
                return gate[0]
        return None

    def _cell(self, sums: list[_Sum | None], hidden: int, new_c: str, new_h: str) -> _Lstm | None:
        whole = [item for item in sums if item is not None and item.from_x is not None and item.from_h is not None]
        if len(whole) < 4 or len({item.x for item in whole}) > 1:
            return None
        from_x, from_h = (np.concatenate([getattr(s, name) for s in whole]) for name in ("from_x", "from_h"))
        bias = np.concatenate([np.zeros(hidden, np.float32) if s.bias is None else s.bias for s in whole])
        return _Lstm(self.maker[new_h].name, whole[0].x, from_x, from_h, bias.astype(np.float32), new_c, new_h)

    def _sum(self, name: str, h: str, hidden: int) -> _Sum | None:
        """A gate's sum: products of x and h, and biases; None for anything else."""
        rows = slice(0, hidden)
        op = self.maker.get(self.root(name))
        if isinstance(op, ops.Slice) and op.stride == 1 and op.axis == len(self.b.shape(op.x)) - 1:
            rows, name = slice(op.start, op.end), op.x
        total = _Sum("")
        return total if self._collect(total, name, h, rows) and rows.stop - rows.start == hidden else None

    def _collect(self, total: _Sum, name: str, h: str, rows: slice) -> bool:
        if name in self.b.parameters:
            array = self.b.parameters[name]
            if array.size != array.shape[-1] or array.size < rows.stop:
                return False
            total.bias = _added(total.bias, array.reshape(-1)[rows])
            return True
        terms = self.made(name, "add")
        if terms is not None:
            return all(self._collect(total, term, h, rows) for term in terms)
        op = self.maker.get(self.root(name))
        if not isinstance(op, ops.Linear) or len(self.b.parameters[op.weight]) < rows.stop:
            return False
        if op.bias:
            total.bias = _added(total.bias, self.b.parameters[op.bias][rows])
        weight, start = self.b.parameters[op.weight][rows], 0
        for part, width in self._parts(op.x):
            columns = weight[:, start : start + width]
            start += width
            if self.root(part) == h:
                total.from_h = _added(total.from_h, columns)
            elif total.x in ("", self.root(part)):
                total.x, total.from_x = self.root(part), _added(total.from_x, columns)
            else:
                return False
        return True

    def _parts(self, name: str) -> list[tuple[str, int]]:
        """What a product multiplies, side by side, with its columns."""
        op = self.maker.get(self.root(name))
        shape = self.b.shape(name)
        if isinstance(op, ops.Concat) and op.axis == len(self.b.shape(op.outputs[0])) - 1:
            return [(part, self.b.shape(part)[-1]) for part in op.parts]
        return [(name, shape[-1])]


def _added(a: Array | None, b: Array) -> Array:
    return b if a is None else a + b


def _replace(b: Builder, c: StateSpec, h: StateSpec, cell: _Lstm, timing: Timing) -> None:
    """Put the layer where the cell was; the states get the layer's shape."""
    hidden, width = cell.weight_hh.shape[1], cell.weight_ih.shape[1]
    batch = volume(h.shape) // hidden
    places = {name: index for index, op in enumerate(b.ops) for name in op.outputs}
    index, count = min(places[cell.new_c], places[cell.new_h]), len(b.ops)
    fits = volume(b.shape(cell.x)) == batch * width and volume(c.shape) == batch * hidden
    if not fits or places.get(cell.x, -1) >= index:
        return
    old = {}
    for state in (c, h):
        b.values[state.input] = replace(b.values[state.input], shape=(batch, hidden))
        fields = {"x": state.input, "shape": state.shape}
        old[state.input] = b.add(ops.Reshape, f"{state.input}.whole", (None,), **fields)[0]
    start = b.ops[count:]
    x = b.add(ops.Reshape, f"{cell.name}.x", timing, x=cell.x, shape=(1, batch, width))[0]
    operands = {
        "x": x,
        "h": h.input,
        "c": c.input,
        "weight_ih": b.parameter(f"{cell.name}.weight_ih", cell.weight_ih),
        "weight_hh": b.parameter(f"{cell.name}.weight_hh", cell.weight_hh),
        "bias_ih": b.parameter(f"{cell.name}.bias_ih", cell.bias),
        "bias_hh": b.parameter(f"{cell.name}.bias_hh", np.zeros_like(cell.bias)),
    }
    y, next_h, next_c = b.add(ops.LSTM, f"{cell.name}.lstm", (timing, None, None), **operands)
    made = b.ops[count + len(start) :]
    for name, value in ((cell.new_h, y), (cell.new_c, next_c)):
        made.append(ops.Reshape(name=b.unique(f"{name}.again"), outputs=(name,), x=value, shape=b.shape(name)))
    kept = [renamed(op, old) for op in b.ops[:count]]
    spelled = [op for op in kept[index:] if not {cell.new_c, cell.new_h}.intersection(op.outputs)]
    b.ops = [*start, *kept[:index], *made, *spelled]
    ends = {c.input: next_c, h.input: next_h}
    b.states = [
        replace(item, shape=(batch, hidden), output=ends[item.input]) if item.input in ends else item
        for item in b.states
    ]
