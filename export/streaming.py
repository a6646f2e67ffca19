"""Translate a captured sequence module into the operations of a step, node by node, with one rule per operation.

The translator keeps the account of time: how many frames of a value leave per step, by how many they are late, how
long a whole sequence of them is, and which of a step's frames lie inside the sequence. Rules ask it for windows,
delays and masks and say nothing of state themselves.

A window over time is the one place where delay comes from. Output frame `i` of a window of `span` frames with
stride `s` behind `before` padded frames reads input frames `i*s - before` to `i*s - before + span - 1`; the newest of
them arrives as stream frame `+ delay_in`. Of each step's groups of `s` frames, output stream frame `j` may look at
frames up to `j*s + phase`, `0 <= phase < s`. So `delay * s + phase = span - 1 - before + delay_in` with the smallest
delay that is not negative.

A window behind which `s` frames leave for each one is a window of stride 1, and its frames are taken apart (`spread`).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, cast

import numpy as np
import torch
from torch import fx

from edgernn import ops
from edgernn.errors import ExportError, UnsupportedError
from edgernn.export.builder import Builder
from edgernn.export.capture import Captured
from edgernn.export.in_place import out_of_place, refuse_shared
from edgernn.export.modes import Lookahead
from edgernn.export.nodes import bidirectional_over, module_path, op_name
from edgernn.export.rules import find_rule, knows_complex
from edgernn.export.symbols import Const, FinalState, Pad, Shape, StateInput, Symbol, Timed, frame_shape
from edgernn.program import Array, Op, Timing, Value

STEPS = "steps"  # what the step counter's state is called
LEFT = "frames_left"
FAULT = "this is a fault of edgernn's rule: report it with the module"
# rules that take a layer's final state as it is; all others get it as the newest frame of its layers
SEES_STATES = ("getitem", "select.int", "squeeze.dim", "unsqueeze.default", "view.default", "reshape.default")
STATEFUL = ("gru", "lstm", "rnn_relu", "rnn_tanh", "scan")  # what takes an initial state


@dataclass(frozen=True)
class Window:
    """A window over frames: `value` `[kept + frames, …]`, output `j` of a step starts at `first + j * stride`."""

    value: str
    first: int
    count: int
    timing: Timing  # of the outputs


class Translator:
    """Walks the captured graph; `env` maps its nodes to symbols."""

    def __init__(
        self,
        captured: Captured,
        hop: int,
        reserved: frozenset[str] = frozenset(),
        lookahead: Lookahead | None = None,
    ) -> None:
        self.captured = captured
        self.lookahead = lookahead
        self.looked: dict[str, tuple[int, int]] = {}  # layer's path → its frames of the future and of a block
        self.hop = hop
        self.builder = Builder(reserved)
        self.builder.values[LEFT] = Value(LEFT, "int64", ())
        self.env: dict[fx.Node, Any] = {}
        self.within = ""  # path of the custom cell whose body is being translated
        self._steps = ""
        self._crowd = _nodes_per_path(captured.graphs[0])
        self._validities: dict[tuple[Any, ...], str] = {}
        self._delayed: dict[tuple[str, int], Timed] = {}
        self._timings: dict[Timing, None] = {}  # lengths that values of the module have, in order

    # --- the graph -------------------------------------------------------------------------------------------

    def input(self, name: str, shape: Shape, axis: int, dtype: str) -> Timed:
        """Declare a timed input of the program, `[hop, …]`."""
        timing = Timing()
        self._timings.setdefault(replace(timing, receptive_field=None))
        self.builder.values[name] = Value(name, dtype, (self.hop, *frame_shape(shape, axis)), timing)
        return Timed(name, shape, axis, timing)

    def run(self, graph: fx.Graph, root: torch.nn.Module) -> None:
        """Translate all nodes of `graph`, whose placeholders are in `env` already; `root` holds its attributes."""
        for node in graph.nodes:
            if node.op == "call_function":
                self.env[node] = self._translate(node)
                if out_of_place(op_name(node)) is not None and isinstance(node.args[0], fx.Node):
                    self.env[node.args[0]] = self.env[node]
            elif node.op == "get_attr":
                held = operator.attrgetter(str(node.target))(root)
                self.env[node] = Const(held, str(node.target)) if isinstance(held, torch.Tensor) else held

    def resolve(self, argument: Any) -> Any:
        """An argument of a node with nodes replaced by their symbols."""
        return fx.node.map_aggregate(argument, lambda item: self.env[item] if isinstance(item, fx.Node) else item)

    def shape(self, node: fx.Node) -> Any:
        """Shape (or shapes) of a node for the whole sequence at the first length."""
        return self.captured.shape(node)

    def mixed(self, node: fx.Node, x: Timed, shape: Shape, axis: int) -> Timed:
        """A reshape that puts frames and features into one axis."""
        raise UnsupportedError(
            "mixes frames with features",
            hint="reshape each frame's own axes only, or fold k frames: x.view(1, T // k, -1)",
        )

    def result_of(self, place: int, symbol: Timed) -> Timed:
        """What the stream gives for the module's result at `place`."""
        return symbol

    def axis(self, node: fx.Node, index: int | None = None) -> int | None:
        """Time axis of a node's result (of result `index`): where its shapes at the two lengths differ."""
        first = self.captured.shape(node)
        if node.name not in self.captured.second or node.graph is not self.captured.graphs[0]:
            return None
        second = self.captured.twin_shape(node)
        if index is not None:
            first, second = first[index], second[index]
        return time_axis(first, second, node)

    def name(self, node: fx.Node, suffix: str = "") -> str:
        """Name for the operation of a node: its module's path, and its own name where the module has several."""
        path = module_path(node) or self.within
        base = path if path and self._crowd.get(path, 0) == 1 else ".".join(filter(None, (path, node.name)))
        return f"{base}.{suffix}" if suffix else base

    def _translate(self, node: fx.Node) -> Any:
        args, kwargs = self.resolve(node.args), self.resolve(dict(node.kwargs))
        symbols = [item for item in _flatten((args, kwargs)) if isinstance(item, (Timed, Const, FinalState))]
        timed = any(isinstance(item, (Timed, FinalState)) for item in symbols)
        name = op_name(node)
        if name.startswith("_assert"):
            return None
        functional = None if find_rule(name) else out_of_place(name)
        self._refuse_square(node)
        try:
            if functional is not None:
                refuse_shared(node)
                name = functional
            if not timed and not self._length_dependent(node):
                return self._fold(node, args, kwargs)
            self._refuse_state_inputs(symbols, name)
            rule = find_rule(name)
            if rule is None:
                raise UnsupportedError(
                    "has no streaming rule yet",
                    hint="write it with other operations, or as a cell with a state: `edgernn.nn.Recurrent(cell)`",
                )
            if not knows_complex(name) and any(isinstance(item, Timed) and item.complex for item in symbols):
                raise UnsupportedError("takes a complex value", hint="take `abs()` or `torch.view_as_real` of it first")
            if name not in SEES_STATES:
                args, kwargs = _map((args, kwargs), lambda x: self.stacked(x) if isinstance(x, FinalState) else x)
            return rule(self, node, *args, **kwargs)
        except ExportError as error:
            if error.place:
                raise
            raise type(error)(error.cause, place=_place(node), hint=error.hint) from error
        except (AttributeError, AssertionError, TypeError, ValueError) as error:
            raise UnsupportedError(
                f"its rule does not know this use of it ({error})", place=_place(node), hint=FAULT
            ) from error

    def _length_dependent(self, node: fx.Node) -> bool:
        if node.name not in self.captured.second or node.graph is not self.captured.graphs[0]:
            return False
        return bool(self.captured.shape(node) != self.captured.twin_shape(node))

    def _fold(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        """Compute a node that depends on parameters and constants only."""
        if not callable(node.target):
            raise UnsupportedError("cannot be computed at export")
        states = [item for item in _flatten((args, kwargs)) if isinstance(item, StateInput)]

        def tensor(item: Any) -> Any:
            return item.tensor.clone() if isinstance(item, Const) else item  # which may be changed in place

        with torch.no_grad():
            value = node.target(*_map(args, tensor), **_map(kwargs, tensor))
        kind = StateInput if states else Const

        def const(item: Any) -> Any:
            return kind(item, self.name(node)) if isinstance(item, torch.Tensor) else item

        return _map(value, const)

    def _refuse_square(self, node: fx.Node) -> None:
        """Refuse what has time on two axes."""
        if node.name in self.captured.second and node.graph is self.captured.graphs[0]:
            for first, second in _pairs(self.captured.shape(node), self.captured.twin_shape(node)):
                time_axis(first, second, node)

    def _refuse_state_inputs(self, symbols: Sequence[Symbol], name: str) -> None:
        if name.split(".")[0] in STATEFUL:
            return
        for item in symbols:
            if isinstance(item, StateInput):
                raise UnsupportedError(
                    f"input `{item.name}` has no frames, so it can only be the initial state of a recurrent layer",
                    hint="register it as a buffer of the module, or give it a time axis",
                )

    # --- results ---------------------------------------------------------------------------------------------

    def add(self, kind: type[Op], name: str, timing: Timing | None, /, **fields: Any) -> str:
        """Append an operation with one result."""
        return self.builder.add(kind, name, timing, **fields)[0]

    def frames(self, timing: Timing) -> int:
        """Frames per step of a value."""
        return self.hop // timing.period * timing.group

    def result(self, node: fx.Node, value: str, like: Timed, *, timing: Timing | None = None) -> Timed:
        """The symbol of a node whose value has been made; checks it against the shapes PyTorch gave."""
        shape, axis = self.shape(node), self.axis(node)
        timing = timing or like.timing
        if axis is not None and not like.free:
            timing = self.agreed(node, axis, timing) or timing
        made = self.symbol(
            value, shape, axis, timing, newest=like.axis is None, free=like.free, parts=(2,) if like.complex else ()
        )
        return replace(made, complex=like.complex, angle=like.angle, turned=like.turned)

    def symbol(
        self,
        value: str,
        shape: Shape,
        axis: int | None,
        timing: Timing,
        *,
        newest: bool = False,
        free: bool = False,
        parts: Shape = (),
    ) -> Timed:
        """A symbol for a value that has been made; checks its shape (`parts` is what it has beside) and its length."""
        expected = (self.frames(timing), *frame_shape(shape, axis), *parts)
        if axis is None and not newest:
            raise UnsupportedError("the result no longer has a time axis", hint="keep time as an axis of its own")
        if self.builder.shape(value) != expected:
            raise ExportError(f"its rule makes {self.builder.shape(value)}, PyTorch {expected}", hint=FAULT)
        if axis is not None and not free:
            length = timing.length(self.captured.lengths[0])
            if length != shape[axis]:
                raise ExportError(f"its rule makes {length} frames, PyTorch {shape[axis]}", hint=FAULT)
            self._timings.setdefault(replace(timing, delay=0, receptive_field=None))
        return Timed(value, shape, axis, timing, free=free)

    def agreed(self, node: fx.Node, axis: int, timing: Timing) -> Timing | None:
        """`timing` with the length that PyTorch's result has for every sequence.

        Where a module brings a value to the length of another, which has as many frames per step, how many frames it
        cuts or adds depends on the sequence: the result has the other one's length. None where there is none such.
        """
        lengths = self.captured.lengths_of(node, axis)
        for known in (timing, *self._timings):
            ratio = known.period * timing.group == timing.period * known.group
            if ratio and all(known.length(frames) == length for frames, length in lengths.items()):
                return replace(known, delay=timing.delay, receptive_field=timing.receptive_field)
        return None

    def constant(self, const: Const) -> str:
        """The name of a constant as a parameter of the program."""
        return self.builder.parameter(const.name, to_numpy(const.tensor))

    def number(self, value: float | int | bool, dtype: str) -> str:
        """A parameter that holds one number."""
        return self.builder.parameter(f"number.{value}", np.asarray(value, dtype))

    # --- time ------------------------------------------------------------------------------------------------

    def settle(self, symbol: Timed) -> Timed:
        """Make the frames that were padded around a value."""
        pad = symbol.pad
        if pad is None:
            return symbol
        if pad.mode != "constant" and (pad.before > 0 or pad.after > 0):
            raise UnsupportedError(
                f"`{pad.mode}` padding over time streams only in front of `torch.stft`",
                hint="pad with zeros: `F.pad(x, (left, right))`",
            )
        inner = self.mask(replace(symbol, pad=None), pad, f"{symbol.value}.pad")
        shift = max(0, pad.before - inner.timing.delay)
        delay = inner.timing.delay - pad.before + shift
        value = self._shifted(inner, shift, pad.value)
        timing = replace(inner.timing.longer(pad.before + pad.after), delay=delay)
        return replace(inner, value=value, timing=timing)

    def pad(self, symbol: Timed, pad: Pad) -> Timed:
        """The same value with more frames around it, or fewer; they are made where they are read."""
        axis = symbol.axis
        assert axis is not None
        length = symbol.shape[axis] + pad.before + pad.after
        joined = pad if symbol.pad is None else symbol.pad.join(pad)
        if joined is None:
            symbol, joined = self.settle(symbol), pad
        shape = (*symbol.shape[:axis], length, *symbol.shape[axis + 1 :])
        return replace(symbol, shape=shape, pad=joined if joined.before or joined.after else None)

    def cut(self, node: fx.Node, symbol: Timed, before: int, after: int) -> Timed:
        """The same value without some frames at its ends, as many as PyTorch's result lacks."""
        axis, made = symbol.axis, self.pad(symbol, Pad(-before, -after))
        assert axis is not None
        length = (made.timing if made.pad is None else made.timing.longer(made.pad.before + made.pad.after)).length
        if all(length(frames) == count for frames, count in self.captured.lengths_of(node, axis).items()):
            return made
        settled = self.settle(made)
        timing = self.agreed(node, axis, settled.timing)
        if timing is None:
            raise UnsupportedError(
                "cuts another number of frames off at other lengths", hint="cut to the length of an input, or not"
            )
        return replace(settled, timing=timing)

    def mask(self, symbol: Timed, pad: Pad, name: str) -> Timed:
        """Put the padding's value into the frames outside the sequence that a consumer of the padding will read."""
        end = pad.after > 0
        symbol = self.certain(symbol) if end else symbol
        start = pad.before > 0 and symbol.timing.delay > 0
        if not (start or end):
            return symbol
        valid = self.validity(symbol.timing, start=start, end=end)
        value = self.add(ops.Mask, f"{name}.mask", symbol.timing, x=symbol.value, valid=valid, fill=float(pad.value))
        return replace(symbol, value=value)

    def delay(self, symbol: Timed, frames: int) -> Timed:
        """The same value `frames` frames later."""
        if frames == 0:
            return symbol
        key = (symbol.value, frames)
        if key not in self._delayed:
            value = self._shifted(symbol, frames, 0.0)
            timing = replace(symbol.timing, delay=symbol.timing.delay + frames)
            self.builder.values[value] = replace(self.builder.values[value], timing=timing)
            self._delayed[key] = replace(symbol, value=value, timing=timing)
        kept = self._delayed[key]
        return replace(symbol, value=kept.value, timing=kept.timing)

    def _shifted(self, symbol: Timed, frames: int, fill: float) -> str:
        if frames == 0:
            return symbol.value
        name = self.builder.unique(f"{symbol.value}.delay")
        window = self._history(symbol, frames, fill, name)
        return self.add(
            ops.Slice,
            name,
            symbol.timing,
            x=window,
            axis=0,
            start=0,
            end=self.frames(symbol.timing),
        )

    def stacked(self, state: FinalState) -> Timed:
        """A recurrent layer's final state as a value: the newest frame of each of its layers."""
        if state.layers is None:
            raise UnsupportedError(
                "uses a final state that a stream doesn't have: an LSTM's c, or with lookahead",
                hint="use the final h, or the output `y[:, -1]`",
            )
        timing = self.meet(state.layers)
        layers = self.align([replace(layer, axis=None, shape=state.shape[1:]) for layer in state.layers])
        shape = (self.frames(timing), 1, *state.shape[1:])
        name = f"{layers[-1].value}.states"
        parts = tuple(
            self.add(ops.Reshape, f"{name}.part", layer.timing, x=layer.value, shape=shape) for layer in layers
        )
        value = self.add(ops.Concat, name, layers[-1].timing, parts=parts, axis=1)
        return self.symbol(value, state.shape, None, layers[-1].timing, newest=True)

    def certain(self, symbol: Timed) -> Timed:
        """A value late enough that each of its frames is known to lie before the end when it comes.

        Where a module cuts frames off its end, the newest frames so far may be those.
        """
        return self.delay(symbol, max(0, -symbol.timing.length(0) - symbol.timing.delay))

    def align(self, symbols: Sequence[Timed]) -> list[Timed]:
        """Bring values that meet in one operation to the largest of their delays."""
        settled = [self.settle(symbol) for symbol in symbols]
        rates = {Fraction(symbol.timing.period, symbol.timing.group) for symbol in settled}
        if len(rates) > 1:
            raise UnsupportedError(
                f"values with {' and '.join(map(str, sorted(rates)))} input frames per frame meet",
                hint="bring both to one rate before they meet",
            )
        newest = [symbol for symbol in settled if symbol.axis is None]
        if 0 < len(newest) < len(settled):
            raise UnsupportedError(
                f"a value of every frame meets `{newest[0].value}`, the newest frame or what the whole sequence was"
                " pooled to, which a stream doesn't have yet",
                hint="use a running value (cumsum), a state: `edgernn.nn.Recurrent(cell)`; of decibels `top_db=None`",
            )
        latest = max(symbol.timing.delay for symbol in settled)
        return [self.delay(symbol, latest - symbol.timing.delay) for symbol in settled]

    def meet(self, symbols: Sequence[Timed]) -> Timing:
        """Timing of a value made from aligned ones, of the smallest groups among theirs."""
        true = [symbol for symbol in symbols if not symbol.free] or list(symbols)
        fields = [symbol.timing.receptive_field for symbol in true]
        field = None if None in fields else max(cast(list[int], fields))
        finest = min((symbol.timing for symbol in true), key=lambda timing: timing.group)
        return replace(finest, receptive_field=field)

    def whole_steps(self, symbol: Timed) -> tuple[Timed, str]:
        """A value for a layer with state: its delay a whole number of steps; and whether the state moves.

        The second result names a bool that is false while the frames are from before the sequence, or is "".
        """
        symbol = self.settle(symbol)
        frames = self.frames(symbol.timing)
        symbol = self.delay(symbol, -symbol.timing.delay % frames)
        if symbol.timing.delay == 0:
            return symbol, ""
        return symbol, self.validity(symbol.timing, start=True, end=False, scalar=True)

    def window(self, symbol: Timed, span: int, stride: int, pad: Pad, name: str) -> Window:
        """A window of `span` frames every `stride` frames over a value with `pad` around it (and its own).

        `name` is the operation's that reads the window: its history is a state of that name.
        """
        if symbol.pad is not None:
            joined = symbol.pad.join(pad)
            symbol = self.settle(symbol) if joined is None else replace(symbol, pad=None)
            pad = pad if joined is None else joined
        mirror = pad.mode == "reflect" and (pad.before > 0 or pad.after > 0)
        if not mirror and pad.mode != "constant":
            raise UnsupportedError(f"`{pad.mode}` padding over time doesn't stream", hint="pad with zeros")
        # a mirrored frame may lie further ahead (at the start) or further back (at the end) than the window itself
        ahead = max(0, 2 * pad.before - span + 1) if mirror else 0
        back = max(0, 2 * pad.after - span + 1) if mirror else 0
        symbol = self.certain(symbol) if mirror else self.mask(symbol, pad, name)
        timing = symbol.timing
        reach = span - 1 + ahead - pad.before + timing.delay
        delay = max(0, -((stride - 1 - reach) // stride))
        phase = reach - delay * stride
        kept = max(0, span - 1 + ahead + back - phase)
        value = self._history(symbol, kept, pad.value if not mirror else 0.0, name)
        if mirror:
            value = self.add(
                ops.Reflect,
                f"{name}.reflect",
                timing,
                window=value,
                steps=self.steps(),
                left=LEFT,
                frames=self.frames(timing),
                **_clock(timing),
            )
        slower = self.slower(timing.longer(pad.before + pad.after - span + stride), stride)
        return Window(
            value=value,
            first=kept + phase - ahead - span + 1,
            count=self.frames(timing) // stride,
            timing=replace(slower, delay=delay, receptive_field=timing.widened(span - 1).receptive_field),
        )

    def slower(self, timing: Timing, stride: int) -> Timing:
        """Timing of one frame for every `stride`, the delay left as it is."""
        try:
            return timing.slower(stride)
        except ValueError:
            raise UnsupportedError(
                f"takes one of {stride} frames where {timing.group} come at a time",
                hint=f"take one of a number that divides {timing.group}, or that it divides",
            ) from None

    def _history(self, symbol: Timed, kept: int, fill: float, name: str) -> str:
        if kept == 0:
            return symbol.value
        shape = self.builder.shape(symbol.value)[1:]
        initial = np.full((kept, *shape), fill, self.builder.dtype(symbol.value))
        incoming, outgoing = self.builder.state(name, "past", initial)
        name = self.builder.unique(f"{name}.window")
        self.builder.add(ops.History, name, (symbol.timing, None), (name, outgoing), x=symbol.value, past=incoming)
        return name

    def steps(self) -> str:
        """The step counter, int64 `[]`: the number of steps since reset before this one."""
        if not self._steps:
            incoming, outgoing = self.builder.state(STEPS, "count", np.zeros((), np.int64))
            self.builder.add(ops.CountSteps, "count_steps", None, (outgoing,), steps=incoming)
            self._steps = incoming
        return self._steps

    def validity(self, timing: Timing, *, start: bool, end: bool, scalar: bool = False) -> str:
        """Which frames of a step lie behind the sequence's start and before its end."""
        clock = _clock(timing if end else replace(timing, offset=0, extra=0))
        key = (*clock.values(), start, end, scalar)
        if key not in self._validities:
            self._validities[key] = self.add(
                ops.Validity,
                "validity",
                None,
                steps=self.steps() if start else "",
                left=LEFT if end else "",
                frames=self.frames(timing),
                scalar=scalar,
                **clock,
            )
        return self._validities[key]

    def state(self, name: str, suffix: str, initial: Array) -> tuple[str, str]:
        """A state pair of operation `name`: names of its input and its output."""
        return self.builder.state(name, suffix, initial)


def hop_of(captured: Captured, lookahead: Lookahead | None = None) -> int:
    """Input frames per step: the least common multiple of the input frames per frame of every value.

    With lookahead, also of the blocks of each bidirectional layer.
    """
    hop = 1
    for node in captured.graphs[0].nodes:
        if node.op != "call_function":
            continue
        pairs = _pairs(captured.shape(node), captured.twin_shape(node))
        for first, second in pairs:
            axes = [axis for axis, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
            if len(axes) == 1:  # what has more is refused where it is translated
                period = captured.period(first[axes[0]], second[axes[0]])
                hop = math.lcm(hop, period.numerator)
                if lookahead is not None and bidirectional_over(node) == axes[0]:
                    hop = math.lcm(hop, (lookahead.of(period)[1] * period).numerator)
    return hop


def _clock(timing: Timing) -> dict[str, int]:
    """What `Validity` and `Reflect` know of a value's timing."""
    return {name: getattr(timing, name) for name in ("period", "offset", "delay", "group", "extra")}


def _place(node: fx.Node) -> str:
    return f"`{module_path(node) or 'forward'}`, `{op_name(node).split('.')[0]}`"


def time_axis(first: Shape, second: Shape, node: fx.Node) -> int | None:
    """The axis in which the shapes at two lengths differ, None where they are equal."""
    axes = [axis for axis, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    if len(axes) > 1:
        raise UnsupportedError(
            "relates every frame with every frame",
            place=_place(node),
            hint="use a recurrent layer; `--mode window:N` takes the sequence in pieces of N frames, each as a whole",
        )
    return axes[0] if axes else None


def to_numpy(tensor: torch.Tensor) -> Array:
    """A tensor as a contiguous array of its own."""
    return np.array(tensor.detach().cpu().contiguous().numpy())


def _pairs(first: Any, second: Any) -> list[tuple[Shape, Shape]]:
    if isinstance(first, list):
        return [pair for a, b in zip(first, second, strict=True) for pair in _pairs(a, b)]
    return [(first, second)]


def _nodes_per_path(graph: fx.Graph) -> Mapping[str, int]:
    counts: dict[str, int] = {}
    for node in graph.nodes:
        if node.op == "call_function" and op_name(node) not in ("getitem", "zeros.default"):
            counts[module_path(node)] = counts.get(module_path(node), 0) + 1
    return counts


def _flatten(item: Any) -> list[Any]:
    if isinstance(item, (list, tuple)):
        return [leaf for part in item for leaf in _flatten(part)]
    if isinstance(item, dict):
        return [leaf for part in item.values() for leaf in _flatten(part)]
    return [item]


def _map(item: Any, change: Any) -> Any:
    if isinstance(item, (list, tuple)):
        return type(item)(_map(part, change) for part in item)
    if isinstance(item, dict):
        return {key: _map(part, change) for key, part in item.items()}
    return change(item)
