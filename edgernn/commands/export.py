"""`edgernn export`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from torch import nn

from edgernn.commands.quantize import DATA, quantize_options, text
from edgernn.export import convert_model, export_model
from edgernn.export.checkpoint import fit_weights
from edgernn.export.source import resolve
from edgernn.quantize import quantize_model, quantize_module
from edgernn.spec import StreamSpec

Options = dict[str, Any]

FORM_OPTIONS = ("precision", "per_channel")
MODULE_OPTIONS = ("weights", "inputs", "time_axis", "name", "model_version", "labels", "rate", "meta")


@click.command("export")
@click.argument("source", metavar="SRC")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="The file to write: .onnx, .ernn, .tflite."
)
@click.option("--weights", metavar="F[:KEY]", help="Checkpoint (.pt, .ckpt, .safetensors), and its entry.")
@click.option("--input", "inputs", multiple=True, metavar="DESC", help="An input, as `float32[1,T,40]`; T is time.")
@click.option("--time-axis", type=int, help="Position of time in the example.  [default: 1]")
@click.option("--name", help="The model's name.  [default: the file's]")
@click.option("--model-version", help="The model's version.  [default: 1]")
@click.option("--labels", metavar="A,B,…|FILE", help="Names of the output's features, or a file with one a line.")
@click.option("--rate", type=float, metavar="HZ", help="Frames of the input per second.")
@click.option("--meta", multiple=True, metavar="K=V", help="Anything else to keep in the file.")
@click.option("--precision", type=click.Choice(["float32", "hybrid8", "int8", "int16x8"]), help="Of a .tflite file.")
@click.option("--per-channel", is_flag=True, help="Of hybrid8: row scales in the file, for TFLite 2.17 and later.")
@click.option("--calibration", metavar="DATA", help=f"Write it in int8, calibrated with {DATA}")
@quantize_options
@click.option("--json", "as_json", is_flag=True, help="Print the contract as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    source: str,
    output: Path,
    weights: str | None,
    inputs: tuple[str, ...],
    time_axis: int | None,
    name: str | None,
    model_version: str | None,
    labels: str | None,
    rate: float | None,
    meta: tuple[str, ...],
    precision: str | None,
    per_channel: bool,
    calibration: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Turn a PyTorch module into a streaming model file, and prove it; or an .onnx file of ours into another format.

    SRC is `package.module:factory`, whose factory returns the module or (module, example), a .pt2 file, or an .onnx
    file that this wrote. With --calibration the file is in int8, as by `edgernn quantize`.
    """
    form: Options = {"precision": precision} if precision else {}
    form |= {"per_channel": True} if per_channel else {}
    if calibration is None:
        _refuse(ctx, options, "goes with --calibration")
    else:
        _refuse(ctx, FORM_OPTIONS, "goes with a file that is quantized already, or with a float one")
    if source.endswith(".onnx"):
        _refuse(ctx, MODULE_OPTIONS, "goes with a module; the file has its contract already")
        spec = _from_file(Path(source), output, calibration, options, form)
    else:
        module, example, axes = resolve(source, inputs)
        if weights is not None:
            file, key = split_key(weights)
            click.echo(f"loaded {fit_weights(module, file, key)}", err=True)
        contract = {
            "time_axis": time_axis if time_axis is not None else 1 if axes is None else axes,
            "name": name,
            "model_version": model_version or "1",
            "labels": _labels(labels),
            "rate_hz": rate,
            "meta": dict(_pair(item) for item in meta),
        }
        spec = _from_module(module, example, output, calibration, contract | form, options)
    if as_json:
        click.echo(json.dumps(json.loads(spec.to_json()), indent=2))


def _from_file(source: Path, output: Path, calibration: str | None, options: Options, form: Options) -> StreamSpec:
    if calibration is not None:
        quantized = quantize_model(source, calibration, output, **options)
        click.echo(text(quantized), err=True)
        return quantized.program.spec
    converted = convert_model(source, output, **form)
    click.echo(converted.report(), err=True)
    return converted.program.spec


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


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise click.BadParameter(f"`{text}` is not of the form K=V", param_hint="--meta")
    return key, value
