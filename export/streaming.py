"""Translate a captured sequence module into the operations of a step, node by node, with one rule per operation."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import fx

from edgernn import ops
from edgernn.errors import ExportError, UnsupportedError
from edgernn.export.account import TimeAccount
from edgernn.export.capture import Captured
from edgernn.export.in_place import out_of_place, refuse_shared
from edgernn.export.lengths import LengthDependent, literals
from edgernn.export.modes import Lookahead, Reach
from edgernn.export.nodes import bidirectional_over, module_path, op_name, place_of
from edgernn.export.rules import find_attention_rule, find_rule, knows_complex
from edgernn.export.rules.positions import WAVES, turning
from edgernn.export.symbols import (
    Const,
    FinalState,
    LengthOnly,
    Pad,
    Scores,
    Shape,
    StateInput,
    Symbol,
    Timed,
    TimeWeights,
    frame_shape,
)
from edgernn.program import Timing, Value

WEIGHTS_HINT = "multiply frames by them and sum up over time; a stream gives no weights"
FAULT = "this is a fault of edgernn's rule: report it with the module"
# rules that take a layer's final state as it is; all others get it as the newest frame of its layers
SEES_STATES = ("getitem", "select.int", "squeeze.dim", "unsqueeze.default", "view.default", "reshape.default")
# which read of an operand no more than its shape
SHAPED_LIKE = ("zeros_like.default", "ones_like.default", "full_like.default")
ATTENTION = (Scores, TimeWeights)  # symbols that rules of their own take
OTHER_FLOATS = (torch.float64, torch.float16, torch.bfloat16, torch.complex128)
# operations whose numbers are no sizes
ARITHMETIC = ("add", "sub", "rsub", "mul", "div", "pow", "clamp", "clamp_min", "clamp_max")
STATEFUL = ("gru", "lstm", "rnn_relu", "rnn_tanh", "scan")  # what takes an initial state


class Translator(TimeAccount):
    """Walks the captured graph; `env` maps its nodes to symbols."""

    def __init__(
        self,
        captured: Captured,
        hop: int,
        reserved: frozenset[str] = frozenset(),
        reach: Reach | None = None,
    ) -> None:
        super().__init__(hop, reserved)
        self.captured = captured
        self.reach = reach or Reach()
        self.looked: dict[str, tuple[int, int]] = {}  # layer's path → its frames of the future and of a block
        self.windowed: dict[str, tuple[int, int]] = {}  # path → frames that attention there was limited to
        self.by_length = LengthDependent(captured)
        self.turned: dict[fx.Node, tuple[str, str]] = {}  # an angle of positions → its cosine and sine
        self._made: dict[fx.Node, Any] = {}  # of what depends on the length alone, what became operations
        self.env: dict[fx.Node, Any] = {}
        self.within = ""  # path of the custom cell whose body is being translated
        self._crowd = _nodes_per_path(captured.graphs[0])
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
        read = self._read_nodes(graph)
        for node in graph.nodes:
            if node.op == "call_function" and node in read:
                self.env[node] = self._translate(node)
                if out_of_place(op_name(node)) is not None and isinstance(node.args[0], fx.Node):
                    self.env[node.args[0]] = self.env[node]
            elif node.op == "get_attr":
                held = operator.attrgetter(str(node.target))(root)
                self.env[node] = Const(held, str(node.target)) if isinstance(held, torch.Tensor) else held

    def _read_nodes(self, graph: fx.Graph) -> set[fx.Node]:
        """The nodes that the results depend on, and those that change a value in place."""
        read: set[fx.Node] = set()
        for node in reversed(graph.nodes):
            changes = node.op == "call_function" and out_of_place(op_name(node)) is not None
            users = (user for user in node.users if not self._shape_alone(user))
            if node.op == "output" or changes or any(user in read for user in users):
                read.add(node)
        return read

    def _shape_alone(self, node: fx.Node) -> bool:
        """Whether a node is filled with a constant in the shape of something, which has no frames."""
        return op_name(node) in SHAPED_LIKE and not self._length_dependent(node)

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
        if self._shape_alone(node):
            return self._filled(node)
        args, kwargs = self.resolve(node.args), self.resolve(dict(node.kwargs))
        if node in self.by_length.nodes:
            return LengthOnly(node, args, kwargs)
        rule = find_attention_rule(op_name(node)) if self._attends(node, args) else None
        if rule is not None:
            with _faults_of(node):
                if out_of_place(op_name(node)) is not None:
                    refuse_shared(node)
                return rule(self, node, *args, **kwargs)
        return self._apply(node, *self.made((args, kwargs)))

    def made(self, item: Any) -> Any:
        """Symbols with operations in the place of what depends on the length alone."""
        return _map(item, lambda leaf: self._make(leaf) if isinstance(leaf, LengthOnly) else leaf)

    def _make(self, symbol: LengthOnly) -> Any:
        node = symbol.node
        if node not in self._made:
            made = turning(self, node) if op_name(node) in WAVES else None
            self._made[node] = made or self._apply(node, *self.made((symbol.arguments, symbol.keywords)))
        return self._made[node]

    def _apply(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        """What an operation's rule makes of its arguments."""
        symbols = [item for item in _flatten((args, kwargs)) if isinstance(item, (Timed, Const, FinalState))]
        timed = any(isinstance(item, (Timed, FinalState)) for item in symbols)
        name = op_name(node)
        if name.startswith("_assert"):
            return None
        functional = None if find_rule(name) else out_of_place(name)
        self._refuse_square(node)
        if _has(ATTENTION, (args, kwargs)):
            raise UnsupportedError("reads the weights of an attention", place=place_of(node), hint=WEIGHTS_HINT)
        with _faults_of(node):
            if functional is not None:
                refuse_shared(node)
                name = functional
            if not timed and not self._length_dependent(node):
                return self._fold(node, args, kwargs)
            self._refuse_state_inputs(symbols, name)
            _refuse_floats(node)
            self._refuse_length(node)
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

    def _filled(self, node: fx.Node) -> Const:
        """A constant in the shape of something that has no frames."""
        value = node.meta["val"]
        number = {"zeros_like.default": 0, "ones_like.default": 1}.get(op_name(node))
        number = self.resolve(node.args[1]) if number is None else number
        return Const(torch.full(self.shape(node), number, dtype=value.dtype), self.name(node))

    def _attends(self, node: fx.Node, args: Any) -> bool:
        """Whether frames attend to frames in an operation."""
        if op_name(node).startswith("scaled_dot_product_attention"):
            return any(isinstance(item, Timed) and item.axis == len(item.shape) - 2 for item in args[:3])
        return self._square(node) or _has(ATTENTION, args)

    def _square(self, node: fx.Node) -> bool:
        """Whether a node's result has time on two axes."""
        if node.name not in self.captured.second or node.graph is not self.captured.graphs[0]:
            return False
        pairs = _pairs(self.captured.shape(node), self.captured.twin_shape(node))
        return any(sum(a != b for a, b in zip(first, second, strict=True)) > 1 for first, second in pairs)

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

    def _refuse_length(self, node: fx.Node) -> None:
        """Refuse arithmetic with a number that is another one at another length, as `x / x.shape[1]`."""
        if op_name(node).split(".")[0].removesuffix("_") not in ARITHMETIC or node.graph is not self.captured.graphs[0]:
            return
        first, second = literals(node), literals(self.captured.second[node.name])
        if repr(first) != repr(second):  # NaN is not equal to itself
            lengths = " and ".join(str(length) for length in self.captured.lengths)
            raise UnsupportedError(
                f"depends on the sequence's length: its number is another one at {lengths} frames",
                hint="take a constant, or `x.mean(1)` for a mean over time: a stream doesn't know how long it will be",
            )

    # --- results ---------------------------------------------------------------------------------------------

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

    def stacked(self, state: FinalState) -> Timed:
        """A recurrent layer's final state as a value: the newest frame of each of its layers."""
        if state.layers is None:
            raise UnsupportedError(
                "uses a final state that a stream doesn't have: with lookahead, or c where a step has several frames",
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


def _refuse_floats(node: fx.Node) -> None:
    """Refuse floats of another width: a stream computes in float32."""
    value = node.meta.get("val")
    for item in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(item, torch.Tensor) and item.dtype in OTHER_FLOATS:
            raise UnsupportedError(
                f"computes in {str(item.dtype).removeprefix('torch.')}; a stream does in float32",
                hint="export `module.float()`, and cast to no other float in forward()",
            )


@contextmanager
def _faults_of(node: fx.Node) -> Iterator[None]:
    """Errors get the node's place where they have none; what is no error of ours is a rule's fault."""
    try:
        yield
    except ExportError as error:
        if error.place:
            raise
        raise type(error)(error.cause, place=place_of(node), hint=error.hint) from error
    except (AttributeError, AssertionError, TypeError, ValueError) as error:
        cause = f"its rule does not know this use of it ({error})"
        raise UnsupportedError(cause, place=place_of(node), hint=FAULT) from error


def _has(kinds: tuple[type, ...], item: Any) -> bool:
    return any(isinstance(leaf, kinds) for leaf in _flatten(item))


def time_axis(first: Shape, second: Shape, node: fx.Node) -> int | None:
    """The axis in which the shapes at two lengths differ, None where they are equal."""
    axes = [axis for axis, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    if len(axes) > 1:
        raise UnsupportedError(
            "relates every frame with every frame",
            place=place_of(node),
            hint="use a recurrent layer; `--mode window:N` takes the sequence in pieces of N frames, each as a whole",
        )
    return axes[0] if axes else None


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
