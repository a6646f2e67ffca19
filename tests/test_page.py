"""The page of `edgernn page` in headless Chromium: it hears a digit, has x86's bits, and says what is wrong."""

from __future__ import annotations

import base64
import json
import subprocess
import time
import wave
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

import edgernn
from edgernn.cli import edgernn as command_line
from edgernn.errors import TargetError
from edgernn.export import convert_model, export_model
from edgernn.targets.page import LOG_PROBABILITIES, PAGE, PROBABILITIES, SCORES, _scores, write_page
from edgernn.targets.verify import output_hash
from examples import keyword_spotting as example

from board_tools import tool
from browser import Browser, Tab, served
from conftest import Exporter

pytestmark = pytest.mark.xdist_group("targets")
ROOT = Path(__file__).parent.parent
DIGIT = 7
PAUSE = np.zeros(int(0.8 * example.RATE), np.float32)
Array = npt.NDArray[Any]


def write_wav(path: Path, samples: Array, rate: int = example.RATE) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


@pytest.fixture(scope="module")
def clip() -> Array:
    """A digit of a speaker, held back in training; real where there are recordings."""
    clips = example.load_clips(None)
    audio, _ = clips.take(clips.is_test & (clips.digit == DIGIT))[0]
    return audio


@pytest.fixture(scope="module")
def browser(clip: Array, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("chromium")
    made = Browser(folder / "profile", write_wav(folder / "said.wav", np.concatenate([PAUSE, clip, PAUSE])))
    yield made
    made.close()


@pytest.fixture(scope="module")
def address(keyword: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("site") / "new" / "site"
    tool(lambda: write_page(keyword, folder))
    with served(folder) as url:
        yield url


def heard(tab: Tab, seconds: float) -> Counter[str]:
    """How often each label stood there."""
    labels: Counter[str] = Counter()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        labels[tab.text("#label")] += 1
        time.sleep(0.02)
    return labels


def test_hears_a_digit(browser: Browser, address: str) -> None:
    """The label, the bars, the strip and the times of a digit that the microphone hears over and over."""
    browser.allow_microphone(address, True)
    with browser.tab(address) as tab:
        tab.wait("#status", "Ready")
        assert tab.text("h1") == "digits"
        assert tab.text("#contract") == "8 kHz mono · a step every 20 ms · 11 labels · engine wasm128"
        names = tab.run("[...document.querySelectorAll('#bars .name')].map((name) => name.textContent)")
        assert names == list(example.LABELS)
        tab.run("document.querySelector('#listen').click()")
        tab.wait("#status", "Listening")
        labels = heard(tab, 4.5)
        digits = {label: count for label, count in labels.items() if label in example.LABELS[: example.BACKGROUND]}
        assert max(digits, key=lambda label: digits[label]) == str(DIGIT), labels
        tab.wait("#label", str(DIGIT))
        picture = base64.b64decode(tab.call("Page.captureScreenshot", format="png")["data"])
        for figure in ("p50", "p99", "worst", "mean", "budget"):
            assert tab.text(f"#{figure}").endswith(" µs"), figure
        assert tab.text("#budget") == "20\u202f000 µs"
        painted = tab.run("""(() => {
            const strip = document.querySelector("#strip"), pen = strip.getContext("2d");
            return pen.getImageData(0, 0, strip.width, strip.height).data.some((value) => value);
        })()""")
        assert painted
        tab.run("document.querySelector('#listen').click()")
        tab.wait("#status", "Stopped")
        assert tab.text("#listen") == "Listen"
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "page.png").write_bytes(picture)


@pytest.mark.parametrize("rate", [example.RATE, 44100])
def test_streams_a_file(browser: Browser, address: str, clip: Array, rate: int, tmp_path: Path) -> None:
    """A file of any rate, to its end; and one that is no audio."""
    said = np.concatenate([clip, PAUSE])
    times = np.arange(0, len(said) - 1, example.RATE / rate)
    path = write_wav(tmp_path / "seven.wav", np.interp(times, np.arange(len(said)), said).astype(np.float32), rate)
    (tmp_path / "none.wav").write_bytes(b"nothing")
    with browser.tab(address) as tab:
        tab.wait("#status", "Ready")

        def choose(file: Path) -> None:
            chosen = tab.call("Runtime.evaluate", expression="document.querySelector('#file')")["result"]["objectId"]
            tab.call("DOM.setFileInputFiles", files=[str(file)], objectId=chosen)

        choose(path)
        tab.wait("#status", "Streaming seven.wav")
        labels = heard(tab, len(said) / example.RATE)
        assert labels[str(DIGIT)] > 5, labels
        tab.wait("#status", "Stopped")
        choose(tmp_path / "none.wav")
        tab.wait("#status", "none.wav is no audio that this browser reads.")


def test_refused_microphone(browser: Browser, address: str) -> None:
    browser.allow_microphone(address, False)
    with browser.tab(address) as tab:
        tab.wait("#status", "Ready")
        tab.run("document.querySelector('#listen').click()")
        said = "The microphone was refused. Allow it beside the page's address, or stream a file."
        tab.wait("#status", said)
        assert tab.run("document.querySelector('#status').dataset.kind") == "wrong"
        assert not tab.run("document.querySelector('#listen').disabled")


def test_bits(browser: Browser, address: str, keyword: Path, clip: Array) -> None:
    """The module in Chromium gives the outputs' hash that x86 gives, and the file's own vectors."""
    with browser.tab(address) as tab:
        tab.wait("#status", "Ready")
        said = tab.run(f"""(async () => {{
            const {{ load }} = await import("./edgernn.js");
            const bytes = async (name) => (await fetch(name)).arrayBuffer();
            const model = await load(await bytes("model.ernn"), await bytes("edgernn.wasm")), stream = model.stream();
            const raw = Uint8Array.from(atob("{base64.b64encode(clip.tobytes()).decode()}"), (c) => c.charCodeAt(0));
            const outputs = [stream.push(new Float32Array(raw.buffer)), stream.flush()];
            const hash = await crypto.subtle.digest("SHA-256", await new Blob(outputs).arrayBuffer());
            const text = [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
            return {{ sha256: text, selftest: model.selftest() }};
        }})()""")
    model = edgernn.load(keyword)
    assert said["sha256"] == output_hash(model, {model.spec.inputs[0].name: clip})
    assert said["selftest"] == {"wasm128": True, "scalar": True}


class Tagger(nn.Module):
    """Samples `[batch, time]` into scores of three labels."""

    def __init__(self, last: nn.Module) -> None:
        super().__init__()
        self.gru, self.out, self.last = nn.GRU(1, 4, batch_first=True), nn.Linear(4, 3), last

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.last(self.out(self.gru(x[..., None])[0]))
        return scores


def tagger(folder: Path, last: nn.Module, **options: Any) -> Path:
    result = export_model(Tagger(last).eval(), torch.randn(1, 300), folder / "m.onnx", **options)
    return convert_model(result.path, folder / "m.ernn").path


@pytest.mark.parametrize(("last", "kind"), [(nn.Softmax(-1), PROBABILITIES), (nn.Identity(), SCORES)])
def test_what_the_numbers_are(last: nn.Module, kind: str, tmp_path: Path) -> None:
    files = tool(lambda: write_page(tagger(tmp_path, last, rate_hz=8000), tmp_path / "site"))
    assert {path.name for path in files} == {path.name for path in (tmp_path / "site").iterdir()}
    assert json.loads((tmp_path / "site" / "settings.json").read_text())["scores"] == kind


def test_kinds_are_the_workers(keyword: Path) -> None:
    """The worker knows the names; scores are the rest."""
    text = (PAGE / "engine.js").read_text("utf-8")
    assert f'"{PROBABILITIES}"' in text
    assert f'"{LOG_PROBABILITIES}"' in text
    model = edgernn.load(keyword)
    assert _scores(model, model.spec.outputs[0]) == LOG_PROBABILITIES


def test_refused(exported: Exporter, tmp_path: Path) -> None:
    """What is no mono audio, with the next step; and nothing is written."""
    models = {
        exported("GRU").ernn: "is float32 [8], no sample",
        exported("GRU").path: "a page runs .ernn files",
        tagger(tmp_path, nn.Identity(), rate_hz=100): "`x` has 100 frames a second, no audio",
    }
    for path, said in models.items():
        done = CliRunner().invoke(command_line, ["page", str(path), "-o", str(tmp_path / "site")])
        assert isinstance(done.exception, TargetError)
        assert said in str(done.exception)
        assert "hint: " in str(done.exception)
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize(("rate", "own"), [(48000, 8000), (44100, 16000), (8000, 16000)])
def test_resampler(rate: int, own: int, tmp_path: Path) -> None:
    """Tones stay what they are, in blocks of any size; those that the new rate cannot have are gone."""
    low = min(rate, own) / 2
    code = f"""
const {{ Resampler }} = await import({json.dumps((PAGE / "resample.js").as_uri())});
const tone = (hz) => {{
  const resampler = new Resampler({rate}, {own}), out = [];
  for (let at = 0; at < {rate};) {{
    const count = 1 + (at * 7) % 300;
    const sample = (_, i) => Math.sin(2 * Math.PI * hz * (at + i) / {rate});
    out.push(...resampler.push(Float32Array.from({{ length: count }}, sample)));
    at += count;
  }}
  return out.slice({own} / 4, {own} * 3 / 4);
}};
console.log(JSON.stringify([{0.3 * low}, {0.8 * low}, {min(1.1 * low, 0.99 * rate / 2)}].map(tone)));
"""
    path = tmp_path / "tones.mjs"
    path.write_text(code)
    done = subprocess.run(["node", str(path)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    *kept, above = (np.array(tone) for tone in json.loads(done.stdout))
    for hz, tone in zip((0.3 * low, 0.8 * low), kept, strict=True):
        turn = 2 * np.pi * hz / own * np.arange(len(tone))
        waves = np.stack([np.sin(turn), np.cos(turn)], 1)
        parts, *_ = np.linalg.lstsq(waves, tone, rcond=None)
        assert np.hypot(*parts) == pytest.approx(1, abs=0.01)
        assert np.abs(tone - waves @ parts).max() < 1e-3
    if own < rate:
        assert np.abs(above).max() < 1e-3
