"""`edgernn bench`."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import click

from edgernn.commands.host import of_host
from edgernn.commands.rate import hertz
from edgernn.commands.table import table
from edgernn.errors import InputError
from edgernn.runtime.bench import Report, bench, compare


def percent(value: str) -> float:
    """A function, as `click.ParamType` of 8.1 takes no type argument."""
    try:
        return float(value.removesuffix("%")) / 100
    except ValueError:
        raise click.BadParameter(f"`{value}` is no percentage") from None


@click.command("bench")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--against", multiple=True, type=click.Path(path_type=Path), help="A further file, measured in turns.")
@click.option("--rate", type=hertz, metavar="HZ", help="Frames of the input per second.  [default: the file's]")
@click.option("--steps", type=click.IntRange(100), default=2000, show_default=True, help="Steps back-to-back.")
@click.option("--seconds", type=click.FloatRange(0.1), default=5.0, show_default=True, help="Of the paced run.")
@click.option("--threads", default=1, show_default=True, help="Threads of a step.")
@click.option("--backend", default="auto", show_default=True, help="What runs the step.")
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="USER@HOST|adb:SERIAL|serial:DEV",
    help="Measure there, over ssh, adb or a serial line; several at once.",
)
@click.option("--board", metavar="NAME", help="What the targets are.  [default: by their CPU]")
@click.option("--clock-mhz", type=click.FloatRange(0, min_open=True), help="At what a serial line's board runs.")
@click.option(
    "--runtime",
    type=click.Choice(["static", "python"]),
    default="static",
    show_default=True,
    help="What runs on a target: a static program, or the device's wheel under its Python.",
)
@click.option(
    "--estimate", "estimated", is_flag=True, help="Count a step on the emulator of --board; no time is measured."
)
@click.option("--format", "kind", type=click.Choice(["table", "json", "csv", "md"]), default="table", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Short for --format json.")
@click.option("--baseline", type=click.Path(path_type=Path), help="A JSON report of before; exit 1 when slower.")
@click.option("--tolerance", type=percent, default="10%", show_default=True, help="How much slower is too much.")
@click.option("--max-p99-us", type=float, metavar="N", help="Exit 1 when a row's p99 is above N µs.")
def command(
    file: Path,
    against: tuple[Path, ...],
    rate: float | None,
    steps: int,
    seconds: float,
    threads: int,
    backend: str,
    targets: tuple[str, ...],
    board: str | None,
    clock_mhz: float | None,
    runtime: str,
    estimated: bool,
    kind: str,
    as_json: bool,
    baseline: Path | None,
    tolerance: float,
    max_p99_us: float | None,
) -> None:
    """Measure the latency of a step of FILE, back-to-back and at its real pace.

    With --target it is measured on boards, by a program that needs nothing there and leaves nothing, or with --runtime
    python by their Python, which needs numpy and click; a microcontroller on a serial line has its program by `edgernn
    targets firmware`. With --estimate
    the instructions of a step are counted for a board that is not here; the time is a range, and says so.
    """
    before = None if baseline is None else _baseline(baseline)
    if estimated:
        if board is None or targets or against:
            raise click.UsageError("--estimate takes one file and --board, and no --target")
        known = of_host("edgernn.targets", "--estimate").find_board(board)
        counted = of_host("edgernn.targets.estimate", "--estimate").estimate(known, file)
        click.echo(json.dumps(counted.as_dict(), indent=2) if as_json or kind == "json" else counted.report())
        return
    serial = [target for target in targets if target.startswith("serial:")]
    if clock_mhz is not None and not serial:
        raise click.UsageError("--clock-mhz goes with --target serial:DEV")
    if serial:
        given = against or rate or board or baseline or max_p99_us or kind in ("csv", "md")
        if len(targets) > 1 or given or threads != 1 or backend not in ("auto", "engine"):
            raise click.UsageError("--target serial:DEV takes one file and --steps, --clock-mhz and --json alone")
        answer = of_host("edgernn.targets.serial", "--target").bench_serial(targets[0], file, steps, clock_mhz)
        click.echo(json.dumps(answer.as_dict(), indent=2) if as_json or kind == "json" else answer.report())
        return
    if board is not None and not targets:
        raise click.UsageError("--board goes with --target or --estimate")
    if runtime != "static" and not targets:
        raise click.UsageError("--runtime goes with --target")
    if targets:
        if threads != 1 or backend not in ("auto", "engine"):
            raise click.UsageError("on a target runs the engine, of one thread")
        options = ["--steps", str(steps), "--seconds", str(seconds), *(["--rate", str(rate)] if rate else [])]
        answers = of_host("edgernn.targets.remote", "--target").bench_remotely(
            targets, [file, *against], options, board, runtime
        )
        reports = {answer.target: Report.from_dict(answer.report, answer.target) for answer in answers}
    else:
        here = bench([file, *against], rate_hz=rate, steps=steps, seconds=seconds, threads=threads, backend=backend)
        reports = {"": here}
    click.echo(_render(reports, "json" if as_json else kind))
    for target, report in reports.items():
        for note in report.notes:
            click.echo(f"note: {target}{': ' if target else ''}{note}", err=True)
    slower = [
        line for report in reports.values() for line in ([] if before is None else compare(report, before, tolerance))
    ]
    if max_p99_us is not None:
        slower += [
            f"{target}{': ' if target else ''}{row.file}, {row.kind}: p99 {row.p99_us:g} µs is above {max_p99_us:g}"
            for target, report in reports.items()
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


def _render(reports: dict[str, Report], kind: str) -> str:
    """Reports by target, "" for this machine, which alone has none in its rows."""
    if kind == "json":
        named = [{"target": target, **report.as_dict()} for target, report in reports.items()]
        return json.dumps({"targets": named} if "" not in reports else reports[""].as_dict(), indent=2)
    rows = [
        ({"target": target} if target else {}) | row
        for target, report in reports.items()
        for row in report.as_dict()["rows"]
    ]
    if kind == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().rstrip()
    machines = [
        f"{target}{': ' if target else ''}"
        + ", ".join(f"{key} {value}" for key, value in report.machine.items() if value is not None)
        for target, report in reports.items()
    ]
    return f"{table(rows, markdown=kind == 'md')}\n\n" + "\n".join(machines)
