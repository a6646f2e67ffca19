"""Recurrent layers: one step operation and one state (two for LSTM) per layer."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.account import to_numpy
from edgernn.export.nodes import module_path
from edgernn.export.rules import rule
from edgernn.export.rules.layout import IN_WINDOWS
from edgernn.export.symbols import Const, FinalState, Pad, Timed
from edgernn.program import Array, Op, Timing

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator

BIDIRECTIONAL_HINT = (
    "`--lookahead N` runs that half over N frames of the future, as late; "
    f"{IN_WINDOWS}; or train it with bidirectional=False"
)


@rule("gru.input")
def gru(t: Translator, node: fx.Node, x: Timed, h: Const | Timed, *arguments: Any) -> tuple[Timed | FinalState, ...]:
    """`nn.GRU`."""
    return _Stack(t, node, x, [h], *arguments).build(ops.GRU)


@rule("rnn_tanh.input", "rnn_relu.input")
def rnn(t: Translator, node: fx.Node, x: Timed, h: Const | Timed, *arguments: Any) -> tuple[Timed | FinalState, ...]:
    """`nn.RNN`."""
    kind = "relu" if "rnn_relu" in str(node.target) else "tanh"
    return _Stack(t, node, x, [h], *arguments).build(ops.RNN, kind=kind)


@rule("lstm.input")
def lstm(
    t: Translator, node: fx.Node, x: Timed, states: list[Const | Timed], *arguments: Any
) -> tuple[Timed | FinalState, ...]:
    """`nn.LSTM`."""
    return _Stack(t, node, x, states, *arguments).build(ops.LSTM)


class _Stack:
    """The layers of one recurrent module, over time or over a feature axis of each frame."""

    def __init__(
        self,
        t: Translator,
        node: fx.Node,
        x: Timed,
        states: list[Const | Timed],
        parameters: list[Const],
        biases: bool,
        layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> None:
        if not isinstance(x, Timed):
            raise UnsupportedError("takes a constant", hint="compute it once: it is no layer of a stream")
        over = 1 if batch_first else 0
        self.over_time = x.axis == over
        if self.over_time and bidirectional and t.reach.lookahead is None:
            raise UnsupportedError("is bidirectional: its backward half needs the future", hint=BIDIRECTIONAL_HINT)
        # over an axis of one element nothing recurs: that is time-major by mistake
        if not self.over_time and (x.axis in (None, 2) or len(x.shape) != 3 or x.shape[over] == 1):
            raise UnsupportedError(
                "recurs over an axis that is not time",
                hint="check batch_first, or transpose so that time is the axis it recurs over",
            )
        if train and dropout > 0 and layers > 1:
            raise UnsupportedError("dropout between layers is on", hint="export in eval mode")
        self.t, self.node, self.x, self.states = t, node, x, states
        self.biases, self.layers, self.directions = biases, layers, 2 if bidirectional else 1
        each = len(parameters) // (layers * self.directions)
        self.weights = [parameters[start : start + each] for start in range(0, len(parameters), each)]

    def build(self, kind: type[Op], /, **attributes: str) -> tuple[Timed | FinalState, ...]:
        """Add the layers; gives the output and the final states as PyTorch returns them."""
        if not self.over_time:
            return self._over_positions(kind, attributes)
        t, node, x = self.t, self.node, self.x
        outputs: list[Timed] = []
        self.cells: list[Timed] = []
        for layer in range(self.layers):
            if self.directions == 2:
                x = self._both_ways(kind, layer, t.settle(x), attributes)
            else:
                x = self._layer(kind, layer, f"l{layer}", x, attributes)
            outputs.append(x)
        shapes = t.shape(node)
        x = t.symbol(x.value, shapes[0], x.axis, x.timing)
        h = FinalState(shapes[1], tuple(outputs) if self.directions == 1 else None)
        one_frame = self.directions == 1 and t.frames(x.timing) == 1  # c is kept once a step
        return (x, h) if len(shapes) == 2 else (x, h, FinalState(shapes[2], tuple(self.cells) if one_frame else None))

    def _both_ways(self, kind: type[Op], layer: int, x: Timed, attributes: dict[str, str]) -> Timed:
        """The forward half as ever, the backward half with lookahead, brought to one delay."""
        t = self.t
        sides = (
            self._layer(kind, 2 * layer, f"l{layer}", x, attributes),
            self._behind(kind, 2 * layer + 1, f"l{layer}_reverse", x, attributes),
        )
        forward, backward = t.align(sides)
        parts = (forward.value, backward.value)
        value = t.add(ops.Concat, t.name(self.node, f"l{layer}_both"), forward.timing, parts=parts, axis=2)
        return replace(forward, value=value, shape=(*x.shape[:2], t.builder.shape(value)[-1]))

    def _behind(self, kind: type[Op], index: int, suffix: str, x: Timed, attributes: dict[str, str]) -> Timed:
        """Blocks of frames, each backward from zeros at the end of its lookahead: see `edgernn.nn.lookahead`."""
        t, node, timing = self.t, self.node, x.timing
        assert t.reach.lookahead is not None
        if len(self.weights[index]) > (4 if self.biases else 2):
            raise UnsupportedError("projects its state with lookahead", hint="leave `proj_size` out")
        for state in self.states:
            if self._initial(state, index).any():
                raise UnsupportedError("starts its backward half from a state", hint="start it from zeros")
        ahead, block = t.reach.lookahead.of(Fraction(timing.period, timing.group))
        t.looked[module_path(node)] = (ahead, block)
        span, name = ahead + block, t.name(node, suffix)
        window = t.window(x, span, block, Pad(0, span - 1), name)
        rows, width = t.builder.shape(x.value)[1:]
        starts = [window.first + block * count for count in range(window.count)]
        cut = [t.add(ops.Slice, f"{name}.cut", timing, x=window.value, axis=0, start=s, end=s + span) for s in starts]
        value = cut[0] if len(cut) == 1 else t.add(ops.Concat, f"{name}.blocks", timing, parts=tuple(cut), axis=0)
        value = self._turned(f"{name}.rows", value, timing, (len(starts), span, rows, width))
        value = t.add(kind, name, timing, x=value, reverse=True, **self._parameters(index), **attributes)
        value = t.add(ops.Slice, f"{name}.kept", timing, x=value, axis=2, start=0, end=block)
        made = replace(timing.widened(span - 1), delay=window.timing.delay * block)
        out = t.builder.shape(value)[-1]
        value = self._turned(f"{name}.frames", value, made, (len(starts), rows, block, out))
        value = t.add(ops.Reshape, f"{name}.joined", made, x=value, shape=(len(starts) * block, rows, out))
        return Timed(value, (*x.shape[:2], out), x.axis, made)

    def _turned(self, name: str, value: str, timing: Timing, shape: tuple[int, ...]) -> str:
        """A value as `shape` with its second and third axis exchanged."""
        t = self.t
        if 1 in shape[1:3]:
            turned = (shape[0], shape[2], shape[1], shape[3])
            return t.add(ops.Reshape, name, timing, x=value, shape=turned)
        value = t.add(ops.Reshape, name, timing, x=value, shape=shape)
        return t.add(ops.Transpose, f"{name}.turned", timing, x=value, axes=(0, 2, 1, 3))

    def _layer(self, kind: type[Op], index: int, suffix: str, x: Timed, attributes: dict[str, str]) -> Timed:
        t = self.t
        x, active = t.whole_steps(x)
        name = t.name(self.node, suffix)
        pairs = [
            t.state(name, letter, self._initial(state, index)) for letter, state in zip("hc", self.states, strict=False)
        ]
        timing = replace(x.timing, receptive_field=None)
        operands = {letter: incoming for letter, (incoming, _) in zip("hc", pairs, strict=False)}
        y = t.builder.add(
            kind,
            name,
            (timing, *[None] * len(pairs)),
            (name if name not in t.builder.values else t.builder.unique(name), *(out for _, out in pairs)),
            x=x.value,
            active=active,
            **operands,
            **self._parameters(index),
            **attributes,
        )[0]
        made = Timed(y, (*x.shape[:2], t.builder.shape(y)[-1]), x.axis, timing)
        if len(pairs) == 2:
            c = pairs[1][1]
            self.cells.append(replace(made, value=c, shape=(*x.shape[:2], t.builder.shape(c)[-1])))
        return made

    def _parameters(self, index: int) -> dict[str, str]:
        fields = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if self.biases else []), "weight_hr"]
        return dict(zip(fields, map(self.t.constant, self.weights[index]), strict=False))

    def _initial(self, state: Const | Timed, layer: int) -> Array:
        if not isinstance(state, Const):
            raise UnsupportedError(
                "starts from a state computed from the sequence", hint="start from zeros, a parameter or an argument"
            )
        return to_numpy(state.tensor[layer])

    def _over_positions(self, kind: type[Op], attributes: dict[str, str]) -> tuple[Timed | FinalState, ...]:
        """Each frame's positions in both directions: the frames lie in the place of the batch."""
        t, node, x = self.t, self.node, self.t.settle(self.x)
        if len(self.weights[0]) > (4 if self.biases else 2):
            raise UnsupportedError("projects its state over a feature axis", hint="leave `proj_size` out")
        self._starts_at_zero()
        frames, positions, width = t.builder.shape(x.value)
        value = t.add(ops.Reshape, t.name(node, "rows"), x.timing, x=x.value, shape=(frames, 1, positions, width))
        ends = []
        for layer in range(self.layers):
            sides = []
            for side in range(self.directions):
                made = t.add(
                    kind,
                    t.name(node, f"l{layer}{'_reverse' if side else ''}"),
                    x.timing,
                    x=value,
                    reverse=bool(side),
                    **self._parameters(layer * self.directions + side),
                    **attributes,
                )
                last = 0 if side else positions - 1
                fields = {"axis": 2, "start": last, "end": last + 1}
                ends.append(t.add(ops.Slice, t.name(node, "end"), x.timing, x=made, **fields))
                sides.append(made)
            value = sides[0]
            if len(sides) > 1:
                value = t.add(ops.Concat, t.name(node, f"l{layer}_both"), x.timing, parts=tuple(sides), axis=3)
        shapes = t.shape(node)
        out = t.builder.shape(value)[-1]
        value = t.add(ops.Reshape, t.name(node), x.timing, x=value, shape=(frames, positions, out))
        y = t.symbol(value, shapes[0], x.axis, x.timing)
        final = t.add(ops.Concat, t.name(node, "ends"), x.timing, parts=tuple(ends), axis=1)
        size = t.builder.shape(final)[-1]
        final = t.add(ops.Reshape, t.name(node, "h"), x.timing, x=final, shape=(frames, len(ends), size))
        h = t.symbol(final, shapes[1], 1, x.timing)
        return (y, h) if len(shapes) == 2 else (y, h, FinalState(shapes[2], None))

    def _starts_at_zero(self) -> None:
        for state in self.states:
            zeros = self.t.builder.producer(state.value) if isinstance(state, Timed) else None
            if not (isinstance(zeros, ops.Fill) and zeros.value == 0):
                raise UnsupportedError(
                    "starts each frame from a state of its own", hint="leave the initial state of this layer out"
                )
