"""`edgernn quantize`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from edgernn.commands.table import table
from edgernn.errors import QuantizeError
from edgernn.named import named
from edgernn.quantize import (
    Difference,
    QuantizedPackage,
    QuantizeResult,
    Report,
    quantize_model,
    quantize_package,
)

Command = Callable[..., None]

DATA = "npz, csv, wav, a folder, or pkg.module:iterable."
OPTIONS = (
    click.option("--weight-type", type=click.Choice(["int8", "int4"]), default="int8", show_default=True),
    click.option("--activation-type", type=click.Choice(["int8", "int16", "auto"]), default="int8", show_default=True),
    click.option("--rounding", type=click.Choice(["compensated", "plain"]), default="compensated", show_default=True),
    click.option("--observer", type=click.Choice(["mse", "minmax", "percentile"]), default="mse", show_default=True),
    click.option("--per-tensor", is_flag=True, help="One weight scale a matrix instead of one a row."),
    click.option("--exclude", multiple=True, metavar="PATTERN", help="Operations or parameters that stay in float."),
    click.option("--strict", is_flag=True, help="Fail when a recurrent or matrix weight would stay in float."),
)


def quantize_options(function: Command) -> Command:
    """The options of `quantize_model`, in the order of `OPTIONS`."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


@click.command("quantize")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--calibration", required=True, metavar="DATA", help=DATA)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="The file to write: .onnx, .ernn, .tflite."
)
@quantize_options
@click.option("--metric", metavar="PKG.MODULE:FN", help="`fn(outputs, targets) -> float`, for both models.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(model: Path, calibration: str, output: Path, metric: str | None, as_json: bool, **options: Any) -> None:
    """Write MODEL in int8, calibrated with DATA, and report what it costs.

    Of a package's folder DATA is pkg.module:pairs, of what the encoder takes and the tokens that belong to it; the
    file is a .ernn, or another folder.
    """
    if model.is_dir():
        if metric:
            raise click.UsageError("--metric goes with a single model")
        package = quantize_package(model, calibration, output, **options)
        told = {name: report.as_dict() for name, report in package.reports.items()}
        click.echo(json.dumps(told, indent=1) if as_json else package_text(package))
        return
    function = named(metric, "function", QuantizeError) if metric else None
    result = quantize_model(model, calibration, output, metric=function, **options)
    click.echo(json.dumps(result.report.as_dict(), indent=1) if as_json else text(result))


def text(result: QuantizeResult) -> str:
    """The report for a person."""
    report = result.report
    return f"{_told(report)}\n\nwrote {result.path} ({report.file_after} bytes, from {report.file_before})"


def package_text(package: QuantizedPackage) -> str:
    """The reports of a package's programs for a person."""
    parts = [f"{name}\n\n{_told(report)}" for name, report in package.reports.items()]
    return "\n\n".join([*parts, f"wrote {package.path}"])


def _told(report: Report) -> str:
    nodes = [
        {
            "node": node.name,
            "op": node.op,
            "form": node.form,
            "bytes": node.bytes_before or None,
            "then": node.bytes_after or None,
            "SNR dB": _db(node.snr_db),
            "saturated": None if node.saturated is None else f"{node.saturated:.2%}",
            "why float": node.why,
        }
        for node in report.nodes
    ]
    lines = [table(nodes), "", outputs_text(report.outputs)]
    lines += [f"near form in onnxruntime: `{name}` {db:.1f} dB of the exact" for name, db in report.near_db.items()]
    lines.append(f"calibrated on {report.calibration_frames} frames, measured on {report.measured_frames}")
    lines += [f"warning: {text}" for text in report.warnings]
    if report.metric is not None:
        lines.append(f"metric: {report.metric[0]:.6g} in float, {report.metric[1]:.6g} in int8")
    return "\n".join(lines)


def outputs_text(outputs: Any) -> str:
    """Differences by output, or by file and output."""
    return table([_row(key, item) for key, item in outputs.items()])


def _row(key: str | tuple[str, str], item: Difference) -> dict[str, Any]:
    names = {"output": key} if isinstance(key, str) else {"file": Path(key[0]).name, "output": key[1]}
    return {
        **names,
        "SNR dB": _db(item.snr_db),
        "first tenth": _db(item.first_tenth_db),
        "last tenth": _db(item.last_tenth_db),
        "drift": item.drift,
        "stuck": item.stuck,
        "max error": item.max_error,
    }


def _db(value: float | None) -> Any:
    return None if value is None else ("equal" if value == float("inf") else round(value, 1))
