"""The library call behind `edgernn quantize`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import edgernn
from edgernn import files
from edgernn.errors import MissingExtraError, QuantizeError
from edgernn.export import check_path, encode, read_program, write_model
from edgernn.program import Program
from edgernn.quantize.compare import snr_db
from edgernn.quantize.convert import Converted, Options, convert
from edgernn.quantize.data import Sequences, Source, check_calibration, read_sequences
from edgernn.quantize.fold import fold
from edgernn.quantize.observe import OBSERVERS, Observations, observe
from edgernn.quantize.plan import PRODUCTS, Plan, make_plan
from edgernn.quantize.reference import evaluate
from edgernn.quantize.report import Metric, Report, measure_metric, measure_nodes, measure_outputs
from edgernn.quantize.rounding import Rounding
from edgernn.quantize.whole import run_whole

WEIGHT_TYPES, ACTIVATION_TYPES, ROUNDINGS = ("int8", "int4"), ("int8", "int16", "auto"), ("compensated", "plain")
MEASURED = 20_000  # frames of calibration data that the report looks at
_TRIED = 4_000  # frames that `auto` tries its choices on
_NEED_DB = 0.5  # what a wider layer must bring


@dataclass(frozen=True)
class QuantizeResult:
    """What a quantization made: the file, its program and the report."""

    path: Path
    program: Program
    report: Report


def quantize_model(
    model: str | Path,
    calibration: Source,
    path: str | Path,
    *,
    weight_type: str = "int8",
    activation_type: str = "int8",
    rounding: str = "compensated",
    observer: str = "mse",
    per_tensor: bool = False,
    exclude: Sequence[str] = (),
    strict: bool = False,
    metric: Metric | None = None,
) -> QuantizeResult:
    """Write the int8 form of an exported file, as `.onnx` or `.ernn`, with a report of what it costs.

    `calibration` is anything `read_sequences` takes; its sequences run through the float model with the state
    carried. `weight_type` is int8 or int4, `activation_type` int8, int16 or auto (int16 only for layers that gain by
    it), `rounding` compensated or plain, `observer` mse, minmax or percentile. `exclude` holds patterns of
    operations' or parameters' names that stay in float. `metric(outputs, targets)` gives a number for each model,
    from a list of outputs `[frames, …]` and the calibration file's `targets`.

    Raises `CalibrationError` for data that doesn't fit, `QuantizeError` for a model that is quantized already or,
    under `strict`, keeps a recurrent or matrix weight in float that was not excluded, `ExportError` for a file that
    can't be written so. No file is left then.
    """
    model, path = Path(model), Path(path)
    for name, value, known in (
        ("weight type", weight_type, WEIGHT_TYPES),
        ("activation type", activation_type, ACTIVATION_TYPES),
        ("rounding", rounding, ROUNDINGS),
        ("observer", observer, OBSERVERS),
    ):
        if value not in known:
            raise QuantizeError(f"no {name} is called `{value}`", hint=f"there are: {', '.join(known)}")
    check_path(path)
    original = read_program(model)
    plan = make_plan(fold(original), exclude)
    sequences = read_sequences(calibration, original.spec)
    check_calibration(sequences, original.spec, str(calibration) if isinstance(calibration, (str, Path)) else "")
    options = Options(Rounding(rounding == "compensated", weight_type, per_tensor), activation_type, observer)
    program = fold(original)
    seen = observe(program, sequences)
    converted = _converted(program, seen, plan, options, sequences)
    if not plan.integer:
        raise QuantizeError("has nothing to quantize", place=str(model))
    data = encode(converted.program, path)
    report = measure(model, program, converted, plan, sequences, len(data), metric)
    if strict and report.left_in_float:
        first = report.left_in_float[0]
        raise QuantizeError(
            f"stays in float: {first.why}",
            place=first.name,
            hint=f"without --strict it is an island of float; or name it: --exclude {first.name}",
        )
    near = _near(data, path, converted.program, sequences)
    write_model(path, data)
    return QuantizeResult(path, converted.program, replace(report, near_db=near))


def quantize_program(program: Program, calibration: Source, options: Options, exclude: Sequence[str] = ()) -> Converted:
    """The integer program of a float one; raises as `quantize_model`."""
    program = fold(program)
    sequences = read_sequences(calibration, program.spec)
    check_calibration(sequences, program.spec, "")
    return _converted(program, observe(program, sequences), make_plan(program, exclude), options, sequences)


def _converted(program: Program, seen: Observations, plan: Plan, options: Options, sequences: Sequences) -> Converted:
    if options.activation_type != "auto":
        return convert(program, seen, plan, options)
    tried = sequences.limited(_TRIED * program.spec.hop)
    narrow = replace(options, activation_type="int8")
    layers = [op.name for op in program.ops if op.name in plan.integer and isinstance(op, PRODUCTS)]
    wide: frozenset[str] = frozenset()
    best = convert(program, seen, plan, narrow)
    reached, goal = (
        _score(program, item, tried)
        for item in (best, convert(program, seen, plan, replace(narrow, wide=frozenset(layers))))
    )
    while goal - reached > _NEED_DB and len(wide) < len(layers):
        trials = {
            name: convert(program, seen, plan, replace(narrow, wide=wide | {name}))
            for name in layers
            if name not in wide
        }
        scores = {name: _score(program, item, tried) for name, item in trials.items()}
        name = max(scores, key=lambda item: scores[item])
        wide, best, reached = wide | {name}, trials[name], max(reached, scores[name])
    return best


def _score(program: Program, converted: Converted, sequences: Sequences) -> float:
    """The worst output's SNR."""
    runs: dict[str, tuple[list[Any], list[Any]]] = {port.name: ([], []) for port in program.spec.outputs}
    for item, length in zip(sequences.items, sequences.lengths, strict=True):
        given = {name: array[None] for name, array in item.items()}
        floats, exact = (
            run_whole(program, given, length=length),
            run_whole(converted.program, given, evaluate, length=length),
        )
        for port in program.spec.outputs:
            for run, values in zip(runs[port.name], (floats, exact), strict=True):
                run.append(values[port.name].reshape(-1, *port.shape[1:])[port.delay :].reshape(-1))
    return min(snr_db(np.concatenate(a), np.concatenate(b)) for a, b in runs.values())


def measure(
    model: Path,
    program: Program,
    converted: Converted,
    plan: Plan,
    sequences: Sequences,
    size: int,
    metric: Metric | None = None,
) -> Report:
    """The report of a conversion, over the first `MEASURED` frames, or all where a metric needs them."""
    looked = sequences if metric is not None else sequences.limited(MEASURED * program.spec.hop)
    nodes, outputs = measure_nodes(program, converted, plan, looked)
    return Report(
        nodes=nodes,
        outputs=measure_outputs(outputs),
        near_db={},
        calibration_frames=sum(sequences.lengths),
        metric=None if metric is None else measure_metric(metric, outputs, sequences.targets),
        file_before=model.stat().st_size,
        file_after=size,
    )


def _near(data: bytes, path: Path, program: Program, sequences: Sequences) -> dict[str, float]:
    """SNR of the file in onnxruntime against the exact integers, over the first sequence; empty for the engine's."""
    if path.suffix != ".onnx":
        return {}
    draft = path.with_name(f".{path.stem}-near.onnx")
    item, length = sequences.items[0], sequences.lengths[0]
    frames = min(length, 500 * program.spec.hop)
    given = {name: array[:frames] for name, array in item.items()}
    try:
        files.write_bytes(draft, data)
        found: Any = edgernn.load(draft)(given)
    except MissingExtraError:
        return {}
    finally:
        draft.unlink(missing_ok=True)
    exact = run_whole(program, {name: array[None] for name, array in given.items()}, evaluate)
    result = {}
    for port in program.spec.outputs:
        near = found[port.name] if isinstance(found, dict) else found
        whole = exact[port.name].reshape(-1, *port.shape[1:])[port.delay :]
        near = near[None] if port.newest else near
        count = 1 if port.newest else min(len(near), len(whole))
        wanted = whole[-1:] if port.newest else whole[:count]
        if count and not (port.newest and port.delay):
            result[port.name] = snr_db(wanted.reshape(-1), near[:count].reshape(-1))
    return result
