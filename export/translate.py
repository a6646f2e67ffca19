"""From a captured module to a `Program`: inputs, rules, outputs, and the streaming contract."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from edgernn.errors import ExportError, UnsupportedError
from edgernn.export.account import LEFT
from edgernn.export.builder import Builder
from edgernn.export.capture import Captured
from edgernn.export.modes import Reach
from edgernn.export.streaming import Translator, hop_of
from edgernn.export.symbols import Const, FinalState, Scores, StateInput, Timed, TimeWeights
from edgernn.program import Array, Program
from edgernn.spec import InputSpec, OutputSpec, StreamSpec


@dataclass(frozen=True, kw_only=True)
class Label:
    """What the user says of a model; it goes into the contract as it is."""

    name: str = "model"
    model_version: str = "1"
    labels: Sequence[str] = ()
    rate_hz: float | None = None  # frames of the inputs per second
    meta: Mapping[str, str] = field(default_factory=dict)
    train_length: int | None = None  # input frames of the sequences it was trained on

    def contract(self) -> dict[str, Any]:
        """Fields of a `StreamSpec`; the rate is its inputs' and outputs'."""
        return {
            "name": self.name,
            "model_version": self.model_version,
            "labels": tuple(self.labels),
            "meta": dict(self.meta),
            "train_length": self.train_length,
        }


@dataclass(frozen=True)
class Returned:
    """Where a module returns an output: its place among the flattened results, and its time axis there."""

    place: int
    axis: int | None


@dataclass(frozen=True)
class Limited:
    """By the path of a module, what in it sees less of a sequence than it was written for."""

    looked: Mapping[str, tuple[int, int]]  # bidirectional layers: frames of the future, and of a block
    windowed: Mapping[str, tuple[int, int]]  # attention: the newest frames, and those behind


def translate(
    captured: Captured, label: Label, reach: Reach, *, final_states: bool = False
) -> tuple[Program, list[Returned], Limited]:
    """The step program of a captured module, its proof and hash still empty.

    The second result says where the module returns each of its outputs, the third what in it sees less than the whole.
    A returned final state is the stream's own and no output, unless `final_states` makes it one.

    Raises `UnsupportedError` for what cannot stream, with the module's path, the operation and a remedy.
    """
    t = Translator(captured, hop_of(captured, reach.lookahead), names_of_outputs(captured), reach)
    run(t)
    if reach.lookahead is not None and not t.looked:
        raise ExportError("has no bidirectional layer over time to look ahead with", hint="leave the lookahead out")
    if reach.attention is not None and not t.windowed:
        raise ExportError("has no attention over time that sees more", hint="leave the attention window out")
    return *finish(t, label, final_states=final_states), Limited(t.looked, t.windowed)


def _options(limits: Mapping[str, Mapping[str, tuple[int, int]]]) -> dict[str, dict[str, list[int]]]:
    return {name: {path: list(sizes) for path, sizes in of.items()} for name, of in limits.items() if of}


def names_of_outputs(captured: Captured) -> frozenset[str]:
    """What the program's outputs may be called: no other value is."""
    return frozenset(("output", *(name for name, _ in captured.outputs)))


def run(t: Translator) -> None:
    """Translate the captured graph, node by node."""
    captured = t.captured
    timed = {item.name: item for item in captured.source.timed}
    for node in captured.graphs[0].nodes:
        if node.op != "placeholder":
            continue
        if node.name in captured.constants:
            t.env[node] = Const(captured.constants[node.name], captured.targets[node.name])
        elif node.name in captured.inputs:
            t.env[node] = _input(t, captured, node.name, timed)
    t.run(captured.graphs[0], captured.roots[0])


def finish(t: Translator, label: Label, *, final_states: bool = False) -> tuple[Program, list[Returned]]:
    """The program of what was translated."""
    captured, hop = t.captured, t.hop
    results, places = _results(t, captured, final_states)
    published: dict[str, str] = {}
    for name, symbol in results.items():
        t.builder.publish(published.get(symbol.value, symbol.value), name)
        published.setdefault(symbol.value, name)
    t.builder.prune(set(results))
    inputs = tuple(_input_spec(captured, item.name, t, label.rate_hz) for item in captured.source.timed)
    batched = any(port.batch_axis is not None for port in inputs)
    outputs = tuple(_output_spec(t.builder, name, item, batched, label.rate_hz) for name, item in results.items())
    spec = StreamSpec(
        **label.contract(),
        inputs=inputs,
        outputs=outputs,
        states=tuple(t.builder.states),
        hop=hop,
        delay=max(output.delay for output in outputs),
        latency=max(output.input_delay for output in outputs) + hop - 1,
        receptive_field=_widest([output.receptive_field for output in outputs]),
        frames_left=LEFT if any(LEFT in op.operands for op in t.builder.ops) else None,
        provenance={
            "weights_sha256": weights_hash(t.builder.parameters),
            "versions": {"torch": torch.__version__},
            "options": _options({"lookahead": t.looked, "attention_window": t.windowed}),
        },
    )
    return Program(spec, t.builder.values, t.builder.parameters, tuple(t.builder.ops)), places


def _input(t: Translator, captured: Captured, placeholder: str, timed: Mapping[str, Any]) -> Timed | StateInput:
    position = captured.inputs[placeholder]
    tensor = captured.source.example[position]
    for item in timed.values():
        if item.position == position:
            return t.input(item.name, tuple(tensor.shape), item.axis, str(tensor.dtype).removeprefix("torch."))
    return StateInput(tensor, placeholder)


def _results(t: Translator, captured: Captured, final_states: bool) -> tuple[dict[str, Timed], list[Returned]]:
    """The outputs that have frames, and with `final_states` these."""
    results: dict[str, Timed] = {}
    places = []
    for place, (name, node) in enumerate(captured.outputs):
        symbol = t.made(t.env[node])
        if isinstance(symbol, FinalState):
            if not final_states:
                continue
            symbol = t.stacked(symbol)
        if isinstance(symbol, (Scores, TimeWeights)):
            hint = "return what they weigh"
            raise UnsupportedError("is the weights of an attention", place=f"output `{name}`", hint=hint)
        if not isinstance(symbol, Timed):
            raise UnsupportedError("does not depend on the input", place=f"output `{name}`", hint="return it elsewhere")
        if symbol.complex:
            raise UnsupportedError("is complex", place=f"output `{name}`", hint="return `torch.view_as_real(y)`")
        results[name] = t.result_of(place, t.certain(t.settle(symbol)))
        places.append(Returned(place, results[name].axis))
    if not results:
        raise ExportError("the module returns no output with frames", hint="return the layer's output beside its state")
    if len(results) == 1:  # the others were states
        results = {"output" if name.startswith("output_") else name: symbol for name, symbol in results.items()}
    return results, places


def _input_spec(captured: Captured, name: str, t: Translator, rate: float | None) -> InputSpec:
    item = next(item for item in captured.source.timed if item.name == name)
    value = t.builder.values[name]
    batch = _batch_axis(item.axis, value.shape)
    return InputSpec(name=name, dtype=value.dtype, shape=value.shape, batch_axis=batch, hop=t.hop, rate_hz=rate)


def _output_spec(builder: Builder, name: str, symbol: Timed, batched: bool, rate: float | None) -> OutputSpec:
    value, timing = builder.values[name], symbol.timing
    axis = 1 if symbol.axis is None else symbol.axis
    return OutputSpec(
        name=name,
        dtype=value.dtype,
        shape=value.shape,
        batch_axis=_batch_axis(axis, value.shape) if batched else None,
        period=timing.period,
        offset=timing.offset,
        group=timing.group,
        extra=timing.extra,
        delay=timing.delay,
        receptive_field=timing.receptive_field,
        newest=symbol.axis is None,
        rate_hz=None if rate is None else rate * timing.group / timing.period,
    )


def _batch_axis(time_axis: int, shape: tuple[int, ...]) -> int | None:
    """The batch axis of `[frames, …]`: the first behind the frames, when it has one element.

    Without a batch axis a module's time comes first and its frames have one axis.
    """
    if len(shape) < 2 or shape[1] != 1 or (time_axis == 0 and len(shape) < 3):
        return None
    return 1


def _widest(fields: Sequence[int | None]) -> int | None:
    known = [item for item in fields if item is not None]
    return max(known) if len(known) == len(fields) else None


def weights_hash(parameters: Mapping[str, Array]) -> str:
    """The hash of a program's weights, by name."""
    digest = hashlib.sha256()
    for name in sorted(parameters):
        array = parameters[name]
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
