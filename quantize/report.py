"""What a quantization did to every operation and to the outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgernn import ops
from edgernn.compare import Difference, decibels, difference
from edgernn.errors import QuantizeError
from edgernn.program import Array, Op, Program
from edgernn.quantize.convert import Converted
from edgernn.quantize.data import Sequences
from edgernn.quantize.plan import Plan
from edgernn.quantize.reference import evaluate
from edgernn.quantize.whole import output_frames, padded, run_whole

Metric = Callable[[Any, Any], float]
MEASURED = 20_000  # steps of calibration data that are looked at
POOR_DB = 20.0  # an error of a tenth
WEIGHTED = (ops.GRU, ops.LSTM, ops.RNN, ops.Linear, ops.MatMul, ops.Conv1d, ops.Conv2d, ops.Embedding)


@dataclass(frozen=True)
class NodeReport:
    """One operation of the float model."""

    name: str
    op: str
    form: str  # float, or int8 or int4 with `x int16` or `h int16` where those inputs are wider
    why: str  # of float
    bytes_before: int
    bytes_after: int
    snr_db: float | None  # of its result; None where it is not a number of the graph any more
    saturated: float | None  # share of its integers that are at their limit


@dataclass(frozen=True)
class Report:
    """All of it."""

    nodes: list[NodeReport]
    outputs: Mapping[str, Difference]
    calibration_frames: int
    measured_frames: int
    metric: tuple[float, float] | None  # float, int8
    near_db: Mapping[str, float] = field(default_factory=dict)  # of the file in onnxruntime against the exact integers
    file_before: int = 0
    file_after: int = 0

    @property
    def left_in_float(self) -> list[NodeReport]:
        """Recurrent and matrix weights that stayed in float and were not excluded by name."""
        kinds = tuple(kind.__name__ for kind in WEIGHTED)
        return [n for n in self.nodes if n.form == "float" and n.op in kinds and n.bytes_before and n.why != "excluded"]

    @property
    def warnings(self) -> list[str]:
        """A line for each output that is further from float than `POOR_DB`: where it is lost, and what to leave out."""
        fallen = next(
            (index for index, n in enumerate(self.nodes) if n.snr_db is not None and n.snr_db < POOR_DB), None
        )
        where = ""
        if fallen is not None:
            whole = [node for node in self.nodes[: fallen + 1] if node.form != "float"]
            where = f"; it is lost at `{self.nodes[fallen].name}`"
            where += f": try --exclude {whole[-1].name}, or --activation-type auto" if whole else ""
        poor = {name: item.snr_db for name, item in self.outputs.items() if item.snr_db < POOR_DB}
        return [f"`{name}` keeps {snr_db:.1f} dB of the float model's{where}" for name, snr_db in poor.items()]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "nodes": [{key: _plain(item) for key, item in vars(node).items()} for node in self.nodes],
            "outputs": {name: item.as_dict() for name, item in self.outputs.items()},
            "warnings": self.warnings,
            "near_db": {name: _plain(item) for name, item in self.near_db.items()},
            "calibration_frames": self.calibration_frames,
            "measured_frames": self.measured_frames,
            "metric": None if self.metric is None else {"float": self.metric[0], "int8": self.metric[1]},
            "bytes": {"before": self.file_before, "after": self.file_after},
        }


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def measure(
    program: Program, converted: Converted, plan: Plan, sequences: Sequences, metric: Metric | None = None
) -> Report:
    """The report of a conversion but for its file, over the first `MEASURED` steps, or all where a metric needs them.

    Raises `QuantizeError` when the metric fails.
    """
    looked = sequences if metric is not None else sequences.limited(MEASURED * program.spec.hop)
    runs = _Runs(program, converted)
    for index, item in enumerate(looked.items):
        runs.add(item, looked.begun(program, index), looked.begun(converted.program, index))
    rows, told = [], set[str]()
    for op in program.ops:
        own = [name for name in program.parameter_operands(op) if name not in told]
        told.update(own)
        rows.append(_row(op, program, converted, plan, own, runs.losses.get(op.outputs[0])))
    return Report(
        nodes=rows,
        outputs={name: difference(*both) for name, both in runs.outputs.items()},
        calibration_frames=sum(sequences.lengths),
        measured_frames=sum(looked.lengths),
        metric=None if metric is None else _metric(metric, runs.outputs, sequences.targets),
    )


@dataclass
class _Loss:
    """Of one value: power of signal and error, and how many of its integers are at their limit."""

    power: float = 0.0
    noise: float = 0.0
    limited: int = 0
    integers: int = 0

    def add(self, wanted: Array, found: Array) -> None:
        good = np.isfinite(wanted) & np.isfinite(found)
        self.power += float(np.sum(wanted[good] ** 2))
        self.noise += float(np.sum((wanted - found)[good] ** 2))


class _Runs:
    """Both programs over sequences: what each value lost, and the outputs' frames of both."""

    def __init__(self, program: Program, converted: Converted) -> None:
        self._program, self._converted = program, converted
        self.losses: dict[str, _Loss] = {}
        self.outputs: dict[str, tuple[list[Array], list[Array]]] = {p.name: ([], []) for p in program.spec.outputs}

    def add(self, item: Mapping[str, Array], program: Program, integer: Program) -> None:
        """Take one more sequence, into which both programs start as they are given."""
        spec = self._program.spec
        given, length = padded(spec, item)
        floats = run_whole(program, given, length=length)
        exact = run_whole(integer, given, evaluate, length=length)
        for op in self._program.ops:
            self._compare(op.outputs[0], floats, exact, length)
        for port in spec.outputs:
            for run, values in zip(self.outputs[port.name], (floats, exact), strict=True):
                run.append(output_frames(values, port, length))

    def _compare(self, name: str, floats: Mapping[str, Array], exact: Mapping[str, Array], length: int) -> None:
        timing, code = self._program.values[name].timing, self._converted.coded.get(name)
        source = name if code is None else code.name
        if timing is None or self._program.values[name].dtype != "float32" or source not in exact:
            return
        frames = slice(timing.delay, timing.delay + (length + timing.offset) // timing.period)
        wanted, found = (item.reshape(-1, *item.shape[3:])[frames] for item in (floats[name], exact[source]))
        loss = self.losses.setdefault(name, _Loss())
        if code is not None:
            if code.limit is not None:
                loss.limited += int(np.sum(np.abs(found.astype(np.int64)) >= code.limit))
                loss.integers += found.size
            found = found * np.asarray(code.scale) + np.asarray(code.offset)
        loss.add(wanted.astype(np.float64), found.astype(np.float64))


def _row(
    op: Op, program: Program, converted: Converted, plan: Plan, own: Sequence[str], loss: _Loss | None
) -> NodeReport:
    made = [item for item in converted.program.ops if item.name == op.name or item.name.startswith(f"{op.name}.")]
    before = sum(int(program.parameters[name].nbytes) for name in own)
    kept = {name for item in made for name in item.operands if name in converted.program.parameters}
    return NodeReport(
        name=op.name,
        op=type(op).__name__,
        form=_form(op, made, converted.program) if op.name in plan.integer else "float",
        why=plan.reasons.get(op.name, ""),
        bytes_before=before,
        bytes_after=sum(int(converted.program.parameters[name].nbytes) for name in kept) if before else 0,
        snr_db=None if loss is None else decibels(loss.power, loss.noise),
        saturated=None if loss is None or not loss.integers else loss.limited / loss.integers,
    )


def _form(op: Op, made: Sequence[Op], program: Program) -> str:
    form = "int4" if any(isinstance(item, ops.Int4) for item in made) else "int8"
    main = next((item for item in made if item.name == op.name), None)
    entering = getattr(main, "x", getattr(main, "window", ""))
    if isinstance(op, WEIGHTED) and entering in program.values and program.values[entering].dtype == "int16":
        form += ", x int16"
    return f"{form}, h int16" if getattr(main, "h_dtype", "") == "int16" else form


def _metric(
    metric: Metric, outputs: Mapping[str, tuple[list[Array], list[Array]]], targets: Sequence[Any]
) -> tuple[float, float]:
    """`metric(outputs, targets)` of both runs: a list of one array a sequence, or a mapping of such by output."""

    def value(side: int) -> float:
        by_name = {name: both[side] for name, both in outputs.items()}
        try:
            return float(metric(next(iter(by_name.values())) if len(by_name) == 1 else by_name, list(targets)))
        except Exception as error:  # the caller's own function may fail in any way
            hint = "" if targets else "the calibration data has no `targets`"
            raise QuantizeError(f"the metric failed ({type(error).__name__}: {error})", hint=hint) from error

    return value(0), value(1)
