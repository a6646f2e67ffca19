"""What a quantization did to every operation and to the outputs, as data and as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgernn import ops
from edgernn.program import Array, Op, Program
from edgernn.quantize.compare import Difference, difference, snr_db
from edgernn.quantize.convert import Converted
from edgernn.quantize.data import Sequences
from edgernn.quantize.plan import Plan
from edgernn.quantize.reference import evaluate
from edgernn.quantize.reference.fixed import LIMITS
from edgernn.quantize.whole import run_whole

Metric = Callable[[Any, Any], float]
WEIGHTED = (ops.GRU, ops.LSTM, ops.RNN, ops.Linear, ops.MatMul, ops.Conv1d, ops.Conv2d, ops.Embedding)


@dataclass(frozen=True)
class NodeReport:
    """One operation of the float model."""

    name: str
    op: str
    form: str  # int8, int4, int8 x int16 or float
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
    near_db: Mapping[str, float]  # of the file in onnxruntime, against the exact integers
    calibration_frames: int
    metric: tuple[float, float] | None  # float, int8
    file_before: int
    file_after: int

    @property
    def left_in_float(self) -> list[NodeReport]:
        """Recurrent and matrix weights that stayed in float and were not excluded by name."""
        kinds = tuple(kind.__name__ for kind in WEIGHTED)
        return [n for n in self.nodes if n.form == "float" and n.op in kinds and n.bytes_before and n.why != "excluded"]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "nodes": [{key: _plain(item) for key, item in vars(node).items()} for node in self.nodes],
            "outputs": {name: item.as_dict() for name, item in self.outputs.items()},
            "near_db": {name: _plain(item) for name, item in self.near_db.items()},
            "calibration_frames": self.calibration_frames,
            "metric": None if self.metric is None else {"float": self.metric[0], "int8": self.metric[1]},
            "bytes": {"before": self.file_before, "after": self.file_after},
        }


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def measure_nodes(
    program: Program, converted: Converted, plan: Plan, sequences: Sequences
) -> tuple[list[NodeReport], dict[str, tuple[list[Array], list[Array]]]]:
    """Run both programs over the sequences; the nodes' rows, and the outputs' frames of both by name."""
    signals: dict[str, list[float]] = {}
    limits: dict[str, list[int]] = {}
    outputs: dict[str, tuple[list[Array], list[Array]]] = {port.name: ([], []) for port in program.spec.outputs}
    for item, length in zip(sequences.items, sequences.lengths, strict=True):
        given = {name: array[None] for name, array in item.items()}
        floats = run_whole(program, given, length=length)
        exact = run_whole(converted.program, given, evaluate, length=length)
        for op in program.ops:
            _compare(op.outputs[0], program, converted, floats, exact, signals, limits)
        for port in program.spec.outputs:
            for run, values in zip(outputs[port.name], (floats, exact), strict=True):
                run.append(values[port.name].reshape(-1, *port.shape[1:])[port.delay :])
    rows = []
    owner: set[str] = set()
    for op in program.ops:
        mine = [name for name in program.parameter_operands(op) if name not in owner]
        owner.update(mine)
        rows.append(_row(op, program, converted, plan, mine, signals, limits))
    return rows, outputs


def _compare(
    name: str,
    program: Program,
    converted: Converted,
    floats: Mapping[str, Array],
    exact: Mapping[str, Array],
    signals: dict[str, list[float]],
    limits: dict[str, list[int]],
) -> None:
    value, code = program.values.get(name), converted.coded.get(name)
    if value is None or value.dtype != "float32" or value.timing is None:
        return
    wanted = floats[name].reshape(-1, *floats[name].shape[3:])[value.timing.delay :].astype(np.float64)
    if code is not None and code.name in exact:
        whole = exact[code.name].reshape(-1, *floats[name].shape[3:])[value.timing.delay :]
        found = whole * np.asarray(code.scale) + np.asarray(code.offset)
        if code.dtype in LIMITS:
            count = limits.setdefault(name, [0, 0])
            count[0] += int(np.sum(np.abs(whole.astype(np.int32)) >= LIMITS[code.dtype]))
            count[1] += whole.size
    elif name in exact:
        found = exact[name].reshape(-1, *floats[name].shape[3:])[value.timing.delay :].astype(np.float64)
    else:
        return
    good = np.isfinite(wanted) & np.isfinite(found)
    power = signals.setdefault(name, [0.0, 0.0])
    power[0] += float(np.sum(wanted[good] ** 2))
    power[1] += float(np.sum((wanted - found)[good] ** 2))


def _row(
    op: Op,
    program: Program,
    converted: Converted,
    plan: Plan,
    mine: Sequence[str],
    signals: Mapping[str, list[float]],
    limits: Mapping[str, list[int]],
) -> NodeReport:
    name = op.outputs[0]
    made = [item for item in converted.program.ops if item.name == op.name or item.name.startswith(f"{op.name}.")]
    before = sum(int(program.parameters[item].nbytes) for item in mine)
    names = {item for new in made for item in new.operands if item in converted.program.parameters}
    after = sum(int(converted.program.parameters[item].nbytes) for item in names) if before else 0
    form = "float"
    if op.name in plan.integer:
        form = "int4" if any(isinstance(item, ops.Int4) for item in made) else "int8"
        main = next((item for item in made if item.name == op.name), None)
        entering = getattr(main, "x", getattr(main, "window", ""))
        if isinstance(op, (*WEIGHTED,)) and entering in converted.program.values:
            form += " x int16" if converted.program.values[entering].dtype == "int16" else ""
    power, count = signals.get(name), limits.get(name)
    snr = (
        None if power is None else (float(np.inf) if power[1] == 0 else 10 * np.log10(max(power[0], 1e-300) / power[1]))
    )
    return NodeReport(
        name=op.name,
        op=type(op).__name__,
        form=form,
        why=plan.reasons.get(op.name, ""),
        bytes_before=before,
        bytes_after=after,
        snr_db=snr,
        saturated=None if count is None else count[0] / count[1],
    )


def measure_outputs(outputs: Mapping[str, tuple[list[Array], list[Array]]]) -> dict[str, Difference]:
    """The outputs' differences."""
    return {name: difference(*runs) for name, runs in outputs.items()}


def measure_metric(
    metric: Metric, outputs: Mapping[str, tuple[list[Array], list[Array]]], targets: Sequence[Any]
) -> tuple[float, float]:
    """`metric(outputs, targets)` of both runs: a list of one array a sequence, or a mapping of such by output."""
    runs = [{name: run[side] for name, run in outputs.items()} for side in (0, 1)]
    first, second = (float(metric(next(iter(r.values())) if len(r) == 1 else r, list(targets))) for r in runs)
    return first, second


__all__ = ["Metric", "NodeReport", "Report", "measure_metric", "measure_nodes", "measure_outputs", "snr_db"]
