"""Compare model files step by step on the same frames, whatever runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import edgernn
from edgernn.compare import Difference, difference
from edgernn.errors import QuantizeError
from edgernn.program import Array
from edgernn.quantize.data import Source, read_sequences
from edgernn.runtime import Model, in_turn, run_long, run_whole, take_and_give_alike
from edgernn.spec import StreamSpec

# outputs of whole sequences, for a contract and inputs as a stream takes them: `edgernn.export.WholeSequence`
Signal = Callable[[StreamSpec, Mapping[str, Array]], Mapping[str, Array]]


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
    wanted: str | Path | Signal,
    found: str | Path,
    data: Source,
    *,
    long: int = 0,
    backends: tuple[str, str] = ("auto", "auto"),
) -> Comparison:
    """Stream the sequences through both files. The first one's outputs are the signal of the SNR.

    In place of the first file may stand what runs whole sequences, as the PyTorch module that both came from.

    `long` is a number of input frames for one more stream over the data again and again, the state carried on beyond
    any length that the model was trained on; `backends` are those of the two files. Raises `QuantizeError` when the
    files do not take and give the same.
    """
    b = edgernn.load(found, backends[1])
    a = wanted if callable(wanted) else edgernn.load(wanted, backends[0])
    if isinstance(a, Model) and not take_and_give_alike(a, b):
        raise QuantizeError("takes or gives other frames than the first", place=str(found))
    sequences = read_sequences(data, b.spec)
    signal: Signal = (lambda _, item: run_whole(a, item)) if isinstance(a, Model) else a
    runs = [signal(b.spec, item) for item in sequences.items], [run_whole(b, item) for item in sequences.items]
    names = [port.name for port in b.spec.outputs]
    outputs = {name: difference([r[name] for r in runs[0]], [r[name] for r in runs[1]]) for name in names}
    longer: dict[str, Difference] = {}
    if long:
        pieces = _run_long(a, b.spec, sequences.items, long), run_long(b, sequences.items, long)
        longer = {name: difference([pieces[0][name]], [pieces[1][name]]) for name in names}
    return Comparison(outputs, longer, sum(sequences.lengths), long)


def _run_long(a: Model | Signal, spec: StreamSpec, items: list[dict[str, Array]], frames: int) -> Mapping[str, Array]:
    if isinstance(a, Model):
        return run_long(a, items, frames)
    pieces = list(in_turn(items, frames))
    whole = a(spec, {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]})
    # a stream that is not flushed has not given its last frames yet
    given = {port.name: max(0, frames // spec.hop * port.shape[0] - port.delay) for port in spec.outputs}
    return {name: array[: given[name]] for name, array in whole.items()}
