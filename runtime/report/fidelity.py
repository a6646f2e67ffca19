"""How far the outputs of one file are from another's, over a recording and over a long run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from edgernn.compare import Difference, decibels, difference
from edgernn.errors import InputError
from edgernn.runtime.model import Model
from edgernn.runtime.whole import run_long, run_whole, take_and_give_alike

Array = npt.NDArray[Any]

SEGMENTS = 60  # of a long run, one point of its curve each


@dataclass(frozen=True)
class Fidelity:
    """One output of `file` against the same output of the first file, which is the signal."""

    file: str
    output: str
    whole: Difference  # over the recording, flushed
    long: Difference  # over one stream that goes through the recording again and again
    agreement: float | None  # share of the recording's frames whose largest element is the same; None: one element
    frames: int  # input frames of the recording
    long_frames: int
    ends: tuple[int, ...]  # last input frame of each segment of the long run
    error_db: tuple[float | None, ...]  # error of each segment over the power of the whole signal; None: no error


def compare_models(
    signal: Model, others: Mapping[str, Model], frames: Mapping[str, Array], long: int
) -> list[Fidelity]:
    """Stream the recording `{input: [frames, …frame]}` through all files, and then over `long` input frames.

    Raises `InputError` when a file takes or gives other frames than the first.
    """
    for name, model in others.items():
        if not take_and_give_alike(model, signal):
            raise InputError("takes or gives other frames than the first file", place=name)
    count = len(next(iter(frames.values())))
    long = max(long, count)
    wanted, wanted_long = run_whole(signal, frames), run_long(signal, [frames], long)
    found = []
    for name, model in others.items():
        given, given_long = run_whole(model, frames), run_long(model, [frames], long)
        for port in signal.spec.outputs:
            key = port.name
            ends, curve = error_over_time(wanted_long[key], given_long[key], long)
            found.append(
                Fidelity(
                    file=name,
                    output=key,
                    whole=difference([wanted[key]], [given[key]]),
                    long=difference([wanted_long[key]], [given_long[key]]),
                    agreement=agreement(wanted[key], given[key]),
                    frames=count,
                    long_frames=long,
                    ends=ends,
                    error_db=curve,
                )
            )
    return found


def agreement(wanted: Array, found: Array) -> float | None:
    """Share of the frames `[frames, …]` in which the same element is the largest; None where there is only one."""
    if not len(wanted) or wanted[0].size < 2:
        return None
    a, b = (item.reshape(len(item), -1) for item in (wanted, found))
    return float(np.mean(a.argmax(1) == b.argmax(1)))


def error_over_time(wanted: Array, found: Array, frames: int) -> tuple[tuple[int, ...], tuple[float | None, ...]]:
    """Ends of the segments of a run of so many input frames, and the error in each in dB.

    The power of the whole run is what each error is measured by, so that a quiet passage is not told as a bad one.
    """
    if not len(wanted):
        return (), ()
    a, b = (item.reshape(len(item), -1).astype(np.float64) for item in (wanted, found))
    power = float(np.mean(a**2))
    edges = np.linspace(0, len(a), min(SEGMENTS, len(a)) + 1).astype(int)
    noise = [float(np.mean((a[i:j] - b[i:j]) ** 2)) for i, j in pairwise(edges)]
    ends = tuple(round(frames * int(j) / len(a)) for j in edges[1:])
    return ends, tuple(None if item == 0 else -decibels(power, item) for item in noise)
