"""Recurrent layers: one step operation and one state (two for LSTM) per layer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.rules import rule
from edgernn.export.symbols import Const, FinalState, Timed
from edgernn.program import Array, Op

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator

BIDIRECTIONAL_HINT = "train it with bidirectional=False, or use convolutions with a few frames of lookahead"


@rule("gru.input")
def gru(t: Translator, node: fx.Node, x: Timed, h: Const, *arguments: Any) -> tuple[Timed | FinalState, ...]:
    """`nn.GRU`."""
    return _Stack(t, node, x, [h], *arguments).build(ops.GRU)


@rule("rnn_tanh.input", "rnn_relu.input")
def rnn(t: Translator, node: fx.Node, x: Timed, h: Const, *arguments: Any) -> tuple[Timed | FinalState, ...]:
    """`nn.RNN`."""
    kind = "relu" if "rnn_relu" in str(node.target) else "tanh"
    return _Stack(t, node, x, [h], *arguments).build(ops.RNN, kind=kind)


@rule("lstm.input")
def lstm(
    t: Translator, node: fx.Node, x: Timed, states: list[Const], *arguments: Any
) -> tuple[Timed | FinalState, ...]:
    """`nn.LSTM`."""
    return _Stack(t, node, x, states, *arguments).build(ops.LSTM)


@rule("gru.data", "lstm.data", "rnn_tanh.data", "rnn_relu.data")
def packed(t: Translator, node: fx.Node, *_: Any) -> Timed:
    """A packed sequence."""
    raise UnsupportedError("takes a PackedSequence", hint="export without packing: a stream has no padding")


class _Stack:
    """The layers of one recurrent module."""

    def __init__(
        self,
        t: Translator,
        node: fx.Node,
        x: Timed,
        states: list[Const],
        parameters: list[Const],
        biases: bool,
        layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> None:
        if bidirectional:
            raise UnsupportedError("is bidirectional: its backward half needs the future", hint=BIDIRECTIONAL_HINT)
        if not isinstance(x, Timed) or x.axis != (1 if batch_first else 0):
            raise UnsupportedError(
                "recurs over an axis that is not time",
                hint="check batch_first, or transpose so that time is the axis it recurs over",
            )
        if train and dropout > 0 and layers > 1:
            raise UnsupportedError("dropout between layers is on", hint="export in eval mode")
        self.t, self.node, self.x, self.states = t, node, x, states
        self.biases, self.layers = biases, layers
        each = len(parameters) // layers
        self.weights = [parameters[start : start + each] for start in range(0, len(parameters), each)]

    def build(self, kind: type[Op], /, **attributes: str) -> tuple[Timed | FinalState, ...]:
        """Add the layers; gives the output and the final states as PyTorch returns them."""
        t, node, x = self.t, self.node, self.x
        outputs = []
        for layer in range(self.layers):
            x = self._layer(kind, layer, x, attributes)
            outputs.append(x)
        shapes = t.shape(node)
        x = t.symbol(x.value, shapes[0], x.axis, x.timing)
        h = FinalState(shapes[1], tuple(outputs))
        return (x, h) if len(shapes) == 2 else (x, h, FinalState(shapes[2], None))

    def _layer(self, kind: type[Op], layer: int, x: Timed, attributes: dict[str, str]) -> Timed:
        t = self.t
        x, active = t.whole_steps(x)
        name = t.name(self.node, f"l{layer}")
        pairs = [
            t.state(name, letter, self._initial(state, layer)) for letter, state in zip("hc", self.states, strict=False)
        ]
        timing = replace(x.timing, receptive_field=None)
        names = [t.constant(weight) for weight in self.weights[layer]]
        operands = {letter: incoming for letter, (incoming, _) in zip("hc", pairs, strict=False)}
        fields = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if self.biases else []), "weight_hr"]
        operands.update(zip(fields, names, strict=False))
        y = t.builder.add(
            kind,
            name,
            (timing, *[None] * len(pairs)),
            (name if name not in t.builder.values else t.builder.unique(name), *(out for _, out in pairs)),
            x=x.value,
            active=active,
            **operands,
            **attributes,
        )[0]
        return Timed(y, (*x.shape[:2], t.builder.shape(y)[-1]), x.axis, timing)

    def _initial(self, state: Const, layer: int) -> Array:
        if not isinstance(state, Const):
            raise UnsupportedError(
                "starts from a state computed from the sequence", hint="start from zeros, a parameter or an argument"
            )
        from edgernn.export.streaming import to_numpy  # the translator imports the rules

        return to_numpy(state.tensor[layer])
