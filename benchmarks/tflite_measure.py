"""Stream one input through model files, and time their steps: a part of tflite.py that runs where only a runtime is.

    python benchmarks/tflite_measure.py BACKEND INPUT.npz RESULT.npz FILE…

INPUT.npz has the inputs by name, RESULT.npz gets `FILE/output` and `FILE/us`, the median µs of a step.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import edgernn

ROUNDS, CALLS, WARM_UP = 30, 60, 100


def step_us(stream: Any, frames: dict[str, Any]) -> float:
    """The least of medians of a step in µs, state carried, frames copied in: others' load only adds."""
    for _ in range(WARM_UP):
        stream.advance()
    inputs, times = stream.inputs, np.empty((ROUNDS, CALLS))
    for row in times:
        for index in range(CALLS):
            began = time.perf_counter_ns()
            for name, view in inputs.items():
                view[...] = frames[name][: len(view)]
            stream.advance()
            row[index] = time.perf_counter_ns() - began
    return float(np.median(times, axis=1).min() / 1000)


def measure(backend: str, x: dict[str, Any], files: list[Path]) -> dict[str, Any]:
    """`FILE/output` and `FILE/us` of every file; what a runtime refuses is left out."""
    found: dict[str, Any] = {}
    for file in files:
        try:
            model = edgernn.load(file, backend)
        except edgernn.EdgeRNNError as error:
            print(f"{file.name} on {backend}: {error.cause}", file=sys.stderr)
            continue
        stream = model.stream()
        parts: Any = [stream.push(x), stream.flush()]
        found[f"{file.name}/output"] = np.concatenate(parts)
        found[f"{file.name}/us"] = step_us(model.stream(), x)
    return found


if __name__ == "__main__":
    backend, given, result, *names = sys.argv[1:]
    np.savez(result, **measure(backend, dict(np.load(given)), [Path(name) for name in names]))
