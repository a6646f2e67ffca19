"""The keyword spotter left on: digits heard in a long noisy recording, with what it misses and what it makes up.

    python -m examples.keyword_detector                        # train on, export, quantize; misses, false alarms
    python -m examples.keyword_detector --weights digits.pt    # start from those of examples/keyword_spotting.py

The network is that of `examples/keyword_spotting.py`, which has only known 1.2 seconds around a word: left on, it hears
words in noise. So it is trained some more on recordings of ten seconds. `detections` makes events of its posteriors as
they come: a digit is reported when its mean over SMOOTHED seconds passes a threshold, and then nothing for REFRACTORY
seconds. The test is MINUTES of noise that changes colour and level, with a held-back clip every few seconds; the
threshold is chosen on such a recording of training clips.

Data: FSDD (CC BY-SA 4.0) as in keyword_spotting.py, else the repository's synthetic voices.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from examples.keyword_spotting import BACKGROUND, HOP, IGNORED, LABELS, RATE, TAIL, KeywordSpotter, load_clips
from examples.measure import find_data, measure, parser, say

WEIGHTS = Path(__file__).parent.parent / "tests" / "golden" / "keyword" / "digits.pt"
MINUTES, GAP = 15.0, (1.0, 5.0)  # length of the recording, and seconds between two words
SNR_DB = (5.0, 25.0)  # of a word to the noise around it
SMOOTHED, REFRACTORY = 0.14, 0.5
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
STEPS, BATCH, SECONDS, RATE_OF_LEARNING = 250, 8, 10, 1e-3
LATE = 0.5  # seconds behind its end within which a word has to be reported
CALIBRATION, CHOICE = 60.0, 180.0  # seconds of recordings of training clips
SEED = 0

Array = npt.NDArray[Any]
Word = tuple[float, float, int]  # start and end in seconds, digit


def recording(clips: Sequence[tuple[Array, int]], seconds: float, seed: int) -> tuple[Array, list[Word]]:
    """Audio in [-1, 1], and the words in it."""
    random = np.random.default_rng(seed)
    audio = noise(int(seconds * RATE), random)
    words, at = list[Word](), random.uniform(*GAP)
    while True:
        clip, digit = clips[int(random.integers(len(clips)))]
        start = int(at * RATE)
        end = start + len(clip)
        if end > len(audio) - RATE:
            return audio, words
        around = np.sqrt(np.mean(audio[start:end] ** 2))
        loud = around * 10 ** (random.uniform(*SNR_DB) / 20)
        audio[start:end] += clip * loud / np.sqrt(np.mean(clip**2))
        words.append((start / RATE, end / RATE, digit))
        at = end / RATE + random.uniform(*GAP)


def noise(samples: int, random: np.random.Generator) -> Array:
    """Five seconds each of another colour (white to pink) and level, faded into each other."""
    audio, piece = np.zeros(samples + 6 * RATE, np.float32), 6 * RATE
    fade = np.minimum(1, np.minimum(np.arange(piece), np.arange(piece)[::-1]) / RATE)
    for start in range(0, samples, 5 * RATE):
        spectrum = np.fft.rfft(random.standard_normal(piece))
        part = np.fft.irfft(spectrum * np.arange(1, len(spectrum) + 1.0) ** random.uniform(-0.5, 0), piece)
        audio[start : start + piece] += fade * part / part.std() * 10 ** (random.uniform(-50, -35) / 20)
    return audio[:samples]


def labels(words: Sequence[Word], frames: int) -> Array:
    """What each frame shall be: the digit for TAIL seconds behind a word, nothing during it, else background."""
    wanted = np.full(frames, BACKGROUND)
    for start, end, digit in words:
        first, last = int(start * RATE) // HOP, -(-int(end * RATE) // HOP)
        wanted[first:last] = IGNORED
        wanted[last : last + int(TAIL * RATE) // HOP] = digit
    return wanted


def train(model: KeywordSpotter, clips: Sequence[tuple[Array, int]], steps: int) -> KeywordSpotter:
    """Some more, on recordings of SECONDS each; norms keep the statistics that they have."""
    torch.manual_seed(SEED)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE_OF_LEARNING)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE_OF_LEARNING, max(steps, 10))
    for step in range(steps):
        made = [recording(clips, SECONDS, 1000 + step * BATCH + row) for row in range(BATCH)]
        scores = model(torch.from_numpy(np.stack([audio for audio, _ in made])))
        wanted = torch.from_numpy(np.stack([labels(words, scores.shape[1]) for _, words in made]))
        loss = functional.nll_loss(scores.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()
        schedule.step()
        if step % 25 == 24:
            say(f"step {step + 1}/{steps}  loss {loss.item():.3f}")
    return model


def posteriors(path: Path, audio: Array) -> Iterator[Array]:
    """What a file gives of a recording, heard hop by hop."""
    import edgernn

    stream = edgernn.load(path).stream(rate_hz=RATE)
    for hop in audio[: len(audio) // HOP * HOP].reshape(-1, HOP):
        yield np.exp(np.asarray(stream.step(hop))[0])


def detections(posteriors: Iterable[Array], threshold: float) -> Iterator[tuple[float, int]]:
    """Time (seconds) and digit of each report, as it is made; posteriors `[labels]`, one every HOP samples."""
    recent: deque[Array] = deque(maxlen=round(SMOOTHED * RATE / HOP))
    quiet = 0
    for index, frame in enumerate(posteriors):
        recent.append(frame)
        mean = np.mean(recent, axis=0)
        digit = int(mean[:BACKGROUND].argmax())
        quiet -= 1
        if quiet < 0 and mean[digit] > threshold:
            yield (index + 1) * HOP / RATE, digit
            quiet = round(REFRACTORY * RATE / HOP)


def compare(reports: Iterable[tuple[float, int]], words: Sequence[Word]) -> tuple[Array, int]:
    """The delay of each word's report behind the word's end, NaN where it was missed, and the false alarms."""
    delays, false = np.full(len(words), np.nan), 0
    for at, digit in reports:
        near = [i for i, (start, end, _) in enumerate(words) if start <= at <= end + LATE and np.isnan(delays[i])]
        if near and words[near[0]][2] == digit:
            delays[near[0]] = at - words[near[0]][1]
        else:
            false += 1
    return delays, false


def f1(delays: Array, false: int) -> float:
    """Of reports and words, in %."""
    right = np.isfinite(delays).sum()
    return float(200 * right / (len(delays) + right + false))


def choose_threshold(path: Path, audio: Array, words: Sequence[Word]) -> float:
    """That of the best F1."""
    frames = list(posteriors(path, audio))
    return max(THRESHOLDS, key=lambda threshold: f1(*compare(detections(frames, threshold), words)))


def make_files(model: nn.Module, audio: Array, out: Path) -> tuple[Path, Path]:
    """The proved float file and the int8 one, calibrated on a recording."""
    from edgernn.export import export_model
    from edgernn.quantize import quantize_model

    out.mkdir(parents=True, exist_ok=True)
    path, length = out / "detector.onnx", SECONDS * RATE
    example = torch.zeros(1, RATE)
    print(export_model(model, example, path, labels=LABELS, rate_hz=RATE, train_length=length).report())
    return path, quantize_model(path, [audio], path.with_suffix(".ernn")).path


def main() -> None:
    """Train on, export, quantize, listen, measure."""
    options = parser(__doc__, STEPS)
    options.add_argument("--weights", type=Path, default=WEIGHTS, help="to start from")
    given = options.parse_args()
    clips = load_clips(find_data("fsdd/fsdd_5speakers.npz", given.data))
    test, training = clips.take(clips.is_test), clips.take(~clips.is_test)
    model = KeywordSpotter().eval()
    model.load_state_dict(torch.load(given.weights, weights_only=True))
    model = train(model, training, given.steps)
    files = make_files(model, recording(training, CALIBRATION, SEED + 1)[0], given.out)
    threshold = choose_threshold(files[0], *recording(training, CHOICE, SEED + 2))
    audio, words = recording(test, 60 * MINUTES, SEED)
    found = {path: compare(detections(posteriors(path, audio), threshold), words) for path in files}

    def told(path: Path) -> str:
        delays, false = found[path]
        p50, p95 = (1000 * np.nanpercentile(delays, q) if np.isfinite(delays).any() else np.nan for q in (50, 95))
        return (
            f"misses {np.isnan(delays).mean():.1%}, {false / MINUTES * 60:.0f} false alarms per hour, reports"
            f" {p50:.0f} ms behind a word's end (p95 {p95:.0f} ms)"
        )

    measure(
        "keyword_detector",
        application="keyword detector",
        data=f"{clips.name.split('_')[0]}, {MINUTES:g} min, {SNR_DB[0]:g} to {SNR_DB[1]:g} dB",
        network="log-mel, 2 × Conv1d, 2 × GRU 80",
        parameters=sum(item.numel() for item in model.parameters()),
        metric="F1 %",
        score=lambda paths: f1(*found[paths[0]]),
        float_files=files[:1],
        int8_files=files[1:],
        rate_hz=RATE,
        notes=[f"{len(words)} words. float: {told(files[0])}; int8: {told(files[1])}. Threshold {threshold:g}."],
        out=given.out,
    )


if __name__ == "__main__":
    main()
