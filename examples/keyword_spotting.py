"""Spoken digits, from raw audio to a stream: train, export, prove, quantize, listen frame by frame.

    python examples/keyword_spotting.py demo       # all of it, then int8 and the engine, in one table
    python examples/keyword_spotting.py speakers   # how well it knows a speaker it never heard

The network takes raw 8 kHz audio and gives one posterior per 20 ms. Its front end is part of the module, so nothing is
left to write by hand on the device. It trains on real recordings (the Free Spoken Digit Dataset, CC BY-SA 4.0) where
`--data`, `EDGERNN_TEST_DATA` or `../shared/data` has them, else on the synthetic voices in `examples/data`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgernn.nn import LogMel, Recurrent

RATE = 8000  # samples per second
HOP = 160  # samples per posterior: two log-mel frames
MELS = 40
WIDTH = 80  # of the recurrent layers
LABELS = (*map(str, range(10)), "background")
BACKGROUND, IGNORED = 10, -1
SECONDS = 1.2  # of a training example
TAIL = 0.3  # seconds behind a word in which the network shall name it
EPOCHS, BATCH, RATE_OF_LEARNING, SEED = 30, 64, 5e-3, 1
CALIBRATION = 300  # training clips that the int8 form is calibrated on
SYNTHETIC = Path(__file__).parent / "data" / "digits.npz"

Array = npt.NDArray[Any]


class RunningMean(nn.Module):
    """Cell that takes a running mean off each feature: what a speaker and a microphone have in common at all times."""

    prior: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("prior", torch.zeros(features))
        self.decay = nn.Parameter(torch.full((features,), 4.0))  # sigmoid(4): a mean over about 0.5 s

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        """The mean over the training set."""
        return (self.prior.expand(batch, -1),)

    def forward(self, x: Tensor, mean: Tensor) -> tuple[Tensor, ...]:
        """x and mean `[batch, features]`."""
        mean = mean + torch.sigmoid(-self.decay) * (x - mean)
        return x - mean, mean


class KeywordSpotter(nn.Module):
    """Audio `[batch, samples]` to log-posteriors `[batch, samples / HOP, labels]`."""

    def __init__(self) -> None:
        super().__init__()
        self.mel = LogMel(RATE, n_fft=256, hop_length=HOP // 2, n_mels=MELS)
        self.norm = Recurrent(RunningMean(MELS))
        self.conv1 = nn.Conv1d(MELS, 64, 5, stride=2)
        self.bn1 = nn.BatchNorm1d(64)
        self.conv2 = nn.Conv1d(64, 64, 3)
        self.bn2 = nn.BatchNorm1d(64)
        self.gru = nn.GRU(64, WIDTH, 2, batch_first=True, dropout=0.2)
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(WIDTH, len(LABELS))

    def forward(self, audio: Tensor) -> Tensor:
        """Causal throughout: each convolution is padded on its left only."""
        return self.classify(self.mel(audio))

    def classify(self, mel: Tensor) -> Tensor:
        """Log-mels `[batch, frames, MELS]` to log-posteriors."""
        x = self.norm(mel).transpose(1, 2)
        x = torch.relu(self.bn1(self.conv1(functional.pad(x, (3, 0)))))
        x = torch.relu(self.bn2(self.conv2(functional.pad(x, (2, 0)))))
        x, _ = self.gru(x.transpose(1, 2))
        return torch.log_softmax(self.out(self.dropout(x)), -1)


def factory() -> tuple[nn.Module, Tensor]:
    """What `edgernn export examples.keyword_spotting:factory` takes: the module and an example of its input."""
    return KeywordSpotter(), torch.zeros(1, RATE)


@dataclass(frozen=True)
class Clips:
    """Recordings of one digit each; audio in [-1, 1]."""

    name: str
    audio: list[Array]
    digit: Array
    speaker: Array
    speaker_names: list[str]
    is_test: Array

    def take(self, mask: Array) -> list[tuple[Array, int]]:
        """Audio and digit of the clips where `mask` is true."""
        return [(self.audio[i], int(self.digit[i])) for i in np.flatnonzero(mask)]


def load_clips(path: Path | None) -> Clips:
    """The real recordings where they can be found, else the synthetic ones."""
    folders = [os.environ.get("EDGERNN_TEST_DATA", ""), "../shared/data"]
    real = [Path(folder) / "fsdd" / "fsdd_5speakers.npz" for folder in folders if folder]
    found = path or next((item for item in real if item.exists()), SYNTHETIC)
    data = np.load(found)
    if "mu_law" in data:
        curve = data["mu_law"] / np.float32(127.5) - 1
        samples = np.sign(curve) * np.expm1(np.abs(curve) * np.log(256)) / 255
    else:
        samples = data["audio"] / np.float32(32768)
    audio = np.split(samples.astype(np.float32), data["offsets"][1:-1])
    names = [str(name) for name in data["speaker_names"]]
    return Clips(found.stem, audio, data["digit"], data["speaker"], names, data["is_test"])


def augment(clips: list[tuple[Array, int]], random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A batch of audio `[batch, samples]` and its labels `[batch, samples / HOP]`.

    Each clip gets another speed and pitch, spectral tilt, level, place and background. It is labelled from its end
    on for `TAIL` seconds; what lies before it is background, and the word itself counts for nothing.
    """
    samples = int(SECONDS * RATE) // HOP * HOP
    audio = np.zeros((len(clips), samples), np.float32)
    labels = np.full((len(clips), samples // HOP), IGNORED)
    for row, (clip, digit) in enumerate(clips):
        length = int(len(clip) * random.uniform(0.8, 1.25))
        positions = np.linspace(0, len(clip) - 1, length)
        word = np.interp(positions, np.arange(len(clip)), clip)[: samples - int(TAIL * RATE)]
        tilt = random.uniform(-0.5, 0.5)
        word = word + tilt * np.concatenate([[0], word[:-1]])
        word *= 10 ** (random.uniform(-26, 0) / 20) / (np.abs(word).max() + 1e-9)
        start = int(random.integers(0, samples - len(word) - int(TAIL * RATE) + 1))
        end = start + len(word)
        audio[row, start:end] = word
        noise = np.fft.rfft(random.standard_normal(samples))
        noise = np.fft.irfft(noise * np.arange(1, len(noise) + 1.0) ** random.uniform(-1, 0), samples)
        loudness = np.sqrt(np.mean(word**2) / np.mean(noise**2))
        audio[row] += noise * loudness * 10 ** (random.uniform(-50, -8) / 20)
        labels[row, : start // HOP] = BACKGROUND
        labels[row, -(-end // HOP) : (end + int(TAIL * RATE)) // HOP] = digit
    return torch.from_numpy(audio), torch.from_numpy(labels)


def mask_features(mel: Tensor, random: np.random.Generator) -> Tensor:
    """SpecAugment (Park et al. 2019) over frequency: a band of up to 8 mels takes the example's mean."""
    mel = mel.clone()
    for row in range(len(mel)):
        width = int(random.integers(0, 9))
        low = int(random.integers(0, MELS - width))
        mel[row, :, low : low + width] = mel[row, :, low : low + width].mean()
    return mel


def train(clips: list[tuple[Array, int]], epochs: int = EPOCHS, seed: int = SEED) -> KeywordSpotter:
    """A network trained from scratch."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    model = KeywordSpotter()
    with torch.no_grad():
        sample = augment([clips[i] for i in random.permutation(len(clips))[:256]], random)[0]
        model.norm.cell.prior.copy_(model.mel(sample).mean((0, 1)))  # type: ignore[union-attr, operator]
    steps = -(-len(clips) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE_OF_LEARNING, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE_OF_LEARNING, epochs * steps)
    weight = torch.ones(len(LABELS))
    weight[BACKGROUND] = 0.3  # frames of it are many
    began = time.perf_counter()
    for epoch in range(epochs):
        total = 0.0
        order = random.permutation(len(clips))
        for start in range(0, len(clips), BATCH):
            audio, labels = augment([clips[i] for i in order[start : start + BATCH]], random)
            scores = model.classify(mask_features(model.mel(audio), random))
            loss = functional.nll_loss(scores.flatten(0, 1), labels.flatten(), weight, ignore_index=IGNORED)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        seconds = time.perf_counter() - began
        print(f"epoch {epoch + 1}/{epochs}  loss {total / steps:.3f}  {seconds:.0f} s", file=sys.stderr, flush=True)
    return model.eval()


def decide(scores: Array) -> int:
    """The digit of a clip: the largest mean log-posterior over the `TAIL` behind it; scores `[posteriors, labels]`."""
    return int(scores[-int(TAIL * RATE) // HOP :, :BACKGROUND].mean(0).argmax())


def with_tail(clip: Array) -> Array:
    """A clip and the silence behind it that the decision waits for."""
    return np.concatenate([clip, np.zeros(int(TAIL * RATE), np.float32)])


def accuracy(model: nn.Module, clips: list[tuple[Array, int]]) -> float:
    """Share of clips decided rightly by the PyTorch module."""
    with torch.no_grad():
        right = [decide(model(torch.from_numpy(with_tail(x))[None])[0].numpy()) == digit for x, digit in clips]
    return float(np.mean(right))


def streamed_accuracy(path: Path, clips: list[tuple[Array, int]], seed: int = 0) -> float:
    """Share of clips decided rightly by the exported file, fed in pieces of odd sizes as a microphone might."""
    import edgernn

    random = np.random.default_rng(seed)
    stream = edgernn.load(path).stream(rate_hz=RATE)
    right = 0
    for clip, digit in clips:
        stream.reset()
        audio, scores, start = with_tail(clip), [], 0
        while start < len(audio):
            size = int(random.integers(1, 1001))
            scores.append(stream.push(audio[start : start + size]))
            start += size
        scores.append(stream.flush())
        right += decide(np.concatenate(scores)) == digit
    return right / len(clips)


def export(model: nn.Module, path: Path) -> None:
    """Write the streaming ONNX file; the proof runs on the way."""
    from edgernn.export import export_model

    result = export_model(model, torch.zeros(1, RATE), path, name="digits", labels=LABELS, rate_hz=RATE)
    print(result.report())


def quantize(path: Path, clips: list[tuple[Array, int]]) -> tuple[Path, Path]:
    """The int8 form of an exported file, calibrated on some of the clips, for onnxruntime and for the engine."""
    from edgernn.export import convert_model
    from edgernn.quantize import quantize_model

    some = clips[:: max(1, len(clips) // CALIBRATION)]
    int8 = quantize_model(path, [with_tail(clip) for clip, _ in some], path.with_suffix(".int8.onnx"))
    ernn = convert_model(int8.path, path.with_suffix(".ernn"))
    print(ernn.report())
    return int8.path, ernn.path


def compare(files: dict[str, Path], clips: list[tuple[Array, int]], seconds: float = 5) -> str:
    """A table: accuracy streamed in odd pieces, size, and the latency of a step, back-to-back and at its real pace."""
    from edgernn.commands.table import table
    from edgernn.runtime.bench import bench

    measured = bench(list(files.values()), seconds=seconds).rows
    rows = []
    for name, path in files.items():
        quick, paced = (row for row in measured if row.file == path.name)
        rows.append(
            {
                "file": path.name,
                "run by": name,
                "accuracy": f"{streamed_accuracy(path, clips):.2%}",
                "bytes": path.stat().st_size,
                "p50 µs": quick.p50_us,
                "p99 µs": quick.p99_us,
                "paced p50": paced.p50_us,
                "paced p99": paced.p99_us,
            }
        )
    return table(rows)


def demo(clips: Clips, out: Path) -> None:
    """Train, export, prove, quantize, stream, measure."""
    out.mkdir(parents=True, exist_ok=True)
    training, test = clips.take(~clips.is_test), clips.take(clips.is_test)
    print(f"== train on {len(training)} clips of `{clips.name}`, {len(test)} held back", flush=True)
    model = train(training)
    weights, path = out / "digits.pt", out / "digits.onnx"
    torch.save(model.state_dict(), weights)
    print("== export and prove", flush=True)
    export(model, path)
    print("== quantize to int8, calibrated on training clips", flush=True)
    int8, ernn = quantize(path, training)
    print(
        f"== stream the held-back clips in odd pieces; a step is 20 ms of audio (PyTorch: {accuracy(model, test):.2%})"
    )
    files = {"onnxruntime, float": path, "onnxruntime, int8": int8, "the engine, int8": ernn}
    print(compare(files, test), flush=True)
    print(f"next: edgernn inspect {ernn}; edgernn run {ernn} --input clip.wav")


def speakers(clips: Clips) -> None:
    """Leave one speaker out at a time."""
    scores = []
    for index, name in enumerate(clips.speaker_names):
        model = train(clips.take(clips.speaker != index))
        scores.append(accuracy(model, clips.take(clips.speaker == index)))
        print(f"{name:24} {scores[-1]:7.2%}", flush=True)
    print(f"{'mean':24} {np.mean(scores):7.2%}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("command", choices=("demo", "train", "score", "speakers"))
    parser.add_argument("--data", type=Path, help="npz file like fsdd_5speakers.npz")
    parser.add_argument("--out", type=Path, default=Path("build/demo"), help="folder for what is made")
    parser.add_argument("--weights", type=Path, help="score: the trained weights")
    options = parser.parse_args()
    clips = load_clips(options.data)
    if options.command == "demo":
        demo(clips, options.out)
    elif options.command == "speakers":
        speakers(clips)
    elif options.command == "train":
        options.out.mkdir(parents=True, exist_ok=True)
        torch.save(train(clips.take(~clips.is_test)).state_dict(), options.out / "digits.pt")
    else:
        model = KeywordSpotter().eval()
        model.load_state_dict(torch.load(options.weights or options.out / "digits.pt", weights_only=True))
        print(f"{clips.name}: {accuracy(model, clips.take(clips.is_test)):.2%} of the held-back clips")


if __name__ == "__main__":
    main()
