"""Noise taken out of running speech, 8 ms at a time: a trained network of others, read from its ONNX files, in int8.

    python -m examples.speech_enhancement                       # read, prove, quantize, enhance, measure; enhanced.wav
    python -m examples.speech_enhancement --data FOLDER --wav noisy.wav

The network is DTLN (Westhausen and Meyer 2020; breizhn/DTLN, MIT): one file masks the spectrum, the other the block
that comes of it, each with two LSTM layers. Their states are inputs and outputs of the files; `export_onnx` finds them,
and a stream carries them. Transform and overlap-add are the few lines of NumPy in `Enhancer`.

Data, below `--data`: `models/dtln/model_1.onnx` and `model_2.onnx`; `audio/noisy_speech_16k.wav` (Xiaobin-Rong/gtcrn,
MIT), which has no clean original, so int8 is compared with float; and for quality spoken digits of FSDD (CC BY-SA 4.0),
`fsdd/fsdd_5speakers.npz`, with noise of ours added. Without them two untrained networks of the same inputs and outputs
take their place, on a generated voice: the chain is the same, what comes out means nothing.
"""

from __future__ import annotations

import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from examples.measure import find_data, measure, parser

RATE, BLOCK, HOP = 16_000, 512, 128  # of DTLN's authors
BINS = BLOCK // 2 + 1
CALIBRATION = 4.0  # seconds of the clip; what follows is scored
WIDTH = "auto"  # of activations: int16 for the inputs of products that gain by it
DIGITS, MIXED_DB = 24, 5.0  # spoken digits that are mixed with noise, so many dB below them

Array = npt.NDArray[Any]


class Masker(nn.Module):
    """In place of one of DTLN's files: frames `[batch, time, size]` times a mask."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(size, 32, 2, batch_first=True)
        self.out = nn.Linear(32, size)

    def forward(self, x: Tensor) -> Tensor:
        """From the initial state."""
        mask = torch.sigmoid(self.out(self.lstm(x)[0]))
        return mask if x.shape[-1] == BINS else x * mask


def factory() -> tuple[nn.Module, Tensor]:
    """What `edgernn export examples.speech_enhancement:factory` takes: the untrained stand-in of the first file."""
    return Masker(BINS), torch.zeros(1, 50, BINS)


class Enhancer:
    """Audio in hops of HOP samples to enhanced audio, BLOCK - HOP samples late."""

    def __init__(self, files: Sequence[Path]) -> None:
        import edgernn

        self.mask, self.block = (edgernn.load(path).stream() for path in files)
        self.past = np.zeros(BLOCK, np.float32)
        self.sum = np.zeros(BLOCK, np.float32)
        self.seen: tuple[list[Array], list[Array]] = ([], [])  # what entered each network

    def __call__(self, hop: Array) -> Array:
        """`[HOP]` to `[HOP]`."""
        self.past = np.concatenate([self.past[HOP:], hop])
        spectrum = np.fft.rfft(self.past)
        magnitude = np.abs(spectrum).astype(np.float32)
        mask = np.asarray(self.mask.step(magnitude[None]))[0]
        block = np.fft.irfft(mask * spectrum).astype(np.float32)
        self.seen[0].append(magnitude)
        self.seen[1].append(block)
        self.sum = np.concatenate([self.sum[HOP:], np.zeros(HOP, np.float32)])
        self.sum += np.asarray(self.block.step(block[None]))[0]
        return self.sum[:HOP].copy()


def enhance(enhancer: Enhancer, audio: Array) -> Array:
    """A whole recording."""
    hops = audio[: len(audio) // HOP * HOP].reshape(-1, HOP)
    return np.concatenate([enhancer(hop) for hop in hops])


def snr_db(wanted: Array, found: Array) -> float:
    """Of a signal against its copy."""
    wanted, found = wanted.astype(np.float64), found.astype(np.float64)
    return float(10 * np.log10(np.sum(wanted**2) / np.sum((wanted - found) ** 2)))


def si_sdr_db(clean: Array, found: Array) -> float:
    """Scale-invariant signal-to-distortion ratio (Le Roux et al. 2019) of what comes BLOCK - HOP samples late."""
    late = BLOCK - HOP
    clean, found = clean[: len(found) - late].astype(np.float64), found[late:].astype(np.float64)
    part = clean * (clean @ found) / (clean @ clean)
    return float(10 * np.log10(np.sum(part**2) / np.sum((found - part) ** 2)))


def mixture(data: Path | None, *, test: bool) -> tuple[Array, Array]:
    """Clean speech and the same in noise: digits at twice their rate of samples, else a voice of decaying harmonics."""
    random = np.random.default_rng(int(test))
    if data is not None and (data / "fsdd" / "fsdd_5speakers.npz").exists():
        digits = np.load(data / "fsdd" / "fsdd_5speakers.npz")
        ours = np.flatnonzero(digits["is_test"] == test)
        chosen = ours[:: len(ours) // DIGITS][:DIGITS]
        clips = [digits["audio"][digits["offsets"][i] : digits["offsets"][i + 1]] / 32768 for i in chosen]
        low = np.concatenate([np.pad(clip / np.abs(clip).max() / 2, (800, 800)) for clip in clips])
        clean = np.interp(np.arange(2 * len(low)) / 2, np.arange(len(low)), low)
    else:
        at = np.arange(2 * RATE) / RATE
        clean = sum(np.sin(2 * np.pi * 140 * k * at) / k for k in range(1, 12)) * np.sin(4 * np.pi * at) ** 2 / 5
    noise = np.cumsum(random.standard_normal(len(clean))) + 20 * random.standard_normal(len(clean))
    noise -= np.convolve(noise, np.ones(400) / 400, "same")  # brown below, white above, without what drifts
    noise *= np.sqrt(np.mean(clean**2) / np.mean(noise**2)) * 10 ** (-MIXED_DB / 20)
    return clean.astype(np.float32), (clean + noise).astype(np.float32)


def read_wav(path: Path) -> Array:
    """Samples in -1 … 1. Raises `SystemExit` for another rate or width."""
    with wave.open(str(path)) as file:
        if (file.getframerate(), file.getsampwidth(), file.getnchannels()) != (RATE, 2, 1):
            raise SystemExit(f"error: {path} is not mono, 16 bit, {RATE} Hz")
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768


def write_wav(path: Path, audio: Array) -> None:
    """Mono, 16 bit."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((np.clip(audio, -1, 1) * 32767).astype(np.int16).tobytes())


def float_files(data: Path | None, out: Path) -> list[Path]:
    """Both steps as our streams, each proved: of the authors' files, or of the stand-ins."""
    from edgernn.export import export_model, export_onnx

    out.mkdir(parents=True, exist_ok=True)
    files = [out / f"dtln_{n}.onnx" for n in (1, 2)]
    for number, (path, size) in enumerate(zip(files, (BINS, BLOCK), strict=True), 1):
        if data is not None:
            print(export_onnx(data / "models" / "dtln" / f"model_{number}.onnx", path, rate_hz=RATE / HOP).report())
        else:
            print(export_model(Masker(size), torch.randn(1, 50, size), path, rate_hz=RATE / HOP).report())
    return files


def main() -> None:
    """Read, prove, quantize, enhance, measure."""
    options = parser(__doc__, 0)
    options.add_argument("--wav", type=Path, help="another recording to enhance, mono, 16 bit, 16 kHz")
    given = options.parse_args()
    folder = find_data("models/dtln", given.data / "models" / "dtln" if given.data else None)
    data = folder.parent.parent if folder else None
    files = float_files(data, given.out)
    clean, mixed = mixture(data, test=True)
    path = given.wav or (data / "audio" / "noisy_speech_16k.wav" if data else None)
    audio = read_wav(path) if path else mixed

    original = Enhancer(files)
    wanted = enhance(original, audio)
    cut = min(int(CALIBRATION * RATE), len(audio) // 2) // HOP
    others = Enhancer(files)
    enhance(others, mixture(data, test=False)[1])
    seen = [[np.stack(a[:cut]), np.stack(b)] for a, b in zip(original.seen, others.seen, strict=True)]
    int8 = quantized(files, seen)
    found = enhance(Enhancer(int8), audio)
    write_wav(given.out / "enhanced.wav", found)
    snr = snr_db(wanted[cut * HOP :], found[cut * HOP :])

    def score(paths: Sequence[Path]) -> float:
        return si_sdr_db(clean, enhance(Enhancer(paths), mixed))

    measure(
        "speech_enhancement",
        application="speech enhancement",
        data="digits in noise" if data else "generated",
        network="DTLN: 2 × (2 × LSTM 128), norm" if data else "2 × (2 × LSTM 32), untrained",
        parameters=sum(row["params"] for file in files for row in summary(file)),
        metric="SI-SDR, dB",
        score=score,
        float_files=files,
        int8_files=int8,
        rate_hz=RATE / HOP,
        notes=[
            f"Before: {si_sdr_db(clean, np.pad(mixed, (BLOCK - HOP, 0))[: len(mixed)]):.1f} dB.",
            f"On {path.name if path else 'the same'}, int8 is {snr:.1f} dB SNR from float. Activations: {WIDTH};"
            f" calibrated on the first {cut * HOP / RATE:.0f} s of it, which are not scored, and on other digits.",
        ],
        out=given.out,
    )


def quantized(files: Sequence[Path], seen: Sequence[Sequence[Array]]) -> list[Path]:
    """The int8 form of each file, calibrated on the frames that entered it."""
    from edgernn.quantize import quantize_model

    targets = [file.with_suffix(".ernn") for file in files]
    for source, frames, target in zip(files, seen, targets, strict=True):
        quantize_model(source, frames, target, activation_type=WIDTH)
    return targets


def summary(path: Path) -> list[dict[str, Any]]:
    """The file's operations."""
    import edgernn

    return edgernn.load(path).summary


if __name__ == "__main__":
    main()
