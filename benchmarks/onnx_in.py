"""Speech enhancement networks of others, from their own ONNX files: what int8 costs in the audio, and a step's time.

    python benchmarks/onnx_in.py [DATA]

Prints the tables of benchmarks/onnx_in.md. DATA is a folder with `models/` and `audio/`.
"""

from __future__ import annotations

import sys
import tempfile
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import edgernn
from edgernn.export import convert_model, export_onnx
from edgernn.quantize import quantize_model

ROUNDS, STEPS = 7, 300  # interleaved; of each round the median
WIDTHS = ("int8", "auto", "int16")
BLOCK, HOP = 512, 128  # of DTLN's authors


def main(data: Path) -> None:
    """Make the files, measure both networks, print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        audio = read_wav(data / "audio" / "noisy_speech_16k.wav")
        dtln(data / "models" / "dtln", audio, folder)
        gtcrn(data / "models" / "gtcrn", folder)


def read_wav(path: Path) -> Any:
    """Samples in -1 … 1."""
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768


def dtln(models: Path, audio: Any, folder: Path) -> None:
    """Both networks as their authors chain them; calibrated on the first four seconds, measured on what follows."""
    spectra, blocks = list[Any](), list[Any]()
    paths = [export_onnx(models / f"model_{n}.onnx", folder / f"dtln_{n}.onnx").path for n in (1, 2)]
    wanted = enhance(paths, audio, spectra, blocks)
    cut = 4 * 16_000
    count = cut // HOP
    files = {"float32": paths}
    for width in WIDTHS:
        given = [np.stack(spectra[:count]), np.stack(blocks[:count])]
        files[width] = [folder / f"dtln_{n}.{width}.onnx" for n in (1, 2)]
        for source, frames, path in zip(paths, given, files[width], strict=True):
            quantize_model(source, [frames], path, activation_type=width)
    theirs = [authors_step(models / f"model_{n}.onnx") for n in (1, 2)]
    engines = {}
    for width, pair in files.items():
        engines[width] = [engine_step(convert_model(path, path.with_suffix(".ernn")).path) for path in pair]
    times = interleaved({"onnxruntime": theirs, **engines})
    print("| DTLN | SNR of the audio, dB | model 1, µs | model 2, µs | against onnxruntime |\n|---|--:|--:|--:|--:|")
    base = sum(times["onnxruntime"])
    for width in ("onnxruntime", *files):
        snr = (
            ""
            if width in ("onnxruntime", "float32")
            else f"{snr_db(wanted[cut:], enhance(exact(files[width]), audio)[cut:]):.1f}"
        )
        one, two = times[width]
        print(f"| {width} | {snr} | {one:.1f} | {two:.1f} | {base / (one + two):.1f} |", flush=True)


def exact(paths: list[Path]) -> list[Path]:
    """The engine's files, which give the exact integers."""
    return [path.with_suffix(".ernn") for path in paths]


def enhance(paths: list[Path], audio: Any, spectra: list[Any] | None = None, blocks: list[Any] | None = None) -> Any:
    """Enhanced audio, overlap-added; what enters each network goes into the lists."""
    first, second = (edgernn.load(path).stream() for path in paths)
    window, total = np.zeros(BLOCK, np.float32), np.zeros(len(audio) + BLOCK, np.float32)
    for start in range(0, len(audio) - HOP + 1, HOP):
        window = np.concatenate([window[HOP:], audio[start : start + HOP]])
        spectrum = np.fft.rfft(window)
        magnitude = np.abs(spectrum).astype(np.float32)
        mask = np.asarray(first.step(magnitude[None]))[0]
        block = np.fft.irfft(mask * spectrum).astype(np.float32)
        if spectra is not None and blocks is not None:
            spectra.append(magnitude)
            blocks.append(block)
        total[start : start + BLOCK] += np.asarray(second.step(block[None]))[0]
    return total


def gtcrn(models: Path, folder: Path) -> None:
    """One frame a step. Two of its features never move (imaginary parts at the ends): calibration has noise there."""
    golden = np.load(models / "golden_120frames.npz")
    mix, wanted = golden["mix"], golden["enh"]
    path = export_onnx(models / "gtcrn_simple.onnx", folder / "gtcrn.onnx").path
    noise = 1e-4 * np.random.default_rng(0).standard_normal((len(mix), 2))
    moved = mix.copy()
    moved[:, [0, -1], 1] += noise.astype(np.float32)
    steps = {"onnxruntime": [authors_step(models / "gtcrn_simple.onnx")]}
    figures = {}
    for width in ("float32", "int8", "int16"):
        file = path if width == "float32" else folder / f"gtcrn.{width}.onnx"
        if width != "float32":
            quantize_model(path, [moved], file, activation_type=width)
        packed = convert_model(file, file.with_suffix(".ernn")).path
        figures[width] = snr_db(wanted, edgernn.load(packed)(mix))
        steps[width] = [engine_step(packed)]
    times = interleaved(steps)
    print("\n| GTCRN | SNR of the spectrum, dB | step, µs |\n|---|--:|--:|")
    for width, (step,) in times.items():
        print(f"| {width} | {'' if width == 'onnxruntime' else f'{figures[width]:.1f}'} | {step:.0f} |")


def authors_step(path: Path) -> Callable[[], None]:
    """One step of the original in onnxruntime, its states fed back."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs, outputs = session.get_inputs(), [item.name for item in session.get_outputs()]
    feeds = {item.name: np.zeros(item.shape, np.float32) for item in inputs}
    feeds[inputs[0].name][...] = np.random.default_rng(0).standard_normal(inputs[0].shape)

    def step() -> None:
        results = session.run(outputs, feeds)
        feeds.update(zip((item.name for item in inputs[1:]), results[1:], strict=True))

    return step


def engine_step(path: Path) -> Callable[[], None]:
    """One step on the engine, in place."""
    stream = edgernn.load(path).stream()
    frame = np.random.default_rng(0).standard_normal(stream.x.shape).astype(np.float32)

    def step() -> None:
        stream.x[...] = frame
        stream.advance()

    return step


def interleaved(candidates: dict[str, list[Callable[[], None]]]) -> dict[str, list[float]]:
    """Median µs of each step, over rounds that take all candidates in turn."""
    found: dict[tuple[str, int], list[float]] = {}
    for _ in range(ROUNDS):
        for name, steps in candidates.items():
            for index, step in enumerate(steps):
                times = []
                for _ in range(STEPS):
                    before = time.perf_counter_ns()
                    step()
                    times.append(time.perf_counter_ns() - before)
                found.setdefault((name, index), []).append(float(np.median(times)) / 1e3)
    medians = {key: float(np.median(item)) for key, item in found.items()}
    return {name: [medians[name, index] for index in range(len(steps))] for name, steps in candidates.items()}


def snr_db(wanted: Any, found: Any) -> float:
    """Of a signal against its copy."""
    wanted, found = wanted.astype(np.float64), found.astype(np.float64)
    return float(10 * np.log10(np.sum(wanted**2) / np.sum((wanted - found) ** 2)))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data"))
