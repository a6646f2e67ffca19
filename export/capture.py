"""Capture a module with `torch.export` at two lengths; the shapes that differ show where time is.

`torch.export` at a static length keeps recurrent layers whole and loses nothing; with a dynamic time axis it freezes
or unrolls them (docs/why-not-torch-onnx-export.md). So the example is cut or repeated to two lengths and the two
graphs are compared node by node. A graph that itself changes with the length is a Python loop over time.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, TypeVar

import torch
from torch import fx, nn
from torch.export.graph_signature import InputKind, OutputKind

from edgernn.errors import EdgeRNNError, ExportError, UnsupportedError
from edgernn.export.decompose import decomposed
from edgernn.export.faults import failed_module, first_line, most_repeated, other_floats, refuse_packed, refuse_scripted
from edgernn.export.nodes import op_name, place_of
from edgernn.nn import Recurrent, scan_over_time

T = TypeVar("T")
Shape = tuple[int, ...]
LOOP_HINT = "wrap the cell as `edgernn.nn.Recurrent(cell)`, or use nn.RNN, nn.GRU or nn.LSTM"
BRANCH_HINT = "do the same at every length: a stream doesn't know how long it will be"
# what makes more frames than it takes
FASTER = (
    "conv_transpose1d",
    "conv_transpose2d",
    "istft",
    "repeat_interleave",
    "upsample_nearest1d",
    "upsample_nearest2d",
)
_FLOATS = (torch.float32,)
_INTEGERS = (torch.int64, torch.int32)
FLOAT_HINT = "export `module.float()` with a float32 example"
INTEGER_HINT = "give the example as int64, int32 or float32, and cast it in forward() where that matters"


@dataclass(frozen=True)
class TimedInput:
    """An argument of `forward` that has frames."""

    name: str
    position: int  # in the flattened example
    axis: int


@dataclass(frozen=True)
class Source:
    """What is exported: something to call, its example as a flat list, and which of its inputs have a time axis."""

    module: nn.Module
    example: tuple[torch.Tensor, ...]
    timed: tuple[TimedInput, ...]

    @property
    def length(self) -> int:
        """Frames of the example."""
        first = self.timed[0]
        return int(self.example[first.position].shape[first.axis])

    def example_of(self, length: int) -> tuple[torch.Tensor, ...]:
        """The example cut or repeated to `length` frames."""
        tensors = list(self.example)
        for item in self.timed:
            whole = tensors[item.position]
            index = torch.arange(length) % whole.shape[item.axis]
            tensors[item.position] = whole.index_select(item.axis, index)
        return tuple(tensors)


@dataclass(frozen=True)
class Captured:
    """A module as two `torch.export` graphs that agree but for their length."""

    source: Source
    lengths: tuple[int, int]
    graphs: tuple[fx.Graph, fx.Graph]
    roots: tuple[nn.Module, nn.Module]  # where a graph's `get_attr` nodes look
    constants: dict[str, torch.Tensor]  # placeholder name → parameter, buffer or constant
    twin_constants: dict[str, torch.Tensor]  # of the graph at the second length
    targets: dict[str, str]  # placeholder name → name in the module's state_dict
    inputs: dict[str, int]  # placeholder name → position in the flattened example
    outputs: tuple[tuple[str, fx.Node], ...]  # name → node, in the order the module returns them
    second: dict[str, fx.Node]  # node name at the first length → its twin at the second
    odd: dict[str, Any]  # node name → shapes one frame beyond the first length; empty where it needs no look

    def shape(self, node: fx.Node) -> Any:
        """Shape (or list of shapes) of a node at the first length."""
        return _shape(node.meta.get("val"))

    def twin_shape(self, node: fx.Node) -> Any:
        """Shape (or list of shapes) of a node at the second length."""
        return _shape(self.second[node.name].meta.get("val"))

    def lengths_of(self, node: fx.Node, axis: int) -> dict[int, int]:
        """Elements of an axis of a node's result, by the length of the sequence; of all lengths that were captured."""
        found = {self.lengths[0]: self.shape(node)[axis]}
        if node.name in self.second and node.graph is self.graphs[0]:
            found[self.lengths[1]] = self.twin_shape(node)[axis]
            if node.name in self.odd:
                found[self.lengths[0] + 1] = self.odd[node.name][axis]
        return found

    def period(self, before: int, after: int) -> Fraction:
        """Input frames per frame of a value with these lengths at the two captured lengths."""
        return Fraction(self.lengths[1] - self.lengths[0], after - before)


def describe(module: nn.Module, example: Any, time_axis: int | Sequence[int | None]) -> Source:
    """Find the timed inputs among the example's tensors.

    `example` is a tensor or a tuple of them, as `module(*example)` takes. `time_axis` is the position of time in
    every input, or one entry per input (None for one without frames, such as an initial state). A module with a
    `step` and no `forward` is a cell, as `Recurrent` takes them. Raises `ExportError` for inputs that are no float32 or
    integer tensors, have no elements, or disagree on their length, and for TorchScript.
    """
    refuse_scripted(module)
    if type(module).forward is nn.Module.forward and hasattr(module, "step"):
        module = Recurrent(module)  # a cell alone
    tensors = (example,) if isinstance(example, torch.Tensor) else tuple(example)
    names = _argument_names(module, len(tensors))
    for name, tensor in zip(names, tensors, strict=True):
        if not isinstance(tensor, torch.Tensor):
            raise ExportError(f"the example holds a {type(tensor).__name__}, not a tensor", place=name)
        if tensor.dtype not in _FLOATS + _INTEGERS:
            kinds = "float32, int64 or int32"
            hint = FLOAT_HINT if tensor.is_floating_point() or tensor.is_complex() else INTEGER_HINT
            raise ExportError(f"the example is {tensor.dtype}, not {kinds}", place=name, hint=hint)
        if tensor.numel() == 0:
            shape = list(tensor.shape)
            raise ExportError(f"the example has no elements, {shape}", place=name, hint="give each axis at least one")
    axes = [time_axis] * len(tensors) if isinstance(time_axis, int) else list(time_axis)
    if len(axes) != len(tensors):
        raise ExportError(f"{len(axes)} time axes for {len(tensors)} inputs")
    timed: list[TimedInput] = []
    for position, (name, tensor, axis) in enumerate(zip(names, tensors, axes, strict=True)):
        if axis is None or (
            isinstance(time_axis, int) and position > 0 and not _same_length(tensor, axis, timed, tensors)
        ):
            continue
        if not -tensor.ndim <= axis < tensor.ndim:
            raise ExportError(f"time axis {axis} of an example with shape {list(tensor.shape)}", place=name)
        timed.append(TimedInput(name, position, axis % tensor.ndim))
    if not timed:
        raise ExportError("no input has a time axis", hint="name it: `time_axis=1` or `--time-axis 1`")
    lengths = {int(tensors[item.position].shape[item.axis]) for item in timed}
    if len(lengths) > 1:
        raise ExportError(f"the inputs have {sorted(lengths)} frames; a stream takes them in step")
    if lengths.pop() < 2:
        raise ExportError("the example has fewer than 2 frames", hint="give an example of a few dozen frames")
    return Source(module, tensors, tuple(timed))


def capture(source: Source, bound: int | None = None) -> Captured:
    """Capture `source` at its example's length and at one that is two hops longer.

    `bound` is a multiple of the hop, where it is known beforehand.

    Raises `ExportError` when `torch.export` fails and `UnsupportedError` when the graph changes with the length.
    """
    first = source.length
    short = _export(source, first)
    second = first + 2 * (bound or _stride_bound(short.graph, first))
    long = _export(source, second)
    _pair(short.graph, long.graph, first, second)  # a loop over time is refused as it was written
    short, long = _apart(source, short, first), _apart(source, long, second)
    twins = _pair(short.graph, long.graph, first, second)
    given = [item.arg.name for item in short.graph_signature.input_specs if item.kind is InputKind.USER_INPUT]
    return Captured(
        source=source,
        lengths=(first, second),
        graphs=(short.graph, long.graph),
        roots=(short.graph_module, long.graph_module),
        constants=_constants(short),
        twin_constants=_constants(long),
        targets={item.arg.name: item.target for item in short.graph_signature.input_specs if item.target is not None},
        inputs={name: position for position, name in enumerate(given)},
        outputs=_outputs(short),
        second=twins,
        odd=_odd_shapes(source, short.graph),
    )


def _constants(program: torch.export.ExportedProgram) -> dict[str, torch.Tensor]:
    state = {**dict(program.named_parameters()), **dict(program.named_buffers()), **program.constants}
    found = ((item.arg.name, state.get(item.target)) for item in program.graph_signature.input_specs if item.target)
    return {name: tensor.detach() for name, tensor in found if isinstance(tensor, torch.Tensor)}


def quietly(call: Callable[[], T]) -> T:
    """Run `call` without the warnings that torch gives for its own internals while it exports."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The tensor attributes? self")
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\..*")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\..*")
        warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`", category=FutureWarning)
        warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")
        warnings.filterwarnings("ignore", message="Using padding='same' with even kernel lengths")
        warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")
        return call()


def _export(source: Source, length: int) -> torch.export.ExportedProgram:
    example = source.example_of(length)
    program = _tried(source, length, lambda: torch.export.export(source.module, example, strict=False))
    _refuse_shapes_by_value(program.graph)
    return program


def _apart(source: Source, program: torch.export.ExportedProgram, length: int) -> torch.export.ExportedProgram:
    return _tried(source, length, lambda: decomposed(program))


def _tried(
    source: Source, length: int, call: Callable[[], torch.export.ExportedProgram]
) -> torch.export.ExportedProgram:
    try:
        with torch.no_grad(), _scanning(source.module), _without_trace():
            return quietly(call)
    except EdgeRNNError:  # as from a module of ours, which says itself why it can't be exported
        raise
    except Exception as error:
        refuse_packed(source.module, error)
        raise ExportError(
            f"`torch.export` failed at {length} frames: {first_line(error)}",
            place=failed_module(source.module, error),
            hint=_export_hint(source.module, str(error)),
        ) from error


def _refuse_shapes_by_value(graph: fx.Graph) -> None:
    """Refuse what has another shape with other values, as `x[x > 0]`."""
    for node in graph.nodes:
        value = node.meta.get("val")
        if isinstance(value, torch.Tensor) and not all(isinstance(size, int) for size in value.shape):
            raise UnsupportedError(
                "gives as many elements as its values say",
                place=place_of(node),
                hint="keep all of them: `torch.where(condition, x, 0)` in the place of `x[condition]`",
            )


@contextmanager
def _without_trace() -> Iterator[None]:
    """torch writes a failure's whole trace to its log, beside the exception that says the same."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


@contextmanager
def _scanning(module: nn.Module) -> Iterator[None]:
    """Modules that say how one frame goes, `step(x, *state)`, are captured by that, not by their loop over time."""
    inside = {id(item.cell) for item in module.modules() if isinstance(item, Recurrent)}
    stepping = [
        item
        for item in module.modules()
        if callable(getattr(item, "step", None)) and hasattr(item, "initial_state") and id(item) not in inside
    ]
    for item in stepping:
        item.forward = partial(scan_over_time, item)
    try:
        yield
    finally:
        for item in stepping:
            del item.forward


def _export_hint(module: nn.Module, message: str) -> str:
    other = other_floats(module)
    if other and "dtype" in message:
        return f"{FLOAT_HINT}: {other}"
    if "data-dependent" in message or "Could not guard" in message:
        return "the forward branches on values; make it the same operations for every input"
    return "the module must run under torch.export; check `torch.export.export(module, example, strict=False)`"


def _pair(short: fx.Graph, long: fx.Graph, first: int, second: int) -> dict[str, fx.Node]:
    a, b = list(short.nodes), list(long.nodes)
    if len(a) != len(b) or any(x.target != y.target and x.op == "call_function" for x, y in zip(a, b, strict=False)):
        if len(b) <= len(a) or _kinds(short) != _kinds(long):
            raise UnsupportedError(f"does other operations at {first} frames than at {second}", hint=BRANCH_HINT)
        place, cell = most_repeated(a, b)
        raise UnsupportedError(
            f"the graph changes with the length ({len(a)} nodes at {first} frames, {len(b)} at {second}):"
            " a Python loop over time",
            place=place,
            hint=f"use `nn.{cell}` in the place of `nn.{cell}Cell`: its weights are the same" if cell else LOOP_HINT,
        )
    return {x.name: y for x, y in zip(a, b, strict=True)}


def branches_at(source: Source, length: int) -> bool:
    """Whether a module does operations at `length` frames that it does not at its example's, or the other way round."""
    try:
        return _kinds(_export(source, source.length).graph) != _kinds(_export(source, length).graph)
    except ExportError:
        return False


def _kinds(graph: fx.Graph) -> set[Any]:
    return {node.target for node in graph.nodes if node.op == "call_function"}


def _odd_shapes(source: Source, graph: fx.Graph) -> dict[str, Any]:
    """Shapes at a length that is no multiple of a stride: only there does it show what a module cuts to fit."""
    if not any(op_name(node).split(".")[0] in FASTER for node in graph.nodes):
        return {}
    try:
        with torch.no_grad():
            quietly(lambda: source.module(*source.example_of(source.length + 1)))
    except RuntimeError:  # its branches fit at whole hops only
        return {}
    length = source.length + 1
    other = _apart(source, _export(source, length), length).graph
    if len(other.nodes) != len(graph.nodes):
        return {}
    return {node.name: _shape(twin.meta.get("val")) for node, twin in zip(graph.nodes, other.nodes, strict=True)}


def _stride_bound(graph: fx.Graph, length: int) -> int:
    """A multiple of the model's hop: the product of all strides, hops of transforms and foldings of time."""
    bound = 1
    for node in graph.nodes:
        name = op_name(node).split(".")[0]
        if name in ("conv1d", "conv2d"):
            stride = node.args[3] if len(node.args) > 3 else 1
            bound *= math.prod(stride) if isinstance(stride, (list, tuple)) else int(stride)
        elif name in ("max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d"):
            sizes = node.args[2] if len(node.args) > 2 and node.args[2] else node.args[1]
            bound *= math.prod(sizes) if isinstance(sizes, (list, tuple)) else int(sizes)
        elif name == "stft":
            bound *= int(node.args[2] or node.args[1] // 4)
        elif name in ("view", "reshape", "unflatten"):
            bound *= _folding(_shape(node.args[0].meta["val"]), _shape(node.meta["val"]), length / bound)
        elif name == "slice":
            bound *= int(node.args[4]) if len(node.args) > 4 else 1
        elif name == "unfold":
            bound *= int(node.args[3])
    return bound


def _folding(before: Shape, after: Shape, length: float) -> int:
    """How many frames a reshape may put into one, when an axis of about `length` elements is time."""
    same = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), len(before))
    factors = {
        size // part
        for size in before[same:]
        for part in after[same:]
        if abs(size - length) <= length / 4 and 1 < part < size and size % part == 0
    }
    return math.lcm(*factors)


def _outputs(program: torch.export.ExportedProgram) -> tuple[tuple[str, fx.Node], ...]:
    result = next(node for node in program.graph.nodes if node.op == "output")
    nodes = [
        node
        for node, item in zip(result.args[0], program.graph_signature.output_specs, strict=True)
        if item.kind is OutputKind.USER_OUTPUT
    ]
    names = _output_names(program, len(nodes))
    for name, node in zip(names, nodes, strict=True):
        if not isinstance(node, fx.Node):
            raise ExportError(f"the module returns {node!r}, not a tensor", place=name)
    return tuple(zip(names, nodes, strict=True))


def _output_names(program: torch.export.ExportedProgram, count: int) -> list[str]:
    """`output`, the keys of a returned dict, or `output_0`, `output_1`, …"""
    spec = program.call_spec.out_spec
    if spec is not None and spec.type is dict and spec.num_children == count:
        return [str(key) for key in spec.context]
    return ["output"] if count == 1 else [f"output_{index}" for index in range(count)]


def _shape(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_shape(item) for item in value]
    return tuple(int(size) for size in value.shape) if isinstance(value, torch.Tensor) else ()


def _argument_names(module: nn.Module, count: int) -> list[str]:
    saved = getattr(module, "input_names", None)
    if isinstance(saved, list):
        return [str(name) for name in saved]
    code = module.forward.__code__
    names = list(code.co_varnames[1 : code.co_argcount])
    return [names[index] if index < len(names) else f"input_{index}" for index in range(count)]


def _same_length(tensor: torch.Tensor, axis: int, timed: list[TimedInput], tensors: Sequence[torch.Tensor]) -> bool:
    """Whether a further input, whose time axis was not named on its own, has as many frames as the first."""
    if not timed or not -tensor.ndim <= axis < tensor.ndim:
        return False
    first = timed[0]
    return tensor.shape[axis] == tensors[first.position].shape[first.axis]
