"""What somebody is doing, from a watch's motion sensor, ten times a second: a convolution and a GRU.

    python -m examples.activity    # train, export, quantize; share of frames that are right
    python -m examples.activity --data pamap2_s102_hand_acc.npz

Data: 15 minutes of the hand sensor of PAMAP2's subject 102 (Reiss and Stricker 2012, UCI), four activities, one after
the other: of each stretch of one activity the first 70 % train and the rest tests, as one stream. And 32 recordings of
10 s of exercises, from the wrist: every fourth of each exercise tests. Both have 3 axes at 100 Hz and are as kept by
emlearn/emlearn-micropython (MIT). Without them a stated generator, `generated_motion`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from examples.measure import find_data, measure, parser, say

RATE, HOP = 100, 10  # samples per second, and per result
SCALE, GRAVITY = 10.0, 9.81  # m/s^2
TRAIN = 0.7  # of each stretch
WIDTH = 48
STEPS, BATCH, SECONDS = 400, 32, 6
SETTLED = 2  # seconds behind a change of activity that are not trained on; all are scored
CALIBRATION = 6000  # samples
RATE_OF_LEARNING, SEED = 3e-3, 1

Array = npt.NDArray[Any]


class Activity(nn.Module):
    """Acceleration `[batch, samples, 3]` in m/s^2 to log-posteriors `[batch, samples / HOP, activities]`."""

    def __init__(self, activities: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(3, 24, 10, stride=5)
        self.bn1 = nn.BatchNorm1d(24)
        self.conv2 = nn.Conv1d(24, 32, 6, stride=2)
        self.bn2 = nn.BatchNorm1d(32)
        self.gru = nn.GRU(32, WIDTH, batch_first=True)
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(WIDTH, activities)
        for gate in self.gru.weight_hh_l0.data.chunk(3):
            nn.init.orthogonal_(gate)

    def forward(self, x: Tensor) -> Tensor:
        """Causal: each convolution is padded on its left only."""
        x = functional.pad(x.transpose(1, 2) / SCALE, (5, 0))
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(functional.pad(x, (4, 0)))))
        x, _ = self.gru(x.transpose(1, 2))
        return torch.log_softmax(self.out(self.dropout(x)), -1)


def factory() -> tuple[nn.Module, Tensor]:
    """What `edgernn export examples.activity:factory` takes: the module and an example of its input."""
    return Activity(), torch.zeros(1, 3 * RATE, 3)


@dataclass(frozen=True)
class Motion:
    """Acceleration `[samples, 3]` in m/s^2, and the activity of each frame of HOP samples."""

    x: Array
    activity: Array

    @classmethod
    def of(cls, x: Array, activity: int) -> Motion:
        """Whole frames of one activity."""
        frames = len(x) // HOP
        return cls(x[: frames * HOP].astype(np.float32), np.full(frames, activity, np.int64))


@dataclass(frozen=True)
class Recordings:
    """The set's name and its row's, the activities, stretches of one each to train on, and a stream to test on."""

    name: str
    row: str
    activities: tuple[str, ...]
    training: list[Motion]
    test: Motion


def load_motion(path: Path | None) -> list[Recordings]:
    """The sets that are there, or the one at `path`."""
    names = ["pamap2_s102_hand_acc"] if path else ["pamap2_s102_hand_acc", "wrist_exercises"]
    found = (find_data(f"imu/{name}.npz", path) for name in names)
    sets = [read_recordings(item) for item in found if item is not None]
    generated = ("rest", "walk", "run", "stairs")
    return sets or [Recordings("generated", "activity", generated, *split(generated_motion()))]


def read_recordings(path: Path) -> Recordings:
    """One long stream with an activity for each sample, or recordings of one activity each."""
    data = np.load(path)
    if "offsets" in data:
        activities = tuple(sorted(set(map(str, data["y"]))))
        pieces = [data["x"][start:end] * GRAVITY for start, end in pairwise(data["offsets"])]
        each = [Motion.of(x, activities.index(str(y))) for x, y in zip(pieces, data["y"], strict=True)]
        alike = [[item for item in each if item.activity[0] == index] for index in range(len(activities))]
        training = [item for items in alike for index, item in enumerate(items) if index % 4]
        test = joined([item for items in alike for item in items[::4]])
        return Recordings("wrist exercises", "activity-exercises", activities, training, test)
    edges = [0, *(np.flatnonzero(np.diff(data["y"])) + 1), len(data["y"])]
    stretches = [Motion.of(data["x"][start:end], int(data["y"][start])) for start, end in pairwise(edges)]
    return Recordings("PAMAP2, subject 102", "activity", tuple(map(str, data["activity_names"])), *split(stretches))


def generated_motion(seconds: int = 60) -> list[Motion]:
    """Gravity, and swings of another rate and size for each activity, in noise."""
    random, stretches = np.random.default_rng(0), []
    for activity, (rate, size) in enumerate(((0.0, 0.0), (1.8, 3.0), (2.8, 8.0), (1.5, 5.0))):
        at = np.arange(seconds * RATE)[:, None] / RATE
        swing = size * np.sin(2 * np.pi * (rate * at + np.array([0, 0.25, 0.5])))
        x = np.array([0, 0, GRAVITY]) + swing + 0.5 * random.standard_normal((len(at), 3))
        stretches.append(Motion.of(x, activity))
    return stretches


def split(stretches: Sequence[Motion]) -> tuple[list[Motion], Motion]:
    """The first part of each stretch to train on; the others, one behind the other, to test on."""
    first, rest = [], []
    for item in stretches:
        cut = int(TRAIN * len(item.activity))
        first.append(Motion(item.x[: cut * HOP], item.activity[:cut]))
        rest.append(Motion(item.x[cut * HOP :], item.activity[cut:]))
    return first, joined(rest)


def joined(stretches: Sequence[Motion]) -> Motion:
    """One behind the other, as one stream."""
    return Motion(np.concatenate([item.x for item in stretches]), np.concatenate([item.activity for item in stretches]))


def rotated(x: Array, random: np.random.Generator) -> Array:
    """As if the watch were worn a little differently: turned by up to 20 degrees or so about each axis."""
    turn = np.eye(3)
    for axis in range(3):
        angle, one = random.normal(0, 0.17), np.eye(3)
        a, b = (axis + 1) % 3, (axis + 2) % 3
        one[a, a] = one[b, b] = np.cos(angle)
        one[a, b], one[b, a] = -np.sin(angle), np.sin(angle)
        turn = turn @ one
    return (x @ turn * random.uniform(0.9, 1.1)).astype(np.float32)


def train(stretches: Sequence[Motion], activities: int, steps: int) -> Activity:
    """On pieces of two stretches each, so that the network learns to change its mind."""
    torch.manual_seed(SEED)
    random = np.random.default_rng(SEED)
    model = Activity(activities)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE_OF_LEARNING, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE_OF_LEARNING, max(steps, 10))
    frames, settled, began = SECONDS * RATE // HOP, SETTLED * RATE // HOP, time.perf_counter()
    for step in range(steps):
        x, y = [], []
        for _ in range(BATCH):
            pieces, wanted = [], []
            for index in random.integers(0, len(stretches), 2):
                start = int(random.integers(0, len(stretches[index].activity) - frames))
                pieces.append(rotated(stretches[index].x[start * HOP : (start + frames) * HOP], random))
                wanted.append(stretches[index].activity[start : start + frames])
            x.append(torch.from_numpy(np.concatenate(pieces)))
            y.append(torch.from_numpy(np.stack(wanted)))
        scores = model(torch.stack(x)).unflatten(1, (2, frames))[:, :, settled:]
        loss = functional.nll_loss(scores.flatten(0, 2), torch.stack(y)[:, :, settled:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 49:
            say(f"step {step + 1}/{steps}  loss {loss.item():.3f}  {time.perf_counter() - began:.0f} s")
    return model.eval()


def decided(path: Path, test: Motion) -> Array:
    """The likeliest activity of each frame, the test stream pushed in pieces of odd sizes."""
    import edgernn

    random, stream = np.random.default_rng(0), edgernn.load(path).stream(rate_hz=RATE)
    scores, start = [], 0
    while start < len(test.x):
        size = int(random.integers(1, 200))
        scores.append(np.asarray(stream.push(test.x[start : start + size])))
        start += size
    return np.concatenate(scores).argmax(-1)


def make_files(
    model: nn.Module, stretches: Sequence[Motion], names: Sequence[str], out: Path, name: str = "activity"
) -> tuple[Path, Path]:
    """The proved float file and the int8 one, calibrated on some seconds of each stretch."""
    from edgernn.export import export_model
    from edgernn.quantize import quantize_model

    out.mkdir(parents=True, exist_ok=True)
    path, example = out / f"{name}.onnx", torch.from_numpy(stretches[0].x[None, : 3 * RATE])
    length = 2 * SECONDS * RATE
    print(export_model(model, example, path, labels=names, rate_hz=RATE, train_length=length).report())
    pieces = [item.x[: CALIBRATION // len(stretches)] for item in stretches]
    return path, quantize_model(path, pieces, path.with_suffix(".ernn")).path


def main() -> None:
    """Train, export, quantize, stream, measure."""
    given = parser(__doc__, STEPS).parse_args()
    for recordings in load_motion(given.data):
        run(recordings, given.steps, given.out)


def run(recordings: Recordings, steps: int, out: Path) -> None:
    """One set: its files and its row."""
    activities, test = recordings.activities, recordings.test
    model = train(recordings.training, len(activities), steps)
    files = make_files(model, recordings.training, activities, out, recordings.row)

    def score(paths: Sequence[Path]) -> float:
        return float(100 * (decided(paths[0], test) == test.activity).mean())

    int8 = decided(files[1], test)
    each = [f"{activity} {(int8 == i)[test.activity == i].mean():.1%}" for i, activity in enumerate(activities)]
    measure(
        recordings.row,
        application="activity",
        data=recordings.name,
        network=f"2 × Conv1d, GRU {WIDTH}",
        parameters=sum(item.numel() for item in model.parameters()),
        metric="frames right %",
        score=score,
        float_files=[files[0]],
        int8_files=[files[1]],
        rate_hz=RATE,
        notes=[f"int8 of each: {', '.join(each)}; {len(test.activity):,} frames."],
        out=out,
    )


if __name__ == "__main__":
    main()
