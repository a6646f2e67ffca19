"""Compare two model files step by step on the same frames, whatever runs them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import edgernn
from edgernn.errors import QuantizeError
from edgernn.program import Array
from edgernn.quantize.compare import Difference, difference
from edgernn.quantize.data import Source, read_sequences
from edgernn.runtime import Model


@dataclass(frozen=True)
class Comparison:
    """Of two files' outputs, over sequences and, where asked for, over one long stream."""

    outputs: Mapping[str, Difference]
    long: Mapping[str, Difference]
    frames: int
    long_frames: int

    @property
    def worst_db(self) -> float:
        """The least SNR of all outputs."""
        return min(item.snr_db for item in (*self.outputs.values(), *self.long.values()))


def verify_models(
    wanted: str | Path, found: str | Path, data: Source, *, long: int = 0, backends: tuple[str, str] = ("auto", "auto")
) -> Comparison:
    """Stream the sequences through both files. The first one's outputs are the signal of the SNR.

    `long` is a number of input frames for one more stream over the data again and again, the state carried on beyond
    any length that the model was trained on; `backends` are those of the two files. Raises `QuantizeError` when the
    files do not take and give the same.
    """
    a, b = edgernn.load(wanted, backends[0]), edgernn.load(found, backends[1])
    if _ports(a) != _ports(b):
        raise QuantizeError("takes or gives other frames than the first", place=str(found))
    sequences = read_sequences(data, a.spec)
    runs = [_run(a, item) for item in sequences.items], [_run(b, item) for item in sequences.items]
    names = [port.name for port in a.spec.outputs]
    outputs = {name: difference([r[name] for r in runs[0]], [r[name] for r in runs[1]]) for name in names}
    longer: dict[str, Difference] = {}
    if long:
        pieces = _run_pieces(a, sequences.items, long), _run_pieces(b, sequences.items, long)
        longer = {name: difference([pieces[0][name]], [pieces[1][name]]) for name in names}
    return Comparison(outputs, longer, sum(sequences.lengths), long)


def _ports(model: Model) -> list[tuple[str, str, tuple[int, ...]]]:
    taken = [(port.name, port.dtype, port.frame) for port in model.spec.inputs]
    return taken + [(port.name, port.dtype, port.frame) for port in model.spec.outputs]


def _run(model: Model, item: Mapping[str, Array]) -> dict[str, Array]:
    stream = model.stream()
    parts = [stream.push(item), stream.flush()]
    return _joined(model, parts)


def _run_pieces(model: Model, items: list[dict[str, Array]], frames: int) -> dict[str, Array]:
    stream = model.stream()
    return _joined(model, [stream.push(piece) for piece in _cycle(items, frames)])


def _cycle(items: list[dict[str, Array]], frames: int) -> Iterator[dict[str, Array]]:
    while True:
        for item in items:
            length = min(frames, len(next(iter(item.values()))))
            yield {name: array[:length] for name, array in item.items()}
            frames -= length
            if frames <= 0:
                return


def _joined(model: Model, parts: list[Array | dict[str, Array]]) -> dict[str, Array]:
    names = [port.name for port in model.spec.outputs]
    return {name: np.concatenate([p[name] if isinstance(p, dict) else p for p in parts]) for name in names}
