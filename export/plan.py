"""What an export would do, operation by operation, without writing a file: `edgernn export --dry-run`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import fx, nn

from edgernn.errors import ExportError
from edgernn.export.api import in_eval_mode, one_sequence
from edgernn.export.capture import Source, capture, describe
from edgernn.export.modes import Reach, Window, parse_modes
from edgernn.export.nodes import module_path, op_name
from edgernn.export.streaming import Translator, hop_of
from edgernn.export.symbols import Shape, Timed
from edgernn.export.translate import Label, finish, names_of_outputs, run
from edgernn.export.windows import WindowTranslator, window_translator
from edgernn.program import Timing, Value
from edgernn.spec import STREAM, StreamSpec


@dataclass(frozen=True)
class Step:
    """An operation that streams: what it adds to the delay, and what it keeps between steps."""

    path: str  # of the module, "" for the outermost
    op: str
    delay: int  # input frames that it adds to those of what it reads
    states: tuple[str, ...]  # names of the states it keeps


@dataclass(frozen=True)
class Blocker:
    """An operation that does not stream."""

    place: str
    cause: str
    hint: str


@dataclass(frozen=True)
class Plan:
    """What streams, with which delay and from where, and what blocks."""

    spec: StreamSpec | None  # the contract, where nothing blocks
    steps: tuple[Step, ...]
    blockers: tuple[Blocker, ...]

    def report(self) -> str:
        """A few lines for a person."""
        lines = []
        if self.spec is not None:
            counts = (
                f"hop {self.spec.hop}, delay {self.spec.delay} output frames, latency {self.spec.latency} input frames"
            )
            lines.append(f"streams: {counts}")
        late = [step for step in self.steps if step.delay]
        lines += [f"  `{step.path or 'forward'}`, `{step.op}` is {step.delay} input frames late" for step in late]
        kept = [step for step in self.steps if step.states]
        lines += [f"  `{step.path or 'forward'}`, `{step.op}` keeps {', '.join(step.states)}" for step in kept]
        for blocker in self.blockers:
            lines.append(f"blocks: {blocker.place}: {blocker.cause}" if blocker.place else f"blocks: {blocker.cause}")
            lines += [f"  hint: {blocker.hint}"] if blocker.hint else []
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """The same for a program."""
        return {
            "streams": not self.blockers,
            "hop": None if self.spec is None else self.spec.hop,
            "delay": None if self.spec is None else self.spec.delay,
            "latency": None if self.spec is None else self.spec.latency,
            "operations": [vars(step) for step in self.steps],
            "blockers": [vars(blocker) for blocker in self.blockers],
        }


def plan_of(source: Source, window: Window | None, reach: Reach) -> Plan:
    """Translate a module and say what came of each operation.

    Behind an operation that blocks, the others are looked at as if it had streamed, so that all that blocks is found;
    but for the first where the module cannot even be captured.
    """
    t: _StreamPlanner | _WindowPlanner
    try:
        if window is not None:
            t = window_translator(source, window, _WindowPlanner)
        else:
            captured = capture(source)
            t = _StreamPlanner(captured, hop_of(captured, reach.lookahead), names_of_outputs(captured), reach)
    except ExportError as error:
        return Plan(None, (), (_blocker(error),))
    run(t)
    spec = None
    if not t.blockers:
        try:
            program = finish(t, Label())[0]
            spec = (t.in_frames(program) if isinstance(t, _WindowPlanner) else program).spec
        except ExportError as error:
            t.blockers.append(_blocker(error))
    return Plan(spec, tuple(t.found), tuple(t.blockers))


def plan_export(
    module: nn.Module,
    example: torch.Tensor | Sequence[torch.Tensor],
    time_axis: int | Sequence[int | None] = 1,
    *,
    mode: str = STREAM,
    lookahead: str | int | None = None,
    attention_window: str | int | None = None,
    rate_hz: float | None = None,
) -> Plan:
    """What `export_model` would make of these arguments; no file is written, and nothing is proved.

    Raises `ExportError` for an example that fits no module, or a mode that is none.
    """
    with in_eval_mode(module):
        source = describe(module, one_sequence(example, time_axis), time_axis)
        window, reach = parse_modes(mode, lookahead, attention_window, source.length, rate_hz)
        return plan_of(source, window, reach)


class _Blocked:
    """In the place of a result that there is not."""


class _Planner(Translator):
    """Goes on behind what it has to refuse."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.found: list[Step] = []
        self.blockers: list[Blocker] = []

    def _translate(self, node: fx.Node) -> Any:
        if node.graph is not self.captured.graphs[0]:  # inside a cell: the cell as a whole streams or doesn't
            return super()._translate(node)
        if any(isinstance(self.env.get(item), _Blocked) for item in node.all_input_nodes):
            return _Blocked()
        states = len(self.builder.states)
        try:
            made = super()._translate(node)
        except ExportError as error:
            self.blockers.append(_blocker(error))
            return self._stand_in(node, self.captured.shape(node), self.captured.twin_shape(node))
        before = [_lateness(self.env[item]) for item in node.all_input_nodes]
        added = _lateness(made) - max(before, default=Fraction(0))
        kept = tuple(state.input for state in self.builder.states[states:])
        self.found.append(Step(module_path(node), op_name(node).split(".")[0], max(0, int(added)), kept))
        return made

    def _stand_in(self, node: fx.Node, first: Any, second: Any) -> Any:
        """A value of the shape that the node would have had, where that has frames."""
        if isinstance(first, list):
            return [self._stand_in(node, a, b) for a, b in zip(first, second, strict=True)]
        axes = [axis for axis, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
        if len(axes) != 1:
            return _Blocked()
        return self._value(node, first, axes[0], second[axes[0]])

    def _value(self, node: fx.Node, shape: Shape, axis: int, second: int) -> Timed:
        ratio = self.captured.period(shape[axis], second)
        timing = Timing(ratio.numerator, 0, 0, None, ratio.denominator)
        missing = shape[axis] - timing.length(self.captured.lengths[0])
        timing = timing.longer(missing) if missing else timing
        name = self.builder.unique(node.name)
        dtype = str(_dtype(node)).removeprefix("torch.")
        frame = (*shape[:axis], *shape[axis + 1 :])
        self.builder.values[name] = Value(name, dtype, (self.frames(timing), *frame), timing)
        return Timed(name, shape, axis, timing)


class _StreamPlanner(_Planner):
    """Of a stream of frames."""


class _WindowPlanner(_Planner, WindowTranslator):
    """Of a stream of windows."""


def _dtype(node: fx.Node) -> torch.dtype:
    value = node.meta["val"]
    return value[0].dtype if isinstance(value, (list, tuple)) else value.dtype  # type: ignore[no-any-return]


def _lateness(symbol: Any) -> Fraction:
    """Input frames by which a value is late; of several, the latest."""
    if isinstance(symbol, (list, tuple)):
        return max((_lateness(item) for item in symbol), default=Fraction(0))
    if not isinstance(symbol, Timed):
        return Fraction(0)
    return Fraction(symbol.timing.delay * symbol.timing.period, symbol.timing.group)


def _blocker(error: ExportError) -> Blocker:
    return Blocker(error.place, error.cause, error.hint)
