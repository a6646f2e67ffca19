"""Latency of a step, as a device will feel it: the state fed back, one hop per call, files interleaved.

Two rows per file. Back-to-back calls step after step with caches warm. Paced waits for the next hop's due time by
sleeping, as a live stream does; a step that ends behind its successor's due time is a deadline miss.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from edgernn.errors import InputError
from edgernn.package import DECODER
from edgernn.runtime.model import Model, load_programs
from edgernn.runtime.package import load_package
from edgernn.runtime.stream import Stream

SCHEMA = 1
SEED = 7  # of the random input
WARM_UP = 50  # steps
ROUND = 100  # steps of one file before the next has its turn
PERCENTILES = {"p50_us": 50, "p90_us": 90, "p99_us": 99, "p999_us": 99.9}

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Row:
    """One way of calling one file. Times are µs per step; None where a figure does not apply."""

    file: str
    backend: str  # and of the engine the instruction set
    kind: str  # back-to-back or paced
    steps: int
    p50_us: float
    p90_us: float
    p99_us: float
    p999_us: float
    max_us: float
    rtf: float | None  # p50 over the hop's duration
    misses: int | None  # paced: steps that ended behind the next hop's due time
    load_ms: float
    rss_mb: float | None  # of this process, largest so far


@dataclass(frozen=True)
class Report:
    """Rows and the machine they are of."""

    rows: tuple[Row, ...]
    machine: dict[str, Any]
    notes: tuple[str, ...]
    # µs of every step by file and kind, where they were measured in this process; JSON has none
    times: Mapping[tuple[str, str], Array] = field(default_factory=dict, compare=False, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "schema": SCHEMA,
            "machine": self.machine,
            "notes": list(self.notes),
            "rows": [asdict(row) for row in self.rows],
        }

    @classmethod
    def from_dict(cls, data: Any, place: str) -> Self:
        """Read what `as_dict` gave. Raises `InputError` for anything else."""
        try:
            if data["schema"] != SCHEMA:
                raise InputError(f"the report has schema {data['schema']!r}, not {SCHEMA}", place=place)
            rows = tuple(Row(**row) for row in data["rows"])
            return cls(rows, dict(data["machine"]), tuple(map(str, data["notes"])))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"is no report of `edgernn bench --json` ({error!r})", place=place) from None


def bench(
    paths: Sequence[Path],
    *,
    rate_hz: float | None = None,
    steps: int = 2000,
    seconds: float = 5.0,
    threads: int = 1,
    backend: str = "auto",
) -> Report:
    """Measure every file: `steps` back-to-back in turns, then `seconds` (0: not at all) paced where a rate is known.

    Of a package the decoder's step is measured, which runs once a token, with the memory full and written once.
    `rate_hz` is the rate of the input's frames, by default each file's own.
    """
    subjects = [Subject(path, rate_hz, backend, threads) for path in paths]
    notes = [note for subject in subjects for note in subject.notes] + _clock_notes()
    rows = []
    times = {(subject.name, "back-to-back"): np.zeros(steps, np.int64) for subject in subjects}
    for start in range(0, steps, ROUND):
        for subject in subjects:
            _back_to_back(subject, times[subject.name, "back-to-back"][start : start + ROUND])
    rows += [subject.row("back-to-back", times[subject.name, "back-to-back"], None) for subject in subjects]
    for subject in subjects:
        if subject.period is not None and seconds > 0:
            paced, misses = _paced(subject, subject.period, seconds)
            times[subject.name, "paced"] = paced
            rows.append(subject.row("paced", paced, misses))
    rows.sort(key=lambda row: [subject.name for subject in subjects].index(row.file))
    micro = {key: steps_ns / 1000 for key, steps_ns in times.items()}
    return Report(tuple(rows), {**machine(), "threads": threads}, tuple(dict.fromkeys(notes)), micro)


class Subject:
    """A loaded file with a warm stream and a ring of random input."""

    def __init__(self, path: Path, rate_hz: float | None, backend: str, threads: int) -> None:
        began = time.perf_counter()
        self.model = _step_of(path, backend, threads)
        self.stream: Stream = self.model.stream(rate_hz)
        self.load_ms = 1000 * (time.perf_counter() - began)
        self.name = path.name
        self.backend = f"{self.model.backend} {self.model.details.get('isa', '')}".strip()
        spec = self.model.spec
        rate = rate_hz or spec.inputs[0].rate_hz
        self.period = None if rate is None else spec.hop / rate  # seconds
        self.notes = [] if rate else [f"{path.name}: no paced row, the rate is not known (give --rate HZ)"]
        self._inputs = dict(self.stream.inputs)
        random = np.random.default_rng(SEED)
        loop = spec.decoding
        if loop is not None and loop.memory is not None and loop.length is not None:
            memory = self._inputs.pop(loop.memory)
            memory[...] = _random(random, memory)
            self._inputs.pop(loop.length)[...] = memory.shape[1]
        self._ring = [{name: _random(random, view) for name, view in self._inputs.items()} for _ in range(16)]
        self._at = 0
        for _ in range(WARM_UP):
            self.step()

    def step(self) -> int:
        """One step; its time in ns, with the copy of the frames into the model."""
        frames = self._ring[self._at % 16]
        self._at += 1
        began = time.perf_counter_ns()
        for name, view in self._inputs.items():
            view[...] = frames[name]
        self.stream.advance()
        return time.perf_counter_ns() - began

    def row(self, kind: str, times: Array, misses: int | None) -> Row:
        micro = times / 1000
        figures = {name: round(float(np.percentile(micro, q)), 3) for name, q in PERCENTILES.items()}
        rtf = None if self.period is None else round(figures["p50_us"] / 1e6 / self.period, 7)
        return Row(
            file=self.name,
            backend=self.backend,
            kind=kind,
            steps=len(times),
            max_us=round(float(micro.max()), 3),
            rtf=rtf,
            misses=misses,
            load_ms=round(self.load_ms, 2),
            rss_mb=_peak_mb(),
            **figures,
        )


def _step_of(path: Path, backend: str, threads: int) -> Model:
    """The program whose step is measured."""
    if path.is_dir():
        return load_package(path, backend, threads).decoder
    programs = load_programs(path, backend, threads)
    return programs.get(DECODER) or next(iter(programs.values()))


def _back_to_back(subject: Subject, times: Array) -> None:
    for index in range(len(times)):
        times[index] = subject.step()


def _paced(subject: Subject, period: float, seconds: float) -> tuple[Array, int]:
    """Times in ns, and how many steps missed their deadline."""
    count = max(10, int(seconds / period))
    times, misses = np.zeros(count, np.int64), 0
    due = time.perf_counter() + period
    for index in range(count):
        wait = due - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        times[index] = subject.step()
        due += period
        misses += time.perf_counter() > due
    return times, misses


def _random(random: np.random.Generator, view: Array) -> Array:
    if view.dtype.kind == "f":
        return random.uniform(-1, 1, view.shape).astype(view.dtype)
    return np.zeros(view.shape, view.dtype)  # an index that every table has


def compare(report: Report, baseline: dict[str, Any], tolerance: float) -> list[str]:
    """Rows whose p50 grew by more than `tolerance` (0.1: a tenth) over a report of earlier.

    Raises `InputError` when the baseline is of another kind or shares no row.
    """
    if baseline.get("schema") != SCHEMA:
        raise InputError(f"the baseline has schema {baseline.get('schema')!r}, not {SCHEMA}")
    before = {(row["file"], row["kind"]): row["p50_us"] for row in baseline["rows"]}
    shared = [row for row in report.rows if (row.file, row.kind) in before]
    if not shared:
        raise InputError("the baseline has none of these files", hint="rows are matched by file name and kind")
    return [
        f"{row.file}, {row.kind}: p50 {before[row.file, row.kind]:g} → {row.p50_us:g} µs"
        for row in shared
        if row.p50_us > before[row.file, row.kind] * (1 + tolerance)
    ]


def machine() -> dict[str, Any]:
    """What the times depend on."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "governor": _governor(),
        "temperature_c": _temperature(),
        "throttled": _throttled(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def _peak_mb() -> float | None:
    """Peak resident memory. Not by getrusage, whose figure starts at that of the process that started this one."""
    try:
        lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    except OSError:
        return None
    peak = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
    return None if peak is None else round(int(peak) / 1024, 1)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    names = {key.strip(): value.strip() for key, value in fields.items()}
    return names.get("model name") or names.get("Model") or platform.machine()


def _first_line(path: str) -> str | None:
    try:
        return Path(path).read_text("utf-8").strip().partition("\n")[0] or None
    except OSError:
        return None


def _governor() -> str | None:
    return _first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def _throttled() -> str | None:
    """A Raspberry Pi's flags: bit 0 under-voltage, 1 clock capped, 2 throttled; 16 to 18 the same since it started."""
    return _first_line("/sys/devices/platform/soc/soc:firmware/get_throttled")


def _temperature() -> float | None:
    text = _first_line("/sys/class/thermal/thermal_zone0/temp")
    return None if text is None else round(int(text) / 1000, 1)


def _clock_notes() -> list[str]:
    governor, throttled = _governor(), _throttled()
    slowed = [] if throttled in (None, "0", "0x0") else [f"the board was slowed down (throttled {throttled})"]
    if governor == "performance":
        return slowed
    return [*slowed, f"the clock is not fixed (governor {governor or 'unknown'}): compare only within one run"]
