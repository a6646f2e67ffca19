"""Model files over whole sequences, and over one long stream that goes through them again and again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgernn.runtime.model import Model
from edgernn.spec import InputSpec, OutputSpec

Array = npt.NDArray[Any]


def take_and_give_alike(a: Model, b: Model) -> bool:
    """Whether inputs and outputs have the same names, dtypes and frames."""
    return _ports(a) == _ports(b)


def run_whole(model: Model, item: Mapping[str, Array]) -> dict[str, Array]:
    """All outputs of a fresh stream over a sequence `{input: [frames, …frame]}`, flushed."""
    stream = model.stream()
    return _joined(model, [stream.push(item), stream.flush()])


def run_long(model: Model, items: Sequence[Mapping[str, Array]], frames: int) -> dict[str, Array]:
    """The outputs of one stream over so many input frames of the sequences in turn, not flushed."""
    stream = model.stream()
    return _joined(model, [stream.push(piece) for piece in in_turn(items, frames)])


def in_turn(items: Sequence[Mapping[str, Array]], frames: int) -> Iterator[dict[str, Array]]:
    """The sequences one after the other, and from the first again, until there are so many frames."""
    while True:
        for item in items:
            piece = {name: array[:frames] for name, array in item.items()}
            yield piece
            frames -= len(next(iter(piece.values())))
            if frames <= 0:
                return


def _ports(model: Model) -> list[tuple[str, str, tuple[int, ...]]]:
    ports: tuple[InputSpec | OutputSpec, ...] = (*model.spec.inputs, *model.spec.outputs)
    return [(port.name, port.dtype, port.frame) for port in ports]


def _joined(model: Model, parts: Sequence[Array | dict[str, Array]]) -> dict[str, Array]:
    names = [port.name for port in model.spec.outputs]
    return {name: np.concatenate([p[name] if isinstance(p, dict) else p for p in parts]) for name in names}
