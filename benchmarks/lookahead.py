"""What a BiLSTM loses when its backward half sees N frames of the future only.

    python benchmarks/lookahead.py               # trains for about a minute, writes benchmarks/lookahead.md

A bidirectional LSTM names the digit (or the silence) at every 10 ms of strings of spoken digits, so early frames of a
word need what comes after. It is trained with the whole sequence in sight and exported for each N as it is
(`lookahead=N`, blocks of N / 4 frames), so every figure is of a file that was proved against PyTorch, run by the engine
over held-back recordings. The last line is the full BiLSTM in PyTorch.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

import edgernn
from edgernn.commands.table import table
from edgernn.export import export_model
from edgernn.nn import LogMel

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from examples import keyword_spotting as keyword  # noqa: E402

Array = npt.NDArray[Any]
MELS, HIDDEN, SILENCE = 40, 48, 10
FRAME = 80  # samples: 10 ms
WORDS, BATCH, STEPS, SEED = 4, 24, 250, 5
TESTED = 60  # strings of held-back words
AHEAD = (0, 4, 8, 16, 32, 64)
BAR = 40  # characters of the largest loss


class Tagger(nn.Module):
    """Log-mels `[batch, T, MELS]` to scores `[batch, T, 11]`."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(MELS, HIDDEN, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * HIDDEN, 11)

    def forward(self, x: Tensor) -> Tensor:
        """Of every frame from those before and behind it."""
        y: Tensor = self.out(self.rnn(x)[0])
        return y


@dataclass(frozen=True)
class Strings:
    """Log-mels of spoken words in a row, and each frame's label."""

    mels: Tensor  # [strings, T, MELS]
    labels: Tensor  # [strings, T]


def strings(clips: list[tuple[Array, int]], count: int, random: np.random.Generator) -> Strings:
    """`count` strings of `WORDS` random clips with gaps between, noise below them, cut to one length."""
    front, frames = LogMel(keyword.RATE, n_fft=256, hop_length=FRAME, n_mels=MELS), 60 * WORDS
    audio = random.standard_normal((count, frames * FRAME)).astype(np.float32) * 3e-3
    labels = np.full((count, frames), SILENCE)
    for row in range(count):
        at = int(random.integers(2, 15))
        for index in random.integers(0, len(clips), WORDS):
            word, digit = clips[index]
            length = min(len(word) // FRAME, frames - at)
            audio[row, at * FRAME : (at + length) * FRAME] += word[: length * FRAME] * random.uniform(0.4, 1.2)
            labels[row, at : at + length] = digit
            at = min(at + length + int(random.integers(3, 20)), frames)
    with torch.no_grad():
        return Strings(front(torch.from_numpy(audio)), torch.from_numpy(labels))


def train(clips: list[tuple[Array, int]]) -> Tagger:
    """On random strings, with the whole of each in sight."""
    torch.manual_seed(SEED)
    random, model = np.random.default_rng(SEED), Tagger()
    optimizer = torch.optim.AdamW(model.parameters(), 6e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=STEPS)
    for _ in range(STEPS):
        batch = strings(clips, BATCH, random)
        scores = model(batch.mels + 0.3 * torch.randn_like(batch.mels))
        loss = functional.cross_entropy(scores.flatten(0, 1), batch.labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def measure(model: Tagger, test: Strings, frames: int) -> dict[str, Any]:
    """Accuracy over all frames of the exported file, its delay, and the time of a second of input on the engine."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tagger.ernn"
        started = time.perf_counter()
        export_model(model, test.mels[:1, :64], path, rate_hz=100, lookahead=frames)
        exported = time.perf_counter() - started
        loaded = edgernn.load(path)
    right, started = 0, time.perf_counter()
    for mels, labels in zip(test.mels.numpy(), test.labels.numpy(), strict=True):
        right += int((loaded(mels).argmax(-1) == labels).sum())
    spent = time.perf_counter() - started
    return {
        "N": frames,
        "delay ms": 10 * loaded.spec.delay,
        "latency ms": 10 * loaded.spec.latency,
        "right %": round(100 * right / test.labels.numel(), 2),
        "ms per second": round(1e3 * spent / (test.labels.numel() / 100), 2),
        "export s": round(exported, 1),
    }


def main() -> None:
    """Train, measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="recordings (.npz); default as in examples/keyword_spotting.py")
    parser.add_argument("--out", type=Path, default=HERE / "lookahead.md")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    clips = keyword.load_clips(arguments.data)
    started = time.perf_counter()
    model = train(clips.take(~clips.is_test))
    spent = time.perf_counter() - started
    test = strings(clips.take(clips.is_test), TESTED, np.random.default_rng(SEED + 1))
    with torch.no_grad():
        whole = 100 * (model(test.mels).argmax(-1) == test.labels).float().mean().item()
    rows = [measure(model, test, frames) for frames in AHEAD]
    worst = max(whole - row["right %"] for row in rows)
    for row in rows:
        row["points lost"] = round(whole - row["right %"], 2)
        row["drawn"] = "▇" * max(1, round(BAR * row["points lost"] / worst))
    rows.append({**dict.fromkeys(rows[0]), "N": "all", "right %": round(whole, 2), "points lost": 0.0, "drawn": ""})
    text = (
        f"Measured {date.today()} by `python benchmarks/lookahead.py`, {platform.machine()}: `{clips.name}`,\n"
        f"{TESTED} strings of {WORDS} held-back words, {test.labels.numel()} frames of 10 ms; trained for {spent:.0f} s"
        " on one core.\n\n"
        f"{table(rows, markdown=True)}\n"
    )
    arguments.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
