"""`edgernn generate`."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import click
import numpy as np

from edgernn.errors import InputError
from edgernn.runtime import Model, Package, load_package, load_programs

METHODS = ("greedy", "sample", "beam")


@click.command("generate")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-i", "--input", "source", type=click.Path(path_type=Path), help="npy file: what a package encodes.")
@click.option("--ids", metavar="1,2,…", help="Instead of a file: the integers that a package encodes.")
@click.option("--prompt", default="", metavar="1,2,…", help="Tokens to go on from.")
@click.option("--method", type=click.Choice(METHODS), default="greedy", show_default=True)
@click.option("--max-length", type=click.IntRange(1), help="Most tokens.  [default: what the file declares]")
@click.option("--temperature", default=1.0, show_default=True, help="Of `sample`.")
@click.option("--top-k", type=click.IntRange(1), help="Of `sample`: the most probable tokens alone.")
@click.option("--seed", default=0, show_default=True, help="Of `sample`.")
@click.option("--beam", default=4, show_default=True, help="Hypotheses of `beam`.")
@click.option("--backend", default="auto", show_default=True, help="What runs the step.")
def command(
    model: Path,
    source: Path | None,
    ids: str | None,
    prompt: str,
    method: str,
    max_length: int | None,
    temperature: float,
    top_k: int | None,
    seed: int,
    beam: int,
    backend: str,
) -> None:
    """Print the tokens that MODEL, a language model or a package, goes on with: one JSON line each."""
    runner, given = _opened(model, source, ids, backend)
    options: dict[str, Any] = {"method": method, "max_length": max_length}
    if method == "sample":
        options |= {"temperature": temperature, "top_k": top_k, "seed": seed}
    start = _integers(prompt)
    labels = (runner.decoder if isinstance(runner, Package) else runner).spec.labels
    if method == "beam":
        tokens = iter(runner.generate(*given, start, beam=beam, **options))
    else:
        tokens = runner.tokens(*given, start, **options)
    for token in tokens:
        line: dict[str, Any] = {"token": token}
        if token < len(labels):
            line["label"] = labels[token]
        click.echo(json.dumps(line))


def _opened(model: Path, source: Path | None, ids: str | None, backend: str) -> tuple[Any, list[Any]]:
    """The model or package, and what the package encodes."""
    programs: dict[str, Model] = {} if model.is_dir() else load_programs(model, backend)
    if len(programs) == 1:
        if source is not None or ids is not None:
            raise InputError("a language model encodes nothing", place=str(model), hint="give it a --prompt")
        return next(iter(programs.values())), []
    if (source is None) == (ids is None):
        raise InputError("a package takes one input", place=str(model), hint="give --input FILE, or --ids")
    return load_package(model, backend), [_read(source) if source is not None else np.array(_integers(ids or ""))]


def _read(source: Path) -> Any:
    try:
        return np.load(source, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"is no npy file ({error})", place=str(source)) from None


def _integers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",") if word.strip()]
    except ValueError:
        raise InputError(f"`{text}` is no list of integers", hint="as 5,6,7") from None
