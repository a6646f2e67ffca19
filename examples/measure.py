"""What the applications share: where data is found, the row that each ends with, and the page of all rows.

python -m examples.measure             # docs/applications.md from build/applications/*.json
python -m examples.measure --latency   # the steps of the kept files are measured again first
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

OUT = Path("build/applications")
PAGE = Path("docs/applications.md")
FOLDERS = (os.environ.get("EDGERNN_TEST_DATA", ""), "../shared/data")  # where real data may be
POINTS, RELATIVE = 0.5, 0.01  # what int8 may cost: in points of a percentage, or as a share of an error
HEAD = """# Applications

Each row is a file of [examples/](../examples/README.md), which trains the network, exports it, proves the export,
quantizes it, streams the test data and measures a step. `make applications` runs what has changed and writes this
page; `python -m examples.NAME` runs one. Quality is measured on data that was not trained on, step by step, by the
same function for both forms: float by onnxruntime, int8 by the engine. int8 may cost 0.5 points of a percentage, or
1 % of an error; the command fails where it costs more. A step is timed back-to-back on one thread, both forms in turns;
the real-time factor is the engine's p50 over the time that a step's frames last. Where an application has two files, a
step is both; of a package of encoder and decoder, it is the decoder's.

Measured on {cpu}, {cores} cores.
"""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Steps:
    """A step of all of an application's files on one back end, back-to-back; real-time factor by p50."""

    p50_us: float
    p99_us: float
    real_time_factor: float | None  # None where frames have no rate, as in text


@dataclass(frozen=True)
class Result:
    """One row: a network on one set of data. `metric` ends in % where it is a percentage."""

    name: str
    application: str
    data: str
    network: str
    parameters: int
    metric: str
    float32: float
    int8: float
    float_files: list[str]
    int8_files: list[str]
    float_bytes: int
    int8_bytes: int
    onnxruntime: Steps
    engine: Steps
    rate_hz: float | None
    notes: list[str]

    @property
    def holds(self) -> bool:
        """Is int8 within `POINTS` of float, or for what is no percentage within the share `RELATIVE`."""
        change = abs(self.int8 - self.float32)
        return change <= (POINTS if self.metric.endswith("%") else RELATIVE * abs(self.float32)) + 1e-9


def find_data(name: str, given: Path | None = None) -> Path | None:
    """`given`, or a file or folder below `EDGERNN_TEST_DATA` or `../shared/data`; None where there is none.

    Raises `SystemExit` for a given path that is not there.
    """
    if given is not None:
        if not given.exists():
            raise SystemExit(f"error: {given} is not there")
        return given
    return next((Path(item) / name for item in FOLDERS if item and (Path(item) / name).exists()), None)


def parser(doc: str | None, steps: int) -> argparse.ArgumentParser:
    """The options that all applications have."""
    made = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    made.add_argument("--data", type=Path, help="the real data, where it is not below EDGERNN_TEST_DATA")
    made.add_argument("--steps", type=int, default=steps, help="of training (default %(default)s)")
    made.add_argument("--out", type=Path, default=OUT, help="folder for what is made (default %(default)s)")
    return made


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def measure(
    name: str,
    *,
    application: str,
    data: str,
    network: str,
    parameters: int,
    metric: str,
    score: Callable[[Sequence[Path]], float],
    float_files: Sequence[Path],
    int8_files: Sequence[Path],
    rate_hz: float | None = None,
    notes: Sequence[str] = (),
    out: Path = OUT,
) -> Result:
    """Score both forms with the same function, time their steps, print the row and keep it as `out/name.json`.

    `score` gets the files of one form: the float ones run on onnxruntime, the int8 ones on the engine. `rate_hz` is the
    rate of the first file's input frames.
    """
    float_steps, int8_steps = step_times(float_files, int8_files, rate_hz)
    result = Result(
        name=name,
        application=application,
        data=data,
        network=network,
        parameters=parameters,
        metric=metric,
        float32=score(float_files),
        int8=score(int8_files),
        float_files=[str(path) for path in float_files],
        int8_files=[str(path) for path in int8_files],
        float_bytes=sum(map(bytes_of, float_files)),
        int8_bytes=sum(map(bytes_of, int8_files)),
        onnxruntime=float_steps,
        engine=int8_steps,
        rate_hz=rate_hz,
        notes=list(notes),
    )
    keep(result, out)
    from edgernn.commands.table import table

    print(table([row(result)]))
    for note in notes:
        print(f"- {note}")
    return result


def step_times(float_files: Sequence[Path], int8_files: Sequence[Path], rate_hz: float | None) -> tuple[Steps, Steps]:
    """Of both forms, interleaved; where an application has several files, their sums."""
    from edgernn.runtime.bench import bench

    report = bench([*float_files, *int8_files], seconds=0)
    found = {item.file: item for item in report.rows}
    both = []
    for files in (float_files, int8_files):
        rows = [found[path.name] for path in files]
        p50 = sum(item.p50_us for item in rows)
        factor = None if rate_hz is None else p50 / 1e6 * rate_hz / hop_of(files[0])
        both.append(Steps(round(p50, 2), round(sum(item.p99_us for item in rows), 2), factor))
    return both[0], both[1]


def bytes_of(path: Path) -> int:
    """Of a file, or the files of a package's folder."""
    return sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]))


def hop_of(path: Path) -> int:
    """Input frames per step."""
    import edgernn

    return edgernn.load(path).spec.hop


def keep(result: Result, out: Path) -> None:
    """Write the row; nothing half-written is left."""
    out.mkdir(parents=True, exist_ok=True)
    draft = out / f"{result.name}.json.part"
    draft.write_text(json.dumps(asdict(result), indent=1) + "\n")
    draft.replace(out / f"{result.name}.json")


def read(path: Path) -> Result:
    """What `keep` wrote."""
    fields = json.loads(path.read_text())
    for key in ("onnxruntime", "engine"):
        fields[key] = Steps(**fields[key])
    return Result(**fields)


def row(result: Result) -> dict[str, Any]:
    """As it is printed."""
    factor = result.engine.real_time_factor
    return {
        "application": result.application,
        "data": result.data,
        "network": result.network,
        "parameters": f"{result.parameters:,}",
        "quality": result.metric,
        "float": f"{result.float32:.4g}",
        "int8": f"{result.int8:.4g}",
        "kB float": f"{result.float_bytes / 1000:.0f}",
        "kB int8": f"{result.int8_bytes / 1000:.0f}",
        "ort p50 µs": f"{result.onnxruntime.p50_us:.3g}",
        "ort p99 µs": f"{result.onnxruntime.p99_us:.3g}",
        "engine p50 µs": f"{result.engine.p50_us:.3g}",
        "engine p99 µs": f"{result.engine.p99_us:.3g}",
        "real-time factor": "" if factor is None else f"{factor:.1e}",
    }


def page(results: Sequence[Result]) -> str:
    """docs/applications.md."""
    from edgernn.commands.table import table
    from edgernn.runtime.bench import machine

    ours = machine()
    lines = [HEAD.format(**ours), table([row(result) for result in results], markdown=True), ""]
    for result in results:
        if result.notes:
            lines += [f"**{result.application}, {result.data}.** " + " ".join(result.notes), ""]
    return "\n".join(lines)


def main() -> None:
    """Write the page."""
    options = argparse.ArgumentParser(description="docs/applications.md from the rows that the examples kept")
    options.add_argument("--latency", action="store_true", help="measure the steps of the kept files again")
    options.add_argument("--rows", type=Path, default=OUT)
    options.add_argument("--page", type=Path, default=PAGE)
    given = options.parse_args()
    results = [read(path) for path in sorted(given.rows.glob("*.json"))]
    if not results:
        raise SystemExit(f"error: no rows in {given.rows}\n\nhint: make applications")
    if given.latency:
        for index, old in enumerate(results):
            files = [[Path(item) for item in group] for group in (old.float_files, old.int8_files)]
            float_steps, int8_steps = step_times(files[0], files[1], old.rate_hz)
            results[index] = Result(**{**vars(old), "onnxruntime": float_steps, "engine": int8_steps})
            keep(results[index], given.rows)
    given.page.write_text(page(results))
    missed = [result.name for result in results if not result.holds]
    if missed:
        raise SystemExit(f"error: int8 costs more than it may: {', '.join(missed)}")


def softmax(scores: Array) -> Array:
    """Over the last axis."""
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


if __name__ == "__main__":
    main()
