"""Scales from the samples of a value: extremes, a percentile of them, or the least square error."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edgernn.program import Array
from edgernn.quantize.reference.fixed import LIMITS

OBSERVERS = ("mse", "minmax", "percentile")
SAMPLES = 500_000  # elements kept of each value
_TRIED = 100_000  # elements that clips are tried on
_PERCENTILE = 99.99
_MIDDLES = (100.0, 99.0, 95.0)  # percentiles: half-way between one and its counterpart may lie a feature's middle
_BEYOND = 1.25  # times the largest magnitude seen of one feature, where the others say that more will come
_ROOM = 1.5  # times the largest magnitude seen: int16 has bits to spare, and a longer stream goes further
_CLIPS = np.linspace(0.3, 1.0, 36)  # of the largest magnitude, tried for the least square error


@dataclass
class Seen:
    """Frames of one value, `[frames, features]` (all axes behind the frames' flattened): some of them, and limits."""

    low: Array
    high: Array
    kept: list[Array] = field(default_factory=list)

    @property
    def samples(self) -> Array:
        """The kept frames."""
        return np.concatenate(self.kept)

    def largest(self) -> float:
        """The largest magnitude."""
        return float(max(np.abs(self.low).max(), np.abs(self.high).max()))

    def scale(self, dtype: str, observer: str) -> float:
        """The step of a symmetric `dtype` for all features together."""
        return float(_scales(self.samples.reshape(-1, 1), np.array([self.largest()]), dtype, observer)[0])

    def feature_scales(self, width: int, dtype: str, observer: str, *, centred: bool) -> tuple[Array, Array]:
        """Step and offset of each of the `width` features of the last axis."""
        samples = self.samples.reshape(-1, width)
        extremes = self.low.reshape(-1, width).min(0), self.high.reshape(-1, width).max(0)
        least_error = observer == "mse" and dtype == "int8"
        if not centred:
            offset = np.zeros(width)
        elif least_error:
            offset = _middle(samples, _best_middle(samples))
        else:
            percentile = observer == "percentile" and dtype == "int8"
            offset = _middle(samples if percentile else np.stack(extremes), _PERCENTILE if percentile else 100.0)
        if least_error:
            return _feature_steps(samples, extremes, offset), offset
        return _scales(samples - offset, _reach(extremes, offset), dtype, observer), offset


def _middle(samples: Array, percentile: float) -> Array:
    """Half-way between a percentile of each feature and its counterpart, a float32."""
    ends = np.percentile(samples, [100 - percentile, percentile], axis=0)
    return np.asarray((ends.sum(0) / 2).astype(np.float32).astype(np.float64))


def _best_middle(samples: Array) -> float:
    """The percentile that serves best.

    It is tried on the frames that it was not found on: those favour the extremes.
    """
    halves = samples[0::2], samples[1::2]
    if not len(halves[1]):
        return _MIDDLES[0]

    def error(percentile: float) -> float:
        total = 0.0
        for known, fresh in (halves, halves[::-1]):
            offset = _middle(known, percentile)
            step = _feature_steps(known, (known.min(0), known.max(0)), offset)
            total += float(np.mean((_missed(fresh - offset, step) / _spread(known)) ** 2))
        return total

    return min(_MIDDLES, key=error)


def _reach(extremes: tuple[Array, Array], offset: Array) -> Array:
    """The largest distance from the offset."""
    return np.asarray(np.maximum(np.maximum(extremes[1] - offset, offset - extremes[0]), 1e-12))


def _spread(samples: Array) -> Array:
    """The standard deviation of each feature; nowhere zero."""
    largest = np.maximum(np.abs(samples).max(0), 1e-12)
    return np.asarray(np.maximum(samples.std(0, dtype=np.float64), 1e-6 * largest))


def _feature_steps(samples: Array, extremes: tuple[Array, Array], offset: Array) -> Array:
    """int8 steps of least error: one clip for all features, in each one's own spread.

    The tail of one feature alone is too few samples. None goes far beyond what it has been.
    """
    spread, limit = _spread(samples), LIMITS["int8"]
    most = _BEYOND * _reach(extremes, offset) / spread
    tried = ((samples - offset) / spread)[:: max(1, samples.size // _TRIED)]
    steps = [np.minimum(clip, most) / limit for clip in _CLIPS * np.abs(tried).max()]
    best = min(steps, key=lambda step: float(np.mean(_missed(tried, step) ** 2)))
    return np.asarray(best * spread)


def _scales(samples: Array, largest: Array, dtype: str, observer: str) -> Array:
    """The step of each column."""
    limit = LIMITS[dtype]
    largest = np.maximum(largest, 1e-12)
    if observer == "percentile":
        largest = np.maximum(np.percentile(np.abs(samples), _PERCENTILE, axis=0), 1e-3 * largest)
    if dtype == "int16":
        return _ROOM * largest / limit
    if observer != "mse":
        return largest / limit
    tried = samples[:: samples.size // _TRIED | 1]  # odd, so that no feature of a flat value is left out
    best, least = largest / limit, np.full(len(largest), np.inf)
    for clip in _CLIPS:
        scale = clip * largest / limit
        error = np.mean(_missed(tried, scale) ** 2, axis=0)
        better = error < least
        best, least = np.where(better, scale, best), np.where(better, error, least)
    return np.asarray(best)


def _missed(samples: Array, scale: Array) -> Array:
    """What rounding and clipping to int8 loses."""
    limit = LIMITS["int8"]
    return np.asarray(np.clip(np.rint(samples / scale), -limit, limit) * scale - samples)
