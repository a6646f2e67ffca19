"""`edgernn verify`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from edgernn.commands.table import table
from edgernn.errors import HOST_INSTALL, MissingExtraError, ModelFileError, QuantizeError
from edgernn.runtime import load


@click.command("verify")
@click.argument("first", metavar="A[@BACKEND]|SRC")
@click.argument("others", metavar="[B[@BACKEND]]...", nargs=-1)
@click.option("--data", metavar="DATA", help="npz, csv, wav, a folder, or pkg.module:iterable.")
@click.option("--weights", metavar="F[:KEY]", help="Checkpoint of SRC.")
@click.option("--time-axis", type=int, default=1, show_default=True, help="Position of time in SRC's input.")
@click.option("--min-snr", type=float, metavar="DB", help="Fail below this SNR.")
@click.option("--long", "long", type=click.IntRange(min=0), default=0, metavar="N", help="One more stream of N frames.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
def command(
    first: str,
    others: tuple[str, ...],
    data: str | None,
    weights: str | None,
    time_axis: int,
    min_snr: float | None,
    long: int,
    as_json: bool,
) -> None:
    """Check an .ernn file A by itself: its hash, and its test vectors on every instruction set that this CPU can run.

    With more files, compare each with the first step by step on the same frames of --data; A is the signal of the
    SNR. In A's place may stand the module that they came from, `package.module:factory` or a .pt2: PyTorch runs the
    whole sequences then.
    """
    if bool(others) != (data is not None):
        raise click.UsageError("--data goes with several files")
    if data is None:
        _alone(first, as_json)
        return
    results = _compared(first, others, data, (weights, time_axis), long)
    if as_json:
        files = [{"file": name, **_plain(result)} for name, result in results.items()]
        click.echo(json.dumps({"signal": first, "files": files}, indent=1))
    else:
        _print(results)
    for name, result in results.items():
        for output, item in {**result.outputs, **result.long}.items():
            if item.drifts or item.stuck:
                what = f"{item.stuck} units are stuck" if item.stuck else "the last tenth is worse than the first"
                click.echo(f"warning: `{output}` of {name} drifts: {what}", err=True)
    for name, result in results.items():
        if min_snr is not None and result.worst_db < min_snr:
            raise QuantizeError(f"{result.worst_db:.1f} dB is below {min_snr:g} dB", place=name)


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


def _compared(
    first: str, others: tuple[str, ...], data: str, module: tuple[str | None, int], long: int
) -> dict[str, Any]:
    """The comparison of each file with the first, by the names they were given as."""
    try:
        from edgernn.quantize import verify_models
    except ImportError as error:
        device = (error.name or "").startswith("edgernn.")
        raise MissingExtraError(
            f"`{error.name}` is not installed",
            place="comparing files",
            hint=HOST_INSTALL if device else "pip install 'edgernn[export]'",
        ) from None

    signal, one = _signal(first, *module)
    results = {}
    for text in others:
        path, backend = _split(text)
        results[text] = verify_models(signal, path, data, long=long, backends=(one, backend))
    return results


def _signal(text: str, weights: str | None, time_axis: int) -> tuple[Any, str]:
    """What the first argument names, and its back end."""
    if not text.endswith(".pt2") and (Path(_split(text)[0]).exists() or ":" not in text):
        return _split(text)
    from edgernn.commands.export import split_key
    from edgernn.export import WholeSequence
    from edgernn.export.checkpoint import fit_weights
    from edgernn.export.source import load_module

    module, _ = load_module(text)
    if weights is not None:
        fit_weights(module, *split_key(weights))
    return WholeSequence(module, time_axis), ""


def _print(results: dict[str, Any]) -> None:
    from edgernn.commands.quantize import outputs_text

    for text, part in (("over {0.frames} frames", "outputs"), ("over one stream of {0.long_frames} frames", "long")):
        rows = {(file, name): item for file, r in results.items() for name, item in getattr(r, part).items()}
        if rows:
            click.echo(outputs_text(rows))
            click.echo(text.format(next(iter(results.values()))))


def _plain(result: Any) -> dict[str, Any]:
    parts = {"outputs": result.outputs, "long": result.long}
    return {key: {name: item.as_dict() for name, item in part.items()} for key, part in parts.items()}


def _split(text: str) -> tuple[str, str]:
    path, _, backend = text.rpartition("@")
    return (path, backend) if path else (text, "auto")
