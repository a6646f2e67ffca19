"""What a report says, before it is a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgernn.errors import InputError
from edgernn.runtime.bench import Report, bench
from edgernn.runtime.model import Model, load
from edgernn.runtime.recording import read
from edgernn.runtime.report.fidelity import Fidelity, compare_models


@dataclass(frozen=True)
class Findings:
    """All that a page shows. Models go by their file names, boards by their targets' names."""

    models: Mapping[str, Model]  # the first is the signal of every comparison
    sizes: Mapping[str, int]  # bytes of each file
    recording: str | None
    fidelity: Sequence[Fidelity]
    nodes: Mapping[str, Mapping[str, Any]]  # of `edgernn quantize --json`, by operation
    latency: Report | None  # of this machine, with the times of its steps
    boards: Mapping[str, Report]


def examine(
    paths: Sequence[Path],
    *,
    data: Path | None = None,
    long: int = 20_000,
    quantization: Path | None = None,
    measure: bool = True,
    rate_hz: float | None = None,
    steps: int = 2000,
    seconds: float = 5.0,
    boards: Sequence[Path] = (),
) -> Findings:
    """Look at model files, each on the back end of its suffix.

    With a recording `data` (npz, csv, wav), the others are compared with the first over it, and over one stream of
    `long` input frames. `quantization` is what `edgernn quantize --json` printed. Unless `measure` is false, all are
    timed as `bench` does it, with `rate_hz`, `steps` and `seconds`; `boards` are files of `edgernn bench --json`.
    Raises `InputError` for two files of one name, and for files that are not what they should be.
    """
    models: dict[str, Model] = {}
    for path in paths:
        if path.name in models:
            raise InputError("is the name of two of the files", place=path.name, hint="a report tells files by name")
        models[path.name] = load(path)
    first, *others = models
    told = {} if quantization is None else read_quantization(quantization)
    measured = {target: report for path in boards for target, report in read_boards(path).items()}
    fidelity: list[Fidelity] = []
    if data is not None:
        frames = read(data, models[first].spec)
        if not len(next(iter(frames.values()))):
            raise InputError("has no frames", place=str(data))
        fidelity = compare_models(models[first], {name: models[name] for name in others}, frames, long)
    return Findings(
        models=models,
        sizes={path.name: path.stat().st_size for path in paths},
        recording=None if data is None else data.name,
        fidelity=fidelity,
        nodes=told,
        latency=bench(paths, rate_hz=rate_hz, steps=steps, seconds=seconds) if measure else None,
        boards=measured,
    )


def read_boards(path: Path) -> dict[str, Report]:
    """Reports of `edgernn bench --json` by target, the file's own name for a machine that was no target."""
    data = _json(path, "edgernn bench --json")
    if isinstance(data, dict) and isinstance(data.get("targets"), list):
        return {
            str(item["target"]): Report.from_dict(item, str(path))
            for item in data["targets"]
            if isinstance(item, dict) and "target" in item
        }
    return {path.stem: Report.from_dict(data, str(path))}


def read_quantization(path: Path) -> dict[str, dict[str, Any]]:
    """The operations of a report of `edgernn quantize --json`, by name."""
    data = _json(path, "edgernn quantize --json")
    try:
        return {str(node["name"]): {key: node[key] for key in ("form", "snr_db")} for node in data["nodes"]}
    except (KeyError, TypeError):
        raise InputError("is no report of `edgernn quantize --json`", place=str(path)) from None


def _json(path: Path, source: str) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read as what `{source}` prints ({error})", place=str(path)) from None
