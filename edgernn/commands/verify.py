"""`edgernn verify`."""

from __future__ import annotations

import json

import click

from edgernn.commands.table import table
from edgernn.errors import MissingExtraError, ModelFileError, QuantizeError
from edgernn.runtime import load


@click.command("verify")
@click.argument("first", metavar="A[@BACKEND]")
@click.argument("second", metavar="[B[@BACKEND]]", required=False)
@click.option("--data", metavar="DATA", help="npz, csv, wav, a folder, or pkg.module:iterable.")
@click.option("--min-snr", type=float, metavar="DB", help="Fail below this SNR.")
@click.option("--long", "long", type=click.IntRange(min=0), default=0, metavar="N", help="One more stream of N frames.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
def command(first: str, second: str | None, data: str | None, min_snr: float | None, long: int, as_json: bool) -> None:
    """Check an .ernn file A by itself: its hash, and its test vectors on every instruction set that this CPU can run.

    With B, compare two model files step by step on the same frames of --data; A is the signal of the SNR.
    """
    if (second is None) != (data is None):
        raise click.UsageError("--data goes with two files")
    if second is None or data is None:
        _alone(first, as_json)
    else:
        _compared(first, second, data, min_snr, long, as_json)


def _alone(text: str, as_json: bool) -> None:
    path, backend = _split(text)
    model = load(path, backend)
    results = model.selftest()
    if as_json:
        click.echo(json.dumps({"content_sha256": model.spec.content_sha256, "vectors": results}, indent=1))
    else:
        click.echo(f"content {model.spec.content_sha256}")
        click.echo(table([{"isa": isa, "test vectors": "equal" if same else "WRONG"} for isa, same in results.items()]))
    wrong = [isa for isa, same in results.items() if not same]
    if wrong:
        raise ModelFileError(f"its outputs are not its maker's on {', '.join(wrong)}", place=path)


def _compared(first: str, second: str, data: str, min_snr: float | None, long: int, as_json: bool) -> None:
    try:
        from edgernn.commands.quantize import outputs_text
        from edgernn.quantize import verify_models
    except ImportError as error:
        raise MissingExtraError(
            f"`{error.name}` is not installed", place="comparing two files", hint="pip install 'edgernn[export]'"
        ) from None

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
