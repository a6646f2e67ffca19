"""An ONNX file that others exported: one run of it is one step, with its states as inputs and outputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import inliner

from edgernn.errors import ExportError, ModelFileError, UnsupportedError
from edgernn.export.onnx_in.pairs import Pair, Port, find_pairs
from edgernn.export.onnx_in.ports import Ports
from edgernn.export.onnx_in.reader import DTYPES, Reader
from edgernn.export.onnx_in.symbols import Given, Known, Shape, Symbol
from edgernn.export.onnx_in.trace import Trace
from edgernn.export.translate import Label
from edgernn.ops.cell import Cell
from edgernn.program import Array, Program, Value
from edgernn.spec import SPEC_KEY, STREAM

_DESCRIBED = re.compile(r"^(?:(?P<name>[^=\[]+)=)?(?P<dtype>\w+)\[(?P<shape>[\d\s,]*)\]$")
LEAST_OPSET, NEWEST_OPSET = 9, 22


@dataclass(frozen=True, kw_only=True)
class StepOptions:
    """What a file does not say of itself.

    `states` pairs inputs with outputs, beside those that are found; an input paired with "" is none. `held` gives
    inputs one value for all steps: an array of their shape, or a number as text for all elements. `inputs` describe
    shapes that the file leaves open, `name=dtype[1,40]`. Without `time_axis` a run takes one frame, the whole tensor;
    with it, as many frames as the tensor has there, of which the first `context` are the newest of the run before.
    """

    states: Mapping[str, str] = field(default_factory=dict)
    held: Mapping[str, str | Array] = field(default_factory=dict)
    inputs: Sequence[str] = ()
    time_axis: int | None = None
    context: int = 0
    mode: str = STREAM


@dataclass(frozen=True)
class Step:
    """What was read: the program, and how its file is called step by step."""

    program: Program
    model: onnx.ModelProto
    pairs: tuple[Pair, ...]
    signals: tuple[Port, ...]  # inputs that are neither states nor held
    outputs: tuple[Port, ...]  # those that are no states
    states: tuple[Port, ...]  # the inputs that are
    held: Mapping[str, Array]
    options: StepOptions


def read_model(path: str | Path) -> onnx.ModelProto:
    """An ONNX file with what lies beside it. Raises `ModelFileError` when it is missing or damaged."""
    try:
        return onnx.load(path)
    except OSError as error:
        raise ModelFileError(f"cannot be read ({error.strerror})", place=str(path)) from None
    except DecodeError:
        raise ModelFileError("is not an ONNX file, or is cut short", place=str(path)) from None


def has_contract(model: onnx.ModelProto) -> bool:
    """Whether edgernn wrote the file."""
    return any(item.key == SPEC_KEY for item in model.metadata_props)


def read_step(model: onnx.ModelProto, label: Label, options: StepOptions, place: str = "") -> Step:
    """The program of a step that is an ONNX model of somebody else's.

    Raises `UnsupportedError` with the node for what cannot be read, `ExportError` for options that do not fit the
    model or are missing, `ModelFileError` for a model that contradicts itself.
    """
    if model.functions:
        model = inliner.inline_local_functions(model)
    graph, opset = model.graph, _opset(model, place)
    fixed = {item.name for item in graph.initializer}
    described = _described(options.inputs)
    entries = [item for item in graph.input if item.name not in fixed]
    unknown = [name for name in (*described, *options.held) if name and name not in {item.name for item in entries}]
    if unknown:
        raise ExportError(f"has no input `{unknown[0]}`", place=place, hint=f"there are: {_names(entries)}")
    ports = [_port(item, described, len(entries)) for item in entries]
    held = {port.name: _held(port, options.held[port.name]) for port in ports if port.name in options.held}
    free = [port for port in ports if port.name not in held]
    if not free:
        raise ExportError("has no input left", place=place)
    reserved = frozenset((*(port.name for port in ports), *(item.name for item in graph.output)))
    ends = Ports(options.time_axis, options.context, label.rate_hz)
    hop = ends.hop(free[0])
    reader = Reader(opset, hop, reserved)
    env: dict[str, Symbol] = {name: Known(array) for name, array in held.items()}
    inside = {}
    for port in free:
        inner = reader.builder.unique(f"{port.name}.step")
        reader.builder.values[inner] = Value(inner, port.dtype, (1, *port.shape), reader.timing)
        env[port.name] = inside[port.name] = Given(inner, port.dtype, port.shape)
    results = dict(zip((item.name for item in graph.output), reader.run(graph, env), strict=True))
    constant = [name for name, item in results.items() if isinstance(item, Known)]
    moving = {name: item for name, item in results.items() if isinstance(item, Given)}
    outputs = [Port(name, item.dtype, item.shape) for name, item in moving.items()]
    if not outputs:
        raise ExportError(f"gives constants alone: {', '.join(constant)}", place=place)
    linked = _linked(reader, inside, moving)
    pairs = find_pairs(free, outputs, options.states, linked)
    if not pairs:
        _require_shapes(entries, described, place)
    carried = {pair.input for pair in pairs}, {pair.output for pair in pairs}
    signals = tuple(port for port in free if port.name not in carried[0])
    given = tuple(port for port in outputs if port.name not in carried[1])
    if not signals or not given:
        raise ExportError("has states alone", place=place, hint="name the true ones: --state IN=OUT")
    program = ends.program(reader, label, options.mode, inside, moving, pairs, signals, given)
    states = tuple(port for port in free if port.name in carried[0])
    return Step(program, model, tuple(pairs), signals, given, states, held, options)


def _opset(model: onnx.ModelProto, place: str) -> int:
    found = [item.version for item in model.opset_import if item.domain in ("", "ai.onnx")]
    if not found:
        raise ModelFileError("says nothing of its opset", place=place)
    if not LEAST_OPSET <= found[0] <= NEWEST_OPSET:
        raise UnsupportedError(
            f"is of opset {found[0]}; {LEAST_OPSET} to {NEWEST_OPSET} are read", place=place, hint="export it anew"
        )
    return int(found[0])


def _described(texts: Sequence[str]) -> dict[str, tuple[str, Shape]]:
    """Shapes by input name; "" for the only input."""
    result = {}
    for text in texts:
        match = _DESCRIBED.match(text.strip())
        if match is None:
            raise ExportError(f"`{text}` describes no input of a file", hint="write `name=float32[1,1,40]`")
        shape = tuple(int(word) for word in match["shape"].split(",") if word.strip())
        result[(match["name"] or "").strip()] = match["dtype"], shape
    return result


def _port(item: onnx.ValueInfoProto, described: Mapping[str, tuple[str, Shape]], count: int) -> Port:
    """An input with its shape; axes that the file leaves open have one element, where they are not described."""
    tensor = item.type.tensor_type
    dtype = DTYPES.get(int(tensor.elem_type))
    if dtype is None:
        raise UnsupportedError(f"has element type {tensor.elem_type} of ONNX", place=f"input `{item.name}`")
    shape = tuple(dim.dim_value if dim.dim_value > 0 else 1 for dim in tensor.shape.dim)
    told = described.get(item.name) or (described.get("") if count == 1 else None)
    if told is None:
        return Port(item.name, dtype, shape)
    fits = told[0] == dtype and len(told[1]) == len(shape)
    fits = fits and all(dim.dim_value in (0, size) for dim, size in zip(tensor.shape.dim, told[1], strict=True))
    if not fits:
        dims = ",".join(str(dim.dim_value or dim.dim_param or "?") for dim in tensor.shape.dim)
        raise ExportError(f"is {dtype}[{dims}] in the file", place=f"input `{item.name}`")
    return Port(item.name, dtype, told[1])


def _require_shapes(entries: Sequence[onnx.ValueInfoProto], described: Mapping[str, object], place: str) -> None:
    """Raise `ExportError` for an open axis behind the first, in a file that carries nothing from run to run."""
    for item in entries:
        if item.name in described or "" in described:
            continue
        for axis, dim in enumerate(item.type.tensor_type.shape.dim):
            if axis and dim.dim_value <= 0:
                raise ExportError(
                    f"axis {axis} of `{item.name}` is open, and the file has no state",
                    place=place,
                    hint=f"say how long a run is: --input '{item.name}=dtype[…]'; or name the states: --state IN=OUT",
                )


def _held(port: Port, value: str | Array) -> Array:
    if not isinstance(value, str):
        if (str(value.dtype), value.shape) != (port.dtype, port.shape):
            raise ExportError(f"is {port.dtype} {list(port.shape)}", place=f"input `{port.name}`")
        return value
    try:
        return np.full(port.shape, _NUMBERS.get(port.dtype, int)(value), port.dtype)
    except (ValueError, KeyError, OverflowError):
        raise ExportError(f"`{value}` is no {port.dtype}", place=f"input `{port.name}`") from None


def _truth(text: str) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[text.lower()]


_NUMBERS: dict[str, Callable[[str], float]] = {"float32": float, "bool": _truth}


def _names(entries: Sequence[onnx.ValueInfoProto]) -> str:
    return ", ".join(item.name for item in entries)


def _linked(reader: Reader, inside: Mapping[str, Given], outputs: Mapping[str, Given]) -> Callable[[str, str], bool]:
    """Tells whether an output holds elements of an input, or the new state of a layer that starts from it."""
    b = reader.builder
    shapes = {name: value.shape for name, value in b.values.items()}
    trace = Trace(shapes, b.parameters, b.ops)
    follows: dict[int, int] = {}  # element that a layer starts from → the one that it leaves
    for op in b.ops:
        if isinstance(op, Cell) and len(op.outputs) > 1:
            for name, new in zip(type(op).STATES, op.outputs[1:], strict=True):
                follows.update(zip(trace.flat(getattr(op, name)).tolist(), trace.flat(new).tolist(), strict=True))

    def linked(start: str, end: str) -> bool:
        old = set(trace.flat(inside[start].value).tolist())
        old |= {follows[number] for number in old if number in follows}
        return not old.isdisjoint(trace.flat(outputs[end].value).tolist())

    return linked
