"""Draw the pictures of the documents, from what the shipped keyword spotter does on this machine.

    python docs/pictures/make.py     # writes docs/pictures/*.svg and, with chromium, report.png

The weights are those of tests/golden/keyword; the clips are the held-back recordings of the Free Spoken Digit Dataset
(CC BY-SA 4.0) where `EDGERNN_TEST_DATA` or `../shared/data` has them, else the synthetic voices of examples/data.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import wave
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import edgernn
from edgernn.export import convert_model
from edgernn.export.checkpoint import fit_weights
from edgernn.runtime.report import Findings, charts, examine, render
from edgernn.runtime.report.html import Markup, element

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))
from examples import keyword_spotting as example  # noqa: E402

GOLDEN = ROOT / "tests" / "golden" / "keyword"
STYLE = (ROOT / "runtime" / "report" / "style.css").read_text("utf-8")
MINUTES = 10  # of the long run
WORDS = 6  # in the picture of posteriors
PAUSE = 0.35  # seconds behind a word
SEED = 4

Array = npt.NDArray[Any]


def main() -> None:
    """Draw all."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = make_files(folder)
        audio = spoken(24)
        write_wav(folder / "clips.wav", audio)
        long = MINUTES * 60 * example.RATE
        findings = examine(list(files.values()), data=folder / "clips.wav", long=long)
        save("pipeline", pipeline())
        save("latency", latency(findings))
        save("error", error(findings))
        save("posteriors", posteriors(files, spoken(WORDS)))
        (folder / "report.html").write_text(render(findings), "utf-8")
        screenshot(folder / "report.html", HERE / "report.png")


def make_files(folder: Path) -> dict[str, Path]:
    """The keyword spotter in float for onnxruntime, in int8 for the engine, and with int8 weights for LiteRT."""
    module, _ = example.factory()
    fit_weights(module, GOLDEN / "digits.pt")
    files = {"float": folder / "digits.onnx", "int8": folder / "digits.ernn", "hybrid": folder / "digits.tflite"}
    example.export(module, files["float"])
    convert_model(GOLDEN / "digits.int8.onnx", files["int8"])
    convert_model(files["float"], files["hybrid"], precision="hybrid8")
    return files


def spoken(count: int) -> Array:
    """So many words that were held back, with a pause behind each, over a quiet noise."""
    clips = example.load_clips(None)
    held_back = clips.take(clips.is_test) or clips.take(~clips.is_test)
    random = np.random.default_rng(SEED)
    pause = np.zeros(int(PAUSE * example.RATE), np.float32)
    chosen = [held_back[index][0] for index in random.permutation(len(held_back))[:count]]
    audio = np.concatenate([pause, *(part for clip in chosen for part in (clip, pause))])
    return (audio + random.normal(0, 1e-3, len(audio))).astype(np.float32)


def write_wav(path: Path, audio: Array) -> None:
    """16 bits, one channel."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(example.RATE)
        file.writeframes((np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes())


def save(name: str, picture: Markup) -> None:
    """A file of its own, with the report's colours, for light and dark."""
    style = element("style", Markup(STYLE + "svg { background: var(--paper); }"))
    head, end, rest = picture.partition(">")
    head = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"')
    (HERE / f"{name}.svg").write_text(f"{head}{end}{style}{rest}\n", "utf-8")
    print(f"wrote {name}.svg")


def latency(findings: Findings) -> Markup:
    """The report's histograms."""
    assert findings.latency is not None
    rows = []
    for row in findings.latency.rows:
        files = list(findings.models)
        samples = findings.latency.times[row.file, row.kind]
        note = f"{row.backend}, {row.kind}"
        rows.append(charts.Times(row.file, note, files.index(row.file), row.p50_us, row.p99_us, row.max_us, samples))
    return charts.latency_chart("Time of a step of the keyword spotter", rows, 1e6 * example.HOP / example.RATE)


def error(findings: Findings) -> Markup:
    """The report's curve."""
    names = {"digits.ernn": "int8 on the engine", "digits.tflite": "int8 weights, float states, on LiteRT"}
    curves = {names[item.file]: item.error_db for item in findings.fidelity}
    ends = [end / example.RATE for end in findings.fidelity[0].ends]
    return charts.error_chart("Error against float over ten minutes, the state carried on", ends, "s", curves)


def posteriors(files: dict[str, Path], audio: Array) -> Markup:
    """The clip, and below it the posteriors of the digits: float as a thin line, int8 as an area."""
    width, left, top, height = charts.WIDTH, 50, 16, 60
    scores = {name: np.exp(edgernn.load(files[name])(audio)) for name in ("float", "int8")}
    seconds = len(audio) / example.RATE
    floor = 270

    def x(time: float) -> float:
        return left + time / seconds * (width - left - 16)

    def y(posterior: float) -> float:
        return floor - posterior * 150

    loud = [np.abs(part).max() for part in np.array_split(audio, 340)]
    peak = max(loud)
    parts = []
    for index, value in enumerate(loud):
        place, half = x((index + 0.5) / len(loud) * seconds), value / peak * height / 2
        parts.append(f"M{place:.1f} {top + height / 2 - half:.1f}V{top + height / 2 + half:.1f}")
    picture = [element("path", d="".join(parts), class_="curve c5")]
    for value in (0.0, 0.5, 1.0):
        picture.append(element("line", x1=left, x2=width - 16, y1=y(value), y2=y(value), class_="grid"))
        picture.append(element("text", f"{value:g}", x=left - 8, y=y(value) + 4, class_="end"))
    hop = example.HOP / example.RATE
    for label in range(example.BACKGROUND):
        exact = scores["int8"][:, label]
        if exact.max() < 0.3:
            continue
        places = [x((index + 1) * hop) for index in range(len(exact))]
        line = "".join(f"L{px:.1f} {y(float(p)):.1f}" for px, p in zip(places, exact, strict=True))
        area = f"M{places[0]:.1f} {floor}{line}L{places[-1]:.1f} {floor}Z"
        colour = f"c{label % charts.COLOURS}"
        picture.append(element("path", d=area, class_=f"area {colour}"))
        thin = "".join(f"L{px:.1f} {y(float(p)):.1f}" for px, p in zip(places, scores["float"][:, label], strict=True))
        picture.append(element("path", d=f"M{thin[1:]}", class_=f"mark {colour}", fill="none"))
        for at in peaks(exact):
            name = element("text", example.LABELS[label], x=places[at], y=y(1) - 6, class_="name middle")
            picture.append(name)
    for second in range(int(seconds) + 1):
        picture.append(element("text", f"{second} s", x=x(second), y=floor + 18, class_="middle"))
    title = "Posteriors of spoken digits as they come: int8 as areas, float as lines"
    return element("svg", element("title", title), *picture, viewBox=f"0 0 {width} {floor + 28}", role="img")


def peaks(posterior: Array) -> list[int]:
    """The middle of each stretch above one half that lasts 100 ms."""
    above = np.flatnonzero(posterior > 0.5)
    stretches = np.split(above, np.flatnonzero(np.diff(above) > 1) + 1)
    return [int(stretch[len(stretch) // 2]) for stretch in stretches if len(stretch) >= 5]


def pipeline() -> Markup:
    """What becomes of a module."""
    boxes = {
        "module": (16, 92, "nn.Module", "whole sequences", "c5"),
        "onnx": (206, 92, "model.onnx", "a step, its states named", "c0"),
        "int8": (396, 92, "model.int8.onnx", "exact integers", "c1"),
        "ernn": (586, 16, "model.ernn", "Python, C, wasm", "c2"),
        "tflite": (586, 92, "model.tflite", "LiteRT: phones", "c2"),
        "c": (586, 168, "model.c", "microcontrollers", "c2"),
    }
    wide, high = 158, 52
    arrows = [
        ("module", "onnx", "export"),
        ("onnx", "int8", "quantize"),
        ("int8", "ernn", ""),
        ("int8", "tflite", "export"),
        ("int8", "c", ""),
    ]
    parts = []
    for start, end, name in arrows:
        (ax, ay, *_), (bx, by, *_) = boxes[start], boxes[end]
        x1, y1, x2, y2 = ax + wide, ay + high / 2, bx - 2, by + high / 2
        middle = (x1 + x2) / 2
        way = f"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}m-6 -4l6 4l-6 4"
        parts.append(element("path", d=way, class_="curve c5"))
        parts.append(element("text", name, x=middle, y=ay - 8, class_="middle"))
    for x, y, name, note, colour in boxes.values():
        parts.append(element("rect", x=x, y=y, width=wide, height=high, rx=7, class_=f"area {colour}"))
        parts.append(element("text", name, x=x + wide / 2, y=y + 22, class_="name middle"))
        parts.append(element("text", note, x=x + wide / 2, y=y + 40, class_="middle"))
    under = ((285, "proved against PyTorch,"), (475, "a report of what it costs,"))
    for x, text in under:
        parts.append(element("text", text, x=x, y=166, class_="middle"))
    parts.append(element("text", "frame by frame", x=285, y=182, class_="middle"))
    parts.append(element("text", "layer by layer", x=475, y=182, class_="middle"))
    title = "From an nn.Module to a file for every device: export, quantize, export"
    return element("svg", element("title", title), *parts, viewBox="0 0 760 236", role="img")


def screenshot(page: Path, picture: Path) -> None:
    """The top of a report as a browser shows it; nothing without chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        print("no chromium: report.png stays as it is")
        return
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=900,1180"]
    profile = f"--user-data-dir={page.parent / 'profile'}"
    command = [chromium, *options, profile, f"--screenshot={picture}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True)
    print(f"wrote {picture.name}")


if __name__ == "__main__":
    main()
