"""Heartbeats found and named in a running ECG, at most half a second behind each: convolutions and a GRU.

    python -m examples.heartbeats                          # train, export, quantize; F1 of each class
    python -m examples.heartbeats --data FOLDER_OF_RECORDS

The network gives class scores 30 times a second; `beats` makes events of them as they come. A beat counts as found when
an event of its class lies within 0.15 s of its mark (the window of ANSI/AAMI EC57), so wrong places cost as much as
wrong names do. Each record is split by time: the first 70 % train, the last 30 % test, with the balance that it has.

Data: records 208 (MIT-BIH Arrhythmia) and 800 (MIT-BIH Supraventricular) of PhysioNet, below `--data`; each an npz of
`signal` [samples, 2], `adc_gain`, `baseline`, `sample_rate`, `ann_sample` and `ann_symbol`. Without them a stated
generator, `generated_record`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from examples.measure import find_data, measure, parser, say, softmax

RATE, HOP = 120, 4  # samples per second that the network takes, and per score
NONE = 0
CLASSES = ("none", "N", "S", "V", "F")  # normal, supraventricular, ventricular, fusion of N and V
DELAY, SPAN = 0.27, 0.13  # seconds behind a beat's mark from which, and for how long, the network shall name it
TOLERANCE = 0.15  # seconds between an event and the mark of its beat
SCORED = 50  # test beats that a class needs to be part of the mean F1
TRAIN = 0.7  # of each record
CALIBRATION = 120  # seconds of each record
MINUTES = 20  # of the generated record
WIDTH = 64
STEPS, BATCH, SECONDS = 700, 24, 10
RATE_OF_LEARNING, SEED = 4e-3, 1

Array = npt.NDArray[Any]


class Beats(nn.Module):
    """Two leads in mV `[batch, samples, 2]` to log-posteriors `[batch, samples / HOP, classes]`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(2, 24, 9, stride=2)
        self.bn1 = nn.BatchNorm1d(24)
        self.conv2 = nn.Conv1d(24, 32, 7, stride=2)
        self.bn2 = nn.BatchNorm1d(32)
        self.gru = nn.GRU(32, WIDTH, batch_first=True)
        self.dropout = nn.Dropout(0.2)
        self.out = nn.Linear(WIDTH, len(CLASSES))
        for gate in self.gru.weight_hh_l0.data.chunk(3):
            nn.init.orthogonal_(gate)

    def forward(self, leads: Tensor) -> Tensor:
        """Causal: each convolution is padded on its left only."""
        x = functional.pad(leads.transpose(1, 2), (7, 0))
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(functional.pad(x, (5, 0)))))
        x, _ = self.gru(x.transpose(1, 2))
        return torch.log_softmax(self.out(self.dropout(x)), -1)


def factory() -> tuple[nn.Module, Tensor]:
    """What `edgernn export examples.heartbeats:factory` takes: the module and an example of its input."""
    return Beats(), torch.zeros(1, 5 * RATE, 2)


@dataclass(frozen=True)
class Record:
    """Leads in mV `[samples, 2]` at RATE, and the time (seconds) and class of each beat."""

    leads: Array
    times: Array
    classes: Array

    def part(self, start: float, end: float) -> Record:
        """Between two shares of it."""
        first, last = (int(share * len(self.leads)) // HOP * HOP for share in (start, end))
        inside = (self.times >= first / RATE) & (self.times < last / RATE)
        return Record(self.leads[first:last], self.times[inside] - first / RATE, self.classes[inside])


def load_records(path: Path | None) -> tuple[str, list[Record]]:
    """A name, and the records; of other rates they are averaged or interpolated to RATE."""
    found = find_data("ecg", path)
    files = [] if found is None else [file for file in sorted(found.glob("*.npz")) if "ann_symbol" in np.load(file)]
    if not files:
        return "generated", [generated_record()]
    return "MIT-BIH " + ", ".join(file.stem.split("_")[-1] for file in files), [read_record(file) for file in files]


def read_record(path: Path) -> Record:
    """One npz; marks that are no beat, and beats of unknown class (Q), are left out."""
    data = np.load(path)
    leads = (data["signal"] - data["baseline"]) / data["adc_gain"]
    rate = int(data["sample_rate"])
    if rate % RATE == 0:
        step = rate // RATE
        leads = leads[: len(leads) // step * step].reshape(-1, step, 2).mean(1)
    else:
        at = np.arange(0, len(leads) / rate, 1 / RATE) * rate
        leads = np.stack([np.interp(at, np.arange(len(leads)), lead) for lead in leads.T], 1)
    beat = np.isin(data["ann_symbol"], CLASSES)
    classes = np.array([CLASSES.index(symbol) for symbol in data["ann_symbol"][beat]])
    return Record(leads.astype(np.float32), data["ann_sample"][beat] / rate, classes)


def generated_record() -> Record:
    """Bumps for P, QRS and T; every sixth beat or so is a V: early, wide, without P, with a pause behind it."""
    random = np.random.default_rng(0)
    leads = 0.03 * random.standard_normal((int(MINUTES * 60 * RATE), 2))
    at, now = np.arange(len(leads)) / RATE, 1.0
    times, classes = list[float](), list[int]()
    while now < MINUTES * 60 - 2:
        early = random.random() < 0.17 and bool(times)
        now -= 0.3 * early
        times.append(now)
        classes.append(CLASSES.index("V" if early else "N"))
        near = slice(int((now - 0.5) * RATE), int((now + 0.8) * RATE))
        for place, width, height in (
            (-0.16, 0.03, 0.15 * (not early)),
            (0, 0.05 if early else 0.015, 1),
            (0.3, 0.06, 0.3),
        ):
            bump = height * np.exp(-(((at[near] - now - place) / width) ** 2))
            leads[near] += bump[:, None] * [1, -0.7 if early else 0.5]
        now += random.normal(0.8, 0.04) + 0.5 * early
    return Record(leads.astype(np.float32), np.array(times), np.array(classes))


def labels(record: Record) -> Array:
    """The class that each frame shall have, `[frames]`."""
    wanted = np.zeros(len(record.leads) // HOP, np.int64)
    for at, kind in zip(record.times, record.classes, strict=True):
        start = int((at + DELAY) * RATE / HOP)
        wanted[start : start + int(SPAN * RATE / HOP) + 1] = kind
    return wanted


def train(records: Sequence[Record], steps: int) -> Beats:
    """On random pieces of the records; rare classes count more, by the root of how rare they are."""
    torch.manual_seed(SEED)
    random = np.random.default_rng(SEED)
    model = Beats()
    wanted = [labels(record) for record in records]
    counts = np.bincount(np.concatenate(wanted), minlength=len(CLASSES))
    weight = torch.from_numpy(np.sqrt(counts[1:].max() / np.maximum(counts, 1)).clip(0.3, 6).astype(np.float32))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE_OF_LEARNING, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE_OF_LEARNING, max(steps, 10))
    frames, began = SECONDS * RATE // HOP, time.perf_counter()
    for step in range(steps):
        x, y = [], []
        for _ in range(BATCH):
            index = int(random.integers(len(records)))
            start = int(random.integers(0, len(wanted[index]) - frames))
            piece = records[index].leads[start * HOP : (start + frames) * HOP]
            piece = piece * random.uniform(0.8, 1.25) + random.normal(0, 0.1, 2)  # gain and offset of an electrode
            x.append(torch.from_numpy(piece.astype(np.float32)))
            y.append(torch.from_numpy(wanted[index][start : start + frames]))
        scores = model(torch.stack(x))[:, RATE // HOP :]
        right = torch.stack(y)[:, RATE // HOP :]  # a second to settle in
        loss = functional.nll_loss(scores.flatten(0, 1), right.flatten(), weight)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 49:
            say(f"step {step + 1}/{steps}  loss {loss.item():.3f}  {time.perf_counter() - began:.0f} s")
    return model.eval()


def beats(posteriors: Iterable[Array]) -> Iterator[tuple[float, int]]:
    """Time (seconds) and class of each beat, as soon as its run of frames ends; posteriors `[classes]` one by one."""
    total, length = np.zeros(len(CLASSES)), 0
    for index, frame in enumerate(posteriors):
        if frame[NONE] < 0.5:
            total, length = total + frame, length + 1
        elif length:
            yield (index - length / 2) * HOP / RATE - DELAY - SPAN / 2, 1 + int(total[1:].argmax())
            total, length = np.zeros(len(CLASSES)), 0


def found_beats(path: Path, record: Record) -> list[tuple[float, int]]:
    """Of the record streamed through a file, a hop at a time."""
    import edgernn

    stream = edgernn.load(path).stream(rate_hz=RATE)
    hops = record.leads[: len(record.leads) // HOP * HOP].reshape(-1, HOP, 2)
    return list(beats(softmax(np.asarray(stream.step(hop))[0]) for hop in hops))


def count(events: Sequence[tuple[float, int]], record: Record) -> tuple[Counter[int], Counter[int], Counter[int]]:
    """Of each class: events that are right, events, and beats."""
    free, right = set(range(len(record.times))), Counter[int]()
    for at, kind in events:
        near = [i for i in np.flatnonzero(np.abs(record.times - at) <= TOLERANCE) if i in free]
        if near:
            nearest = min(near, key=lambda i: abs(record.times[i] - at))
            free.discard(nearest)
            right[kind] += record.classes[nearest] == kind
    return right, Counter(kind for _, kind in events), Counter(record.classes.tolist())


def f1_by_class(path: Path, tests: Sequence[Record]) -> dict[str, tuple[float, int]]:
    """F1 in %, and number of test beats, of each class that has any."""
    right, events, truth = Counter[int](), Counter[int](), Counter[int]()
    for record in tests:
        for total, part in zip((right, events, truth), count(found_beats(path, record), record), strict=True):
            total.update(part)
    return {CLASSES[k]: (200 * right[k] / (events[k] + truth[k]), truth[k]) for k in sorted(truth)}


def mean_f1(found: dict[str, tuple[float, int]]) -> float:
    """Over the classes that have beats enough."""
    return float(np.mean([score for score, number in found.values() if number >= SCORED]))


def make_files(model: nn.Module, records: Sequence[Record], out: Path) -> tuple[Path, Path]:
    """The proved float file and the int8 one, calibrated on the start of each record."""
    from edgernn.export import export_model
    from edgernn.quantize import quantize_model

    out.mkdir(parents=True, exist_ok=True)
    example = torch.from_numpy(records[0].leads[None, : 5 * RATE])
    path = out / "heartbeats.onnx"
    result = export_model(model, example, path, labels=CLASSES, rate_hz=RATE, train_length=SECONDS * RATE)
    print(result.report())
    pieces = [record.leads[: CALIBRATION * RATE] for record in records]
    return path, quantize_model(path, pieces, path.with_suffix(".ernn")).path


def main() -> None:
    """Train, export, quantize, stream the last part of each record, measure."""
    given = parser(__doc__, STEPS).parse_args()
    name, records = load_records(given.data)
    training, tests = [[record.part(*part) for record in records] for part in ((0, TRAIN), (TRAIN, 1))]
    model = train(training, given.steps)
    files = make_files(model, training, given.out)
    found = [f1_by_class(path, tests) for path in files]

    def score(paths: Sequence[Path]) -> float:
        return mean_f1(found[files.index(paths[0])])

    each = [
        f"{kind} {found[0][kind][0]:.1f} and {found[1][kind][0]:.1f} % ({number} beats)"
        for kind, (_, number) in found[0].items()
    ]
    measure(
        "heartbeats",
        application="heartbeats",
        data=name,
        network=f"2 × Conv1d, GRU {WIDTH}",
        parameters=sum(item.numel() for item in model.parameters()),
        metric="mean F1 %",
        score=score,
        float_files=[files[0]],
        int8_files=[files[1]],
        rate_hz=RATE,
        notes=[
            f"F1 float and int8: {', '.join(each)}; the mean is of classes with {SCORED} beats or more.",
            f"An event comes {DELAY + SPAN:.1f} s behind its beat, and {HOP / RATE * 1000:.0f} ms to end its run.",
        ],
        out=given.out,
    )


if __name__ == "__main__":
    main()
