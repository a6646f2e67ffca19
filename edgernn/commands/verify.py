"""`edgernn verify`."""

from __future__ import annotations

import json

import click

from edgernn.commands.quantize import outputs_text
from edgernn.errors import QuantizeError
from edgernn.quantize import verify_models


@click.command("verify")
@click.argument("first", metavar="A[@BACKEND]")
@click.argument("second", metavar="B[@BACKEND]")
@click.option("--data", required=True, metavar="DATA", help="npz, csv, wav, a folder, or pkg.module:iterable.")
@click.option("--min-snr", type=float, metavar="DB", help="Fail below this SNR.")
@click.option("--long", "long", type=click.IntRange(min=0), default=0, metavar="N", help="One more stream of N frames.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
def command(first: str, second: str, data: str, min_snr: float | None, long: int, as_json: bool) -> None:
    """Compare two model files step by step on the same frames; A is the signal of the SNR."""
    (a, one), (b, two) = (_split(text) for text in (first, second))
    result = verify_models(a, b, data, long=long, backends=(one, two))
    if as_json:
        parts = {"outputs": result.outputs, "long": result.long}
        click.echo(
            json.dumps({key: {n: d.as_dict() for n, d in part.items()} for key, part in parts.items()}, indent=1)
        )
    else:
        click.echo(outputs_text(result.outputs))
        click.echo(f"over {result.frames} frames")
        if result.long:
            click.echo(f"\n{outputs_text(result.long)}\nover one stream of {result.long_frames} frames")
    for name, item in {**result.outputs, **result.long}.items():
        if item.drifts or item.stuck:
            what = f"{item.stuck} units are stuck" if item.stuck else "the last tenth is worse than the first"
            click.echo(f"warning: `{name}` drifts: {what}", err=True)
    if min_snr is not None and result.worst_db < min_snr:
        raise QuantizeError(f"{result.worst_db:.1f} dB is below {min_snr:g} dB", place=second)


def _split(text: str) -> tuple[str, str]:
    path, _, backend = text.rpartition("@")
    return (path, backend) if path else (text, "auto")
