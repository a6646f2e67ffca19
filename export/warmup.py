"""How long a stream takes from reset until it no longer matters that it was reset."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import edgernn
from edgernn.export.capture import Source
from edgernn.export.proof import by_name, frames_of, noise
from edgernn.program import Array

LIMIT = 1e-2  # of the long-running stream's RMS: 40 dB
BEFORE = 512  # steps that the long-running stream is ahead
LONGEST = 2048  # steps that the fresh one may take
_SEED = 20261


def measure_warmup(source: Source, path: Path) -> int | None:
    """Input frames from reset until every output stays within 40 dB of a stream that was never reset.

    Both get noise like the example's, for twice as long as that takes. None when `LONGEST` steps are not enough, as
    with sums over all frames. Frames of a step differ by their RMS over features, against that of the whole output.
    """
    model = edgernn.load(path)
    hop = model.spec.hop
    inputs = frames_of(model, source, noise(source, (BEFORE + LONGEST) * hop, np.random.default_rng(_SEED)))
    old, new = model.stream(), model.stream()
    old.step({name: array[: BEFORE * hop] for name, array in inputs.items()})
    expected: dict[str, list[Array]] = {port.name: [] for port in model.spec.outputs}
    fresh: dict[str, list[Array]] = {port.name: [] for port in model.spec.outputs}
    done, end = 0, 128
    while end <= LONGEST:
        piece = {name: array[(BEFORE + done) * hop : (BEFORE + end) * hop] for name, array in inputs.items()}
        for stream, results in ((old, expected), (new, fresh)):
            for name, frames in by_name(stream.step(piece), model).items():
                results[name].append(frames)
        steps = max(_last_apart(np.concatenate(expected[name]), np.concatenate(fresh[name]), end) for name in fresh)
        if 2 * steps <= end:
            return steps * hop
        done, end = end, 2 * end
    return None


def _last_apart(expected: Array, fresh: Array, steps: int) -> int:
    """Steps until behind the last in which the two differ by more than the limit."""
    with np.errstate(invalid="ignore"):  # frames before the first true one may hold anything
        error = (fresh.astype(np.float64) - expected).reshape(steps, -1)
        size = np.sqrt(np.mean(np.square(expected, dtype=np.float64)))
        far = np.flatnonzero(~(np.sqrt(np.mean(np.square(error), axis=1)) <= LIMIT * size))
    return int(far[-1]) + 1 if len(far) else 0
