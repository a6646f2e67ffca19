"""`edgernn export`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from edgernn.export.api import export_model
from edgernn.export.checkpoint import fit_weights
from edgernn.export.source import resolve


@click.command("export")
@click.argument("source", metavar="SRC")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The file to write (.onnx).")
@click.option("--weights", metavar="F[:KEY]", help="Checkpoint (.pt, .ckpt, .safetensors), and its entry.")
@click.option("--input", "inputs", multiple=True, metavar="DESC", help="An input, as `float32[1,T,40]`; T is time.")
@click.option("--time-axis", type=int, help="Position of time in the example.  [default: 1]")
@click.option("--name", help="The model's name.  [default: the file's]")
@click.option("--model-version", default="1", show_default=True, help="The model's version.")
@click.option("--labels", metavar="A,B,…|FILE", help="Names of the output's features, or a file with one a line.")
@click.option("--rate", type=float, metavar="HZ", help="Frames of the input per second.")
@click.option("--meta", multiple=True, metavar="K=V", help="Anything else to keep in the file.")
@click.option("--json", "as_json", is_flag=True, help="Print the contract as JSON.")
def command(
    source: str,
    output: Path,
    weights: str | None,
    inputs: tuple[str, ...],
    time_axis: int | None,
    name: str | None,
    model_version: str,
    labels: str | None,
    rate: float | None,
    meta: tuple[str, ...],
    as_json: bool,
) -> None:
    """Turn a PyTorch module into a streaming model file, and prove it.

    SRC is `package.module:factory`, whose factory returns the module or (module, example), or a .pt2 file.
    """
    module, example, axes = resolve(source, inputs)
    if weights is not None:
        file, key = _split_key(weights)
        click.echo(f"loaded {fit_weights(module, file, key)}", err=True)
    if time_axis is not None:
        axes = time_axis
    result = export_model(
        module,
        example,
        output,
        1 if axes is None else axes,
        name=name,
        model_version=model_version,
        labels=_labels(labels),
        rate_hz=rate,
        meta=dict(_pair(item) for item in meta),
    )
    click.echo(result.report(), err=True)
    if as_json:
        click.echo(json.dumps(json.loads(result.program.spec.to_json()), indent=2))


def _split_key(text: str) -> tuple[str, str | None]:
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
