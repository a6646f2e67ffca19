"""`edgernn export`."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from torch import nn

from edgernn.commands.quantize import DATA, package_text, quantize_options, text
from edgernn.commands.rate import hertz
from edgernn.export import PackageResult, convert_model, convert_package, export_model, export_onnx, plan_export
from edgernn.export.checkpoint import fit_weights
from edgernn.export.onnx_in import has_contract, read_model
from edgernn.export.source import resolve
from edgernn.quantize import QuantizedPackage, quantize_model, quantize_module, quantize_onnx, quantize_package
from edgernn.runtime import load
from edgernn.spec import StreamSpec
from edgernn.targets.c_export import check_c_path, write_c

Options = dict[str, Any]

FORM_OPTIONS = ("precision", "per_channel")
CONTRACT_OPTIONS = ("inputs", "time_axis", "name", "model_version", "labels", "rate", "train_length", "meta", "mode")
MODULE_OPTIONS = ("weights", "lookahead", "attention_window", "dry_run")
STEP_OPTIONS = ("states", "held", "context")


@click.command("export")
@click.argument("source", metavar="SRC")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file to write: .onnx, .ernn, .tflite, .c.")
@click.option("--weights", metavar="F[:KEY]", help="Checkpoint (.pt, .ckpt, .safetensors), and its entry.")
@click.option("--input", "inputs", multiple=True, metavar="DESC", help="An input, as `float32[1,T,40]`; T is time.")
@click.option("--time-axis", type=int, help="Position of time in the example.  [default: 1]")
@click.option("--name", help="The model's name.  [default: the file's]")
@click.option("--model-version", help="The model's version.  [default: 1]")
@click.option("--labels", metavar="A,B,…|FILE", help="Names of the output's features, or a file with one a line.")
@click.option("--rate", type=hertz, metavar="HZ", help="Frames of the input per second.")
@click.option("--train-length", type=click.IntRange(1), metavar="N", help="Frames of the sequences it was trained on.")
@click.option(
    "--mode", default="stream", show_default=True, help="stream, window:N[/SLIDE] or offline (a whole window)."
)
@click.option("--lookahead", metavar="N[/BLOCK]|MSms", help="What backward layers see of the future.")
@click.option("--attention-window", metavar="N[/AHEAD]", help="The newest frames that each frame attends to.")
@click.option("--state", "states", multiple=True, metavar="IN=OUT", help="A state of an .onnx file made by others.")
@click.option("--set", "held", multiple=True, metavar="NAME=VALUE", help="An input of such a file with one value.")
@click.option("--context", type=click.IntRange(0), default=0, metavar="N", help="Old frames that each run of it takes.")
@click.option("--meta", multiple=True, metavar="K=V", help="Anything else to keep in the file.")
@click.option("--precision", type=click.Choice(["float32", "hybrid8", "int8", "int16x8"]), help="Of a .tflite file.")
@click.option("--per-channel", is_flag=True, help="Of hybrid8: row scales in the file, for TFLite 2.17 and later.")
@click.option("--calibration", metavar="DATA", help=f"Write it in int8, calibrated with {DATA}")
@quantize_options
@click.option("--dry-run", is_flag=True, help="Write nothing; say what streams, how late and why, and what does not.")
@click.option("--json", "as_json", is_flag=True, help="Print the contract as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    source: str,
    output: Path | None,
    weights: str | None,
    inputs: tuple[str, ...],
    time_axis: int | None,
    name: str | None,
    model_version: str | None,
    labels: str | None,
    rate: float | None,
    train_length: int | None,
    mode: str,
    lookahead: str | None,
    attention_window: str | None,
    states: tuple[str, ...],
    held: tuple[str, ...],
    context: int,
    meta: tuple[str, ...],
    precision: str | None,
    per_channel: bool,
    calibration: str | None,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Turn a PyTorch module into a streaming model file, and prove it; or a file of ours into another format.

    SRC is `package.module:factory`, whose factory returns the module or (module, example), a .pt2 file, an .onnx or
    .ernn file that this wrote, a package's folder, or an .onnx file that others made: a run of it is one step, its
    states go in and come out (docs/onnx-in.md). A .c file has the model's bytes; its header and the engine's two files
    go beside it. With --calibration the file is in int8, as by `edgernn quantize`. With --dry-run no file is written,
    and the exit status says whether the module streams.
    """
    package = Path(source).is_dir()
    if package:
        _refuse(ctx, (*MODULE_OPTIONS, *CONTRACT_OPTIONS, *STEP_OPTIONS, *FORM_OPTIONS), "does not go with a package")
    packed = source.endswith(".ernn")
    others = source.endswith(".onnx") and not has_contract(read_model(source))
    ours = packed or (source.endswith(".onnx") and not others)
    if ours or others:
        _refuse(ctx, MODULE_OPTIONS, "goes with a module")
    if ours:
        _refuse(ctx, CONTRACT_OPTIONS, "goes with a module; the file has its contract already")
    if not others:
        _refuse(ctx, STEP_OPTIONS, "goes with an .onnx file that others made")
    if dry_run:
        seen: Options = {"mode": mode, "lookahead": lookahead, "attention_window": attention_window, "rate_hz": rate}
        _dry_run(ctx, source, inputs, time_axis, as_json, **seen)
        return
    if output is None:
        raise click.UsageError("Missing option '-o' / '--output'.", ctx)
    form: Options = {"precision": precision} if precision else {}
    form |= {"per_channel": True} if per_channel else {}
    if calibration is None:
        _refuse(ctx, options, "goes with --calibration")
    else:
        _refuse(ctx, FORM_OPTIONS, "goes with a file that is quantized already, or with a float one")
    if package:
        _from_package(Path(source), output, calibration, options, as_json)
        return
    contract: Options = {
        "name": name,
        "model_version": model_version or "1",
        "labels": _labels(labels),
        "rate_hz": rate,
        "train_length": train_length,
        "mode": mode,
        "meta": dict(_pair(item, "--meta") for item in meta),
    }
    with _ernn_for(output) as file:
        if packed:
            if calibration is not None or form or file == output:
                raise click.UsageError("a .ernn file has its form already; it becomes a .c file", ctx)
            spec = _to_c(Path(source), output)
        elif ours:
            spec = _from_file(Path(source), file, calibration, options, form)
        elif others:
            contract |= {"inputs": inputs, "time_axis": time_axis, "context": context}
            contract |= {"states": dict(_pair(item, "--state") for item in states)}
            contract |= {"held": dict(_pair(item, "--set") for item in held)}
            spec = _from_others(Path(source), file, calibration, contract | form, options)
        else:
            module, example, axes = resolve(source, inputs)
            if weights is not None:
                checkpoint, key = split_key(weights)
                click.echo(f"loaded {fit_weights(module, checkpoint, key)}", err=True)
            contract |= {"time_axis": time_axis if time_axis is not None else 1 if axes is None else axes}
            contract |= {"lookahead": lookahead, "attention_window": attention_window}
            spec = _from_module(module, example, file, calibration, contract | form, options)
        if file != output and not packed:
            _to_c(file, output)
    if as_json:
        click.echo(json.dumps(json.loads(spec.to_json()), indent=2))


@contextmanager
def _ernn_for(output: Path) -> Iterator[Path]:
    """Where the model file is written: of a .c file's, aside."""
    if output.suffix != ".c":
        yield output
        return
    check_c_path(output)
    with tempfile.TemporaryDirectory(prefix="edgernn-") as folder:
        yield Path(folder) / f"{output.stem}.ernn"


def _to_c(source: Path, output: Path) -> StreamSpec:
    for path in write_c(source, output):
        click.echo(f"wrote {path} ({path.stat().st_size} bytes)", err=True)
    return load(source).spec


def _dry_run(
    ctx: click.Context, source: str, inputs: tuple[str, ...], time_axis: int | None, as_json: bool, **options: Any
) -> None:
    module, example, axes = resolve(source, inputs)
    plan = plan_export(module, example, time_axis if time_axis is not None else 1 if axes is None else axes, **options)
    click.echo(json.dumps(plan.as_dict(), indent=2) if as_json else plan.report())
    if plan.blockers:
        ctx.exit(1)


def _from_package(source: Path, output: Path, calibration: str | None, options: Options, as_json: bool) -> None:
    made: PackageResult | QuantizedPackage
    if calibration is not None:
        made = quantize_package(source, calibration, output, **options)
        click.echo(package_text(made), err=True)
    else:
        made = convert_package(source, output)
        click.echo(made.report(), err=True)
    if as_json:
        contracts = {name: json.loads(program.spec.to_json()) for name, program in made.programs.items()}
        click.echo(json.dumps(contracts, indent=2))


def _from_file(source: Path, output: Path, calibration: str | None, options: Options, form: Options) -> StreamSpec:
    if calibration is not None:
        quantized = quantize_model(source, calibration, output, **options)
        click.echo(text(quantized), err=True)
        return quantized.program.spec
    converted = convert_model(source, output, **form)
    click.echo(converted.report(), err=True)
    return converted.program.spec


def _from_others(
    source: Path, output: Path, calibration: str | None, contract: Options, options: Options
) -> StreamSpec:
    if calibration is not None:
        exported, quantized = quantize_onnx(source, calibration, output, contract, **options)
        click.echo(f"{exported.found()}\n{exported.proof.report()}\n\n{text(quantized)}", err=True)
        return quantized.program.spec
    result = export_onnx(source, output, **contract)
    click.echo(result.report(), err=True)
    return result.program.spec


def _from_module(
    module: nn.Module, example: Any, output: Path, calibration: str | None, contract: Options, options: Options
) -> StreamSpec:
    if calibration is not None:
        proof, quantized = quantize_module(module, example, calibration, output, **contract, **options)
        click.echo(f"{proof.report()}\n\n{text(quantized)}", err=True)
        return quantized.program.spec
    exported = export_model(module, example, output, **contract)
    click.echo(exported.report(), err=True)
    return exported.program.spec


def _refuse(ctx: click.Context, names: Iterable[str], why: str) -> None:
    """Raise a usage error for the first of these parameters that was given."""
    for parameter in ctx.command.params:
        if parameter.name in names and ctx.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[-1]} {why}", ctx)


def split_key(text: str) -> tuple[str, str | None]:
    """`file:key` at the last colon behind which no path goes on."""
    found = re.match(r"^(.*):([^:/\\]+)$", text)
    if found is None or Path(text).exists():
        return text, None
    return found[1], found[2]


def _labels(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    if Path(text).is_file():
        return tuple(line.strip() for line in Path(text).read_text("utf-8").splitlines() if line.strip())
    return tuple(word.strip() for word in text.split(","))


def _pair(text: str, option: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise click.BadParameter(f"`{text}` is not of the form K=V", param_hint=option)
    return key, value
