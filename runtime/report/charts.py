"""Charts as inline SVG. Colours and fonts are the page's, by class; every chart has a title for screen readers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgernn.runtime.report.html import Markup, element

Array = npt.NDArray[Any]

WIDTH = 760
LEFT, RIGHT = 190, 20  # room for the names of rows
CURVE_LEFT = 60
ROW = 46  # height of one row
BINS = 96
COLOURS = 6  # in style.css


@dataclass(frozen=True)
class LogScale:
    """Times on a logarithmic axis from `low` to `high`, in µs."""

    low: float
    high: float

    @classmethod
    def over(cls, times: Sequence[float]) -> LogScale:
        """From a little below the least to a little above the largest."""
        return cls(min(times) / 1.15, max(times) * 1.15)

    def at(self, time: float) -> float:
        """The place of a time on the chart."""
        share = math.log(max(time, self.low) / self.low) / math.log(self.high / self.low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def ticks(self) -> list[float]:
        """Powers of ten, with 2 and 5 between where there is room for them."""
        decades = math.log10(self.high / self.low)
        steps = (1, 2, 5) if decades < 4 else (1,)
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        times = [step * 10.0**power for power in powers for step in steps]
        return [time for time in times if self.low <= time <= self.high]


@dataclass(frozen=True)
class Times:
    """One row of a chart of latency, in µs. Without `samples`, only its figures are drawn."""

    name: str
    note: str
    colour: int
    p50: float
    p99: float
    worst: float
    samples: Array | None = None


def duration(micro: float) -> str:
    """A time in µs as a person reads it: 36.3 µs, 20 ms."""
    if micro < 1000:
        return f"{micro:.3g} µs"
    return f"{micro / 1000:.3g} ms" if micro < 1e6 else f"{micro / 1e6:.3g} s"


def latency_chart(title: str, rows: Sequence[Times], budget: float | None) -> Markup:
    """Histograms of steps, one row each, with p50, p99, the worst, and the hop's budget as a line."""
    scale = LogScale.over([time for row in rows for time in _extremes(row)] + ([budget] if budget else []))
    bottom = 30 + ROW * len(rows)
    parts = [_tick(scale, time, bottom) for time in scale.ticks()]
    for index, row in enumerate(rows):
        parts.append(_row(scale, row, 24 + ROW * (index + 1)))
    if budget:
        x = scale.at(budget)
        parts.append(element("line", x1=x, x2=x, y1=18, y2=bottom, class_="budget"))
        parts.append(element("text", f"hop {duration(budget)}", x=x - 5, y=14, class_="budget-label end"))
    return _svg(title, bottom + 26, parts)


def error_chart(title: str, ends: Sequence[float], unit: str, curves: dict[str, Sequence[float | None]]) -> Markup:
    """Error in dB over a run; gaps where a segment has none. `ends` are the segments' in `unit`."""
    values = [item for curve in curves.values() for item in curve if item is not None]
    low, high = 10 * math.floor(min(values) / 10 - 0.3), 10 * math.ceil(max(values) / 10 + 0.3)
    top, bottom = 34, 234

    def x(end: float) -> float:
        return CURVE_LEFT + end / ends[-1] * (WIDTH - CURVE_LEFT - RIGHT)

    def y(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - top)

    parts = []
    for value in range(low, high + 1, 10 if high - low <= 60 else 20):
        parts.append(element("line", x1=CURVE_LEFT, x2=WIDTH - RIGHT, y1=y(value), y2=y(value), class_="grid"))
        parts.append(element("text", f"{value:d} dB".replace("-", "−"), x=CURVE_LEFT - 8, y=y(value) + 4, class_="end"))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        place = ends[-1] * share
        anchor = "end" if share == 1 else "middle" if share else None
        label = f"{place:,.4g} {unit}" if place else "0"
        parts.append(element("text", label, x=x(place), y=bottom + 18, class_=anchor))
    for index, (name, curve) in enumerate(curves.items()):
        points = zip(ends, curve, strict=True)
        parts.append(
            element(
                "path",
                d=_path([(x(e), None if v is None else y(v)) for e, v in points]),
                class_=f"curve c{index % COLOURS}",
            )
        )
        at = CURVE_LEFT + index * 230
        parts.append(element("line", x1=at, x2=at + 18, y1=12, y2=12, class_=f"curve c{index % COLOURS}"))
        parts.append(element("text", name, x=at + 24, y=16, class_="name"))
    return _svg(title, bottom + 26, parts)


def _extremes(row: Times) -> tuple[float, ...]:
    least = row.p50 if row.samples is None else float(np.min(row.samples))
    return (least, row.worst)


def _row(scale: LogScale, row: Times, base: float) -> Markup:
    parts = [
        element("text", row.name, x=LEFT - 12, y=base - 16, class_="end name"),
        element("text", row.note, x=LEFT - 12, y=base - 2, class_="end"),
        element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=base, y2=base, class_="grid"),
    ]
    if row.samples is None:
        parts.append(
            element(
                "line",
                x1=scale.at(row.p50),
                x2=scale.at(row.worst),
                y1=base - 10,
                y2=base - 10,
                class_=f"range c{row.colour % COLOURS}",
            )
        )
    else:
        parts.append(
            element("path", d=_histogram(scale, row.samples, base, ROW - 16), class_=f"area c{row.colour % COLOURS}")
        )
    for name, time in (("p50", row.p50), ("p99", row.p99), ("worst", row.worst)):
        mark = element(
            "line",
            element("title", f"{name} {duration(time)}"),
            x1=scale.at(time),
            x2=scale.at(time),
            y1=base - 14,
            y2=base + 3,
            class_=f"mark {name}",
        )
        parts.append(mark)
    return element("g", *parts)


def _histogram(scale: LogScale, samples: Array, base: float, height: float) -> str:
    """Steps by logarithm of their time; the square root of a count is its height, so that single steps are seen."""
    counts, edges = np.histogram(np.log(samples), BINS, (math.log(scale.low), math.log(scale.high)))
    tall = np.sqrt(counts / max(counts.max(), 1)) * height
    corners = [f"M{scale.at(math.exp(edges[0])):.1f} {base:.1f}"]
    for left, right, size in zip(edges[:-1], edges[1:], tall, strict=True):
        corners.append(
            f"L{scale.at(math.exp(left)):.1f} {base - size:.1f}L{scale.at(math.exp(right)):.1f} {base - size:.1f}"
        )
    return "".join([*corners, f"L{scale.at(math.exp(edges[-1])):.1f} {base:.1f}Z"])


def _tick(scale: LogScale, time: float, bottom: float) -> Markup:
    x = scale.at(time)
    line = element("line", x1=x, x2=x, y1=24, y2=bottom, class_="grid")
    return element("g", line, element("text", duration(time), x=x, y=bottom + 16, class_="middle"))


def _path(points: Sequence[tuple[float, float | None]]) -> str:
    """Lines between points; a point without a height is a gap."""
    words, pen = [], "M"
    for x, y in points:
        if y is None:
            pen = "M"
        else:
            words.append(f"{pen}{x:.1f} {y:.1f}")
            pen = "L"
    return "".join(words)


def _svg(title: str, height: float, parts: Sequence[Markup]) -> Markup:
    return element("svg", element("title", title), *parts, viewBox=f"0 0 {WIDTH} {height:g}", role="img")
