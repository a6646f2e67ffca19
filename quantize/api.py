"""The library call behind `edgernn quantize`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgernn.errors import QuantizeError
from edgernn.export import check_path, encode, read_program, write_model
from edgernn.program import Program
from edgernn.quantize.convert import Converted, Options
from edgernn.quantize.data import Sequences, Source, check_calibration, read_sequences
from edgernn.quantize.fold import fold
from edgernn.quantize.near import near_form
from edgernn.quantize.observe import observe
from edgernn.quantize.observers import OBSERVERS
from edgernn.quantize.plan import make_plan
from edgernn.quantize.report import Metric, Report, measure
from edgernn.quantize.rounding import Rounding
from edgernn.quantize.widths import convert_as_asked

CHOICES = {
    "weight type": ("int8", "int4"),
    "activation type": ("int8", "int16", "auto"),
    "rounding": ("compensated", "plain"),
    "observer": OBSERVERS,
}


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
    """Write the int8 form of an exported file, as `.onnx`, `.ernn` or `.tflite`, with a report of what it costs.

    `calibration` is anything `read_sequences` takes; its sequences run through the float model with the state
    carried. `weight_type` is int8 or int4, `activation_type` int8, int16 or auto (int16 only for inputs of products
    that gain by it), `rounding` compensated or plain, `observer` mse, minmax or percentile. `exclude` holds patterns
    of operations' or parameters' names that stay in float. `metric(outputs, targets)` gives a number for each model,
    from a list of outputs `[frames, …]` (a mapping of such by name, where the model has several) and the calibration
    data's `targets`.

    Raises `CalibrationError` for data that doesn't fit, `QuantizeError` for a model that is quantized already, a
    metric that fails or, under `strict`, a recurrent or matrix weight that would stay in float and was not excluded,
    `ExportError` for a file that can't be written so. No file is left then.
    """
    model, path = Path(model), Path(path)
    options = make_options(weight_type, activation_type, rounding, observer, per_tensor)
    check_path(path)
    if path.exists() and model.exists() and path.samefile(model):
        raise QuantizeError("would be written over the float model", place=str(path), hint="give -o another name")
    program = fold(read_program(model))
    sequences = read_sequences(calibration, program.spec)
    check_calibration(sequences, program.spec, str(calibration) if isinstance(calibration, (str, Path)) else "")
    made, report = quantized(program, sequences, options, exclude, strict=strict, metric=metric, place=str(model))
    data = encode(made, path)
    near = near_form(data, path, made, sequences)
    write_model(path, data, made)
    report = replace(report, near_db=near, file_before=model.stat().st_size, file_after=len(data))
    return QuantizeResult(path, made, report)


def quantized(
    program: Program,
    sequences: Sequences,
    options: Options,
    exclude: Sequence[str] = (),
    *,
    strict: bool = False,
    metric: Metric | None = None,
    place: str = "",
) -> tuple[Program, Report]:
    """The integer program of a folded float one, and what it costs; raises as `quantize_model`."""
    plan = make_plan(program, exclude)
    if not plan.integer:
        raise QuantizeError("has nothing to quantize", place=place)
    converted = convert_as_asked(program, observe(program, sequences), plan, options, sequences)
    made = _signed(converted.program, sequences, options, exclude)
    report = measure(program, converted, plan, sequences, metric)
    if strict and report.left_in_float:
        first = report.left_in_float[0]
        raise QuantizeError(
            f"stays in float: {first.why}",
            place=first.name,
            hint=f"without --strict it is an island of float; or name it: --exclude {first.name}",
        )
    return made, report


def _signed(program: Program, sequences: Sequences, options: Options, exclude: Sequence[str]) -> Program:
    """The program whose contract says what it was made with."""
    chosen = {
        "weight_type": options.rounding.weight_type,
        "activation_type": options.activation_type,
        "rounding": "compensated" if options.rounding.compensated else "plain",
        "observer": options.observer,
        "per_tensor": options.rounding.per_tensor,
        "exclude": list(exclude),
    }
    made = {"calibration_sha256": sequences.sha256(), "options": {"quantize": chosen}}
    return replace(program, spec=replace(program.spec, provenance={**program.spec.provenance, **made}))


def make_options(
    weight_type: str = "int8",
    activation_type: str = "int8",
    rounding: str = "compensated",
    observer: str = "mse",
    per_tensor: bool = False,
) -> Options:
    """Options by their names. Raises `QuantizeError` for a name that is none."""
    given = (weight_type, activation_type, rounding, observer)
    for value, (kind, known) in zip(given, CHOICES.items(), strict=True):
        if value not in known:
            raise QuantizeError(f"no {kind} is called `{value}`", hint=f"there are: {', '.join(known)}")
    return Options(Rounding(rounding == "compensated", weight_type, per_tensor), activation_type, observer)


def quantize_program(program: Program, calibration: Source, options: Options, exclude: Sequence[str] = ()) -> Converted:
    """The integer program of a float one; raises as `quantize_model`."""
    program = fold(program)
    plan = make_plan(program, exclude)
    sequences = read_sequences(calibration, program.spec)
    check_calibration(sequences, program.spec, "")
    return convert_as_asked(program, observe(program, sequences), plan, options, sequences)
