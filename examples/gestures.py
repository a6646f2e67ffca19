"""A finger's gesture from small pictures, a label for every frame: convolutions over each picture, a GRU over time.

    python -m examples.gestures    # train, export, quantize; share of frames that are right
    python -m examples.gestures --data hand_point_history.npz

Data: tracks of a finger tip in camera video, 16 points each, of four gestures, Apache 2.0 (GitHub
kinivi/hand-gesture-recognition-mediapipe). There are no pictures with it, so `render` makes some of the tracks: a
bright spot where the finger is, in noise, in a cut-out of VIEW of the camera's picture. Tracks overlap their
neighbours, so blocks of 80 rows train or test.
Without the data a stated generator, `generated_tracks`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from examples.measure import find_data, measure, parser, say

SIZE = 20  # pixels a side
POINTS, RATE = 16, 15  # frames of a track, and per second
VIEW = 0.4  # side of the cut-out, as a share of the camera's picture
BACK = 2  # frames between the pictures whose difference shows motion
SPOT, NOISE = 1.2, 0.1  # radius in pixels, and deviation of the noise
EACH = 240  # generated tracks of a gesture
BLOCK = 80  # rows that train or test together; every fourth block tests
WIDTH = 64
STEPS, BATCH = 900, 32
SETTLED = 4  # frames at a track's start that are not trained on; all are scored
CALIBRATION = 100  # tracks
RATE_OF_LEARNING, SEED = 5e-3, 1

Array = npt.NDArray[Any]


class Gestures(nn.Module):
    """Pictures `[batch, time, SIZE, SIZE]` to log-posteriors `[batch, time, gestures]`."""

    def __init__(self, gestures: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 16, 5, stride=2, padding=2)
        self.conv2 = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.gru = nn.GRU(32, WIDTH, batch_first=True)
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(WIDTH, gestures)
        for gate in self.gru.weight_hh_l0.data.chunk(3):
            nn.init.orthogonal_(gate)

    def forward(self, pictures: Tensor) -> Tensor:
        """Each picture and what has changed since BACK before it; where in it that is does not matter."""
        before = functional.pad(pictures, (0, 0, 0, 0, BACK, 0))[:, : pictures.shape[1]]
        x = torch.stack([pictures, pictures - before], 2).flatten(0, 1)
        x = torch.relu(self.conv2(torch.relu(self.conv1(x))))
        x = x.amax((2, 3)).unflatten(0, pictures.shape[:2])
        x, _ = self.gru(x)
        return torch.log_softmax(self.out(self.dropout(x)), -1)


def factory() -> tuple[nn.Module, Tensor]:
    """What `edgernn export examples.gestures:factory` takes: the module and an example of its input."""
    return Gestures(), torch.zeros(1, 2 * POINTS, SIZE, SIZE)


def load_tracks(path: Path | None) -> tuple[str, tuple[str, ...], Array, Array]:
    """A name, the gestures, tracks `[tracks, POINTS, 2]` that start at 0, and the gesture of each."""
    found = find_data("video/hand_point_history.npz", path)
    if found is None:
        return "generated", ("stop", "clockwise", "counter clockwise", "move"), *generated_tracks()
    data = np.load(found)
    return "finger tips, rendered", tuple(map(str, data["class_names"])), data["x"], data["y"].astype(np.int64)


def generated_tracks() -> tuple[Array, Array]:
    """Trembling, circles both ways, and straight lines, in the order of their gestures."""
    random = np.random.default_rng(0)
    at = np.arange(POINTS)[:, None] / POINTS
    tracks = []
    for gesture in range(4):
        for _ in range(EACH):
            angle, size = random.uniform(0, 2 * np.pi), random.uniform(0.15, 0.3)
            turn = angle + 2 * np.pi * at * (1 if gesture == 1 else -1)
            circle = size * np.concatenate([np.cos(turn), np.sin(turn)], 1)
            line = size * 2 * at * np.array([np.cos(angle), np.sin(angle)])
            track = (np.zeros((POINTS, 2)), circle, circle, line)[gesture]
            tracks.append(track - track[0] + 0.01 * random.standard_normal((POINTS, 2)))
    return np.array(tracks, np.float32), np.repeat(np.arange(4), EACH)


def render(tracks: Array, random: np.random.Generator) -> Array:
    """Pictures `[tracks, POINTS, SIZE, SIZE]`; each track lies somewhere at random, as far as it fits."""
    low, high = tracks.min(1, keepdims=True), tracks.max(1, keepdims=True)
    room = np.maximum(0, VIEW - (high - low))
    at = (tracks - low + random.random(room.shape) * room) / VIEW * (SIZE - 1)
    pixels = np.arange(SIZE)
    x, y = (np.exp(-(((at[..., i, None] - pixels) / SPOT) ** 2)) for i in (0, 1))
    pictures = y[..., :, None] * x[..., None, :]
    return (pictures + NOISE * random.standard_normal(pictures.shape)).astype(np.float32)


def train(tracks: Array, gestures: Array, kinds: int, steps: int) -> Gestures:
    """On two tracks of different gestures after each other, so that the network learns to change its mind."""
    torch.manual_seed(SEED)
    random = np.random.default_rng(SEED)
    model = Gestures(kinds)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE_OF_LEARNING, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE_OF_LEARNING, max(steps, 10))
    began = time.perf_counter()
    for step in range(steps):
        rows = random.integers(0, len(tracks), (BATCH, 2))
        pictures = render(tracks[rows.ravel()], random).reshape(BATCH, 2 * POINTS, SIZE, SIZE)
        scores = model(torch.from_numpy(pictures)).unflatten(1, (2, POINTS))[:, :, SETTLED:]
        wanted = torch.from_numpy(gestures[rows])[..., None].expand(scores.shape[:3])
        loss = functional.nll_loss(scores.flatten(0, 2), wanted.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 49:
            say(f"step {step + 1}/{steps}  loss {loss.item():.3f}  {time.perf_counter() - began:.0f} s")
    return model.eval()


def frames_right(path: Path, pictures: Array, gestures: Array) -> Array:
    """Whether each frame was given its gesture, `[tracks, POINTS]`; tracks come one behind the other, unannounced."""
    import edgernn

    stream = edgernn.load(path).stream(rate_hz=RATE)
    decided = [np.asarray(stream.step(track)).argmax(-1) for track in pictures]
    return np.array(decided) == gestures[:, None]


def make_files(model: nn.Module, pictures: Array, names: Sequence[str], out: Path) -> tuple[Path, Path]:
    """The proved float file and the int8 one, calibrated on some training tracks."""
    from edgernn.export import export_model
    from edgernn.quantize import quantize_model

    out.mkdir(parents=True, exist_ok=True)
    path, example = out / "gestures.onnx", torch.from_numpy(pictures[:2].reshape(1, 2 * POINTS, SIZE, SIZE))
    print(export_model(model, example, path, labels=names, rate_hz=RATE, train_length=2 * POINTS).report())
    some = pictures[:: max(1, len(pictures) // CALIBRATION)]
    return path, quantize_model(path, [some.reshape(-1, SIZE, SIZE)], path.with_suffix(".ernn")).path


def main() -> None:
    """Train, export, quantize, stream, measure."""
    given = parser(__doc__, STEPS).parse_args()
    name, names, tracks, gestures = load_tracks(given.data)
    testing = np.arange(len(tracks)) // BLOCK % 4 == 3
    model = train(tracks[~testing], gestures[~testing], len(names), given.steps)
    random = np.random.default_rng(SEED)
    shuffled = random.permutation(np.flatnonzero(testing))
    pictures, wanted = render(tracks[shuffled], random), gestures[shuffled]
    files = make_files(model, render(tracks[~testing], random), names, given.out)

    def score(paths: Sequence[Path]) -> float:
        return 100 * float(frames_right(paths[0], pictures, wanted).mean())

    over_time = frames_right(files[1], pictures, wanted).mean(0)
    read = ", ".join(f"{over_time[frame - 1]:.1%} in frame {frame}" for frame in (1, 4, 8, POINTS))
    measure(
        "gestures",
        application="gestures",
        data=name,
        network=f"2 × Conv2d, GRU {WIDTH}",
        parameters=sum(item.numel() for item in model.parameters()),
        metric="frames right %",
        score=score,
        float_files=[files[0]],
        int8_files=[files[1]],
        rate_hz=RATE,
        notes=[f"int8, by frames since a gesture began: {read}; {len(wanted):,} gestures in a row, unannounced."],
        out=given.out,
    )


if __name__ == "__main__":
    main()
