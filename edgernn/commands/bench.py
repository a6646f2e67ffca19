"""`edgernn bench`."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import click

from edgernn.commands.table import table
from edgernn.errors import InputError
from edgernn.runtime.bench import Report, bench, compare


class _Percent(click.ParamType[float]):
    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return float(str(value).removesuffix("%")) / 100
        except ValueError:
            self.fail(f"`{value}` is no percentage", param, ctx)


@click.command("bench")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--against", multiple=True, type=click.Path(path_type=Path), help="A further file, measured in turns.")
@click.option("--rate", type=float, metavar="HZ", help="Frames of the input per second.  [default: the file's]")
@click.option("--steps", type=click.IntRange(100), default=2000, show_default=True, help="Steps back-to-back.")
@click.option("--seconds", type=click.FloatRange(0.1), default=5.0, show_default=True, help="Of the paced run.")
@click.option("--threads", default=1, show_default=True, help="Threads of a step.")
@click.option("--backend", default="auto", show_default=True, help="What runs the step.")
@click.option("--format", "kind", type=click.Choice(["table", "json", "csv", "md"]), default="table", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Short for --format json.")
@click.option("--baseline", type=click.Path(path_type=Path), help="A JSON report of before; exit 1 when slower.")
@click.option("--tolerance", type=_Percent(), default="10%", show_default=True, help="How much slower is too much.")
@click.option("--max-p99-us", type=float, metavar="N", help="Exit 1 when a row's p99 is above N µs.")
def command(
    file: Path,
    against: tuple[Path, ...],
    rate: float | None,
    steps: int,
    seconds: float,
    threads: int,
    backend: str,
    kind: str,
    as_json: bool,
    baseline: Path | None,
    tolerance: float,
    max_p99_us: float | None,
) -> None:
    """Measure the latency of a step of FILE, back-to-back and at its real pace."""
    before = None if baseline is None else _baseline(baseline)
    report = bench([file, *against], rate_hz=rate, steps=steps, seconds=seconds, threads=threads, backend=backend)
    click.echo(_render(report, "json" if as_json else kind))
    for note in report.notes:
        click.echo(f"note: {note}", err=True)
    slower = [] if before is None else compare(report, before, tolerance)
    if max_p99_us is not None:
        slower += [
            f"{row.file}, {row.kind}: p99 {row.p99_us:g} µs is above {max_p99_us:g}"
            for row in report.rows
            if row.p99_us > max_p99_us
        ]
    for line in slower:
        click.echo(f"slower: {line}", err=True)
    sys.exit(1 if slower else 0)


def _baseline(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read as a report ({error})", place=str(path)) from None
    if not isinstance(data, dict) or not isinstance(data.get("rows"), list):
        raise InputError("is no report of `edgernn bench --json`", place=str(path))
    return data


def _render(report: Report, kind: str) -> str:
    data = report.as_dict()
    if kind == "json":
        return json.dumps(data, indent=2)
    rows = data["rows"]
    if kind == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().rstrip()
    machine = ", ".join(f"{key} {value}" for key, value in data["machine"].items() if value is not None)
    return f"{table(rows, markdown=kind == 'md')}\n\n{machine}"
