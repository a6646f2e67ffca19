"""`edgernn report`."""

from __future__ import annotations

from pathlib import Path

import click

from edgernn.commands.rate import hertz
from edgernn.files import write_bytes
from edgernn.runtime.report import examine, render

FILE = click.Path(path_type=Path)


@click.command("report")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=FILE)
@click.option("-o", "--output", required=True, type=FILE, help="The page to write, .html.")
@click.option("--data", type=FILE, help="A recording to compare the files on: npz, csv, wav.")
@click.option(
    "--long", type=click.IntRange(1), default=20_000, show_default=True, metavar="N", help="Frames of a long run."
)
@click.option("--quantization", type=FILE, help="What `edgernn quantize --json` printed of the first file.")
@click.option("--bench", "boards", multiple=True, type=FILE, help="What `edgernn bench --json` printed, on boards too.")
@click.option("--skip-bench", is_flag=True, help="Measure nothing here.")
@click.option("--rate", type=hertz, metavar="HZ", help="Frames of the input per second.  [default: the file's]")
@click.option("--steps", type=click.IntRange(100), default=2000, show_default=True, help="Steps back-to-back.")
@click.option("--seconds", type=click.FloatRange(0.1), default=5.0, show_default=True, help="Of the paced run.")
def command(
    models: tuple[Path, ...],
    output: Path,
    data: Path | None,
    long: int,
    quantization: Path | None,
    boards: tuple[Path, ...],
    skip_bench: bool,
    rate: float | None,
    steps: int,
    seconds: float,
) -> None:
    """Write one page about model files: contract, layers, what int8 costs, error over time, latency.

    The first MODEL is the signal that the others are compared with. The page is one file and asks for no other.
    """
    if output.suffix.lower() not in (".html", ".htm"):
        raise click.UsageError(f"a report is a page: `{output}` should end in .html")
    findings = examine(
        models,
        data=data,
        long=long,
        quantization=quantization,
        measure=not skip_bench,
        rate_hz=rate,
        steps=steps,
        seconds=seconds,
        boards=boards,
    )
    write_bytes(output, render(findings).encode())
    click.echo(f"wrote {output}")
