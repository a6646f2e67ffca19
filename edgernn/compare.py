"""How far one run is from another: signal-to-noise ratio as a whole and over time, drift, stuck units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


DRIFT_DB = 1.0  # a last tenth worse than the first by more than this is a drift


@dataclass(frozen=True)
class Difference:
    """Of one value over all frames of all sequences. Ratios are in dB, infinite for equal runs."""

    snr_db: float
    first_tenth_db: float
    last_tenth_db: float
    unit_drift: tuple[float, ...]  # each unit's mean error in the last tenth, in its standard deviations
    stuck: int  # units that stand still in the last tenth where the other run's move
    max_error: float

    @property
    def drift(self) -> float:
        """The largest drift of a unit, without its sign."""
        return max(map(abs, self.unit_drift), default=0.0)

    @property
    def drifts(self) -> bool:
        """Whether the end is worse than the beginning."""
        return self.last_tenth_db < self.first_tenth_db - DRIFT_DB

    def as_dict(self) -> dict[str, Any]:
        """For JSON, which has no infinity."""
        fields = {**asdict(self), "unit_drift": list(self.unit_drift)}
        return {key: (None if item == np.inf else item) for key, item in fields.items()}


def snr_db(wanted: Array, found: Array) -> float:
    """10 log10 of the wanted signal's power over the error's."""
    wanted, found = wanted.astype(np.float64), found.astype(np.float64)
    noise, power = float(np.sum((wanted - found) ** 2)), float(np.sum(wanted**2))
    return decibels(power, noise)


def decibels(power: float, noise: float) -> float:
    """A ratio of powers; infinite without noise."""
    return float(np.inf) if noise == 0 else float(10 * np.log10(max(power, 1e-300) / noise))


def difference(wanted: Sequence[Array], found: Sequence[Array]) -> Difference:
    """Compare two runs over the same sequences, `[frames, …]` each."""
    a = [item.reshape(len(item), -1).astype(np.float64) for item in wanted if len(item)]
    b = [item.reshape(len(item), -1).astype(np.float64) for item in found if len(item)]
    if not a:
        return Difference(float(np.inf), float(np.inf), float(np.inf), (), 0, 0.0)
    tenth = [max(1, len(item) // 10) for item in a]
    first = [np.concatenate([item[:n] for item, n in zip(run, tenth, strict=True)]) for run in (a, b)]
    last = [np.concatenate([item[-n:] for item, n in zip(run, tenth, strict=True)]) for run in (a, b)]
    whole = [np.concatenate(run) for run in (a, b)]
    spread = np.maximum(whole[0].std(0), 1e-9)
    moves, stands = last[0].std(0) > 1e-3 * spread, last[1].std(0) == 0
    return Difference(
        snr_db=snr_db(*whole),
        first_tenth_db=snr_db(*first),
        last_tenth_db=snr_db(*last),
        unit_drift=tuple(((last[1] - last[0]).mean(0) / spread).tolist()),
        stuck=int(np.sum(moves & stands)) if len(last[0]) > 1 else 0,
        max_error=float(np.abs(whole[1] - whole[0]).max()),
    )
