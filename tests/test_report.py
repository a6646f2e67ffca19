"""`edgernn report`: the page's numbers are the library's, and the page stands alone, in a browser too."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from test_cli_device import write_wav

import edgernn
from edgernn.cli import edgernn as command_line
from edgernn.errors import InputError
from edgernn.quantize import verify_models
from edgernn.runtime.bench import bench
from edgernn.runtime.report import Findings, examine, render
from edgernn.runtime.report.fidelity import agreement, error_over_time

from conftest import GOLDEN_KEYWORD, Exporter

SCREENSHOT = Path(__file__).parent.parent / "build" / "report.png"
EMPTY = {"meta", "line", "path"}
QUICK = {"steps": 100, "seconds": 0.1}
LONG = 48_000


class Page(HTMLParser):
    """The text of all cells by their table's caption, the attributes of all elements, and whether all of them close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.attributes: list[tuple[str, str]] = []
        self.names: list[str] = []
        self._open: list[str] = []
        self._rows: list[list[str]] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in EMPTY:
            self._open.append(tag)
        if tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in EMPTY:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "caption" in self._open:
            self.tables[data] = self._rows
        elif {"td", "th"} & set(self._open):
            self._rows[-1][-1] += data


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of noise that swells."""
    swell = np.sin(np.linspace(0, 9, 16_000)) ** 2
    samples = np.random.default_rng(3).normal(0, 4000, 16_000) * swell
    return write_wav(tmp_path_factory.mktemp("recording") / "clip.wav", samples.astype(np.int16))


@pytest.fixture(scope="module")
def files(keyword: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The near form in onnxruntime, and the exact integers under a name that HTML must escape."""
    exact = tmp_path_factory.mktemp("files") / "a <b> & c.ernn"
    shutil.copy(keyword, exact)
    return [GOLDEN_KEYWORD, exact]


@pytest.fixture(scope="module")
def findings(files: list[Path], recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Findings:
    board = tmp_path_factory.mktemp("boards") / "boards.json"
    report = bench(files[1:], **QUICK).as_dict()
    board.write_text(json.dumps({"targets": [{"target": "pi-a", **report}, {"target": "pi-b", **report}]}))
    return examine(files, data=recording, long=LONG, boards=[board], **QUICK)


@pytest.fixture(scope="module")
def page(findings: Findings) -> str:
    return render(findings)


def test_fidelity_is_that_of_verify(findings: Findings, files: list[Path], recording: Path) -> None:
    compared = verify_models(*files, recording, long=LONG)
    (found,) = findings.fidelity
    assert found.whole == compared.outputs["output"]
    assert found.long == compared.long["output"]
    assert (found.frames, found.long_frames) == (16_000, LONG)
    a, b = (
        edgernn.load(path)(edgernn.runtime.read_recording(recording, model.spec))
        for path, model in zip(files, findings.models.values(), strict=True)
    )
    assert found.agreement == np.mean(np.argmax(a, 1) == np.argmax(b, 1))


def test_error_over_time_is_the_error_of_each_segment() -> None:
    """A step in the error is seen where it is, and what a segment's own loudness is does not matter."""
    wanted = np.ones((600, 2))
    wanted[:300] = np.sqrt(3)
    found = wanted + np.where(np.arange(600) < 400, 0.01, 0.1)[:, None]
    ends, error = error_over_time(wanted, found, 1200)
    assert ends[:2] == (20, 40)
    assert ends[-1] == 1200
    np.testing.assert_allclose(np.array(error, float), [-43.0103] * 40 + [-23.0103] * 20, atol=1e-3)
    assert error_over_time(wanted, wanted, 1200)[1] == (None,) * 60
    assert error_over_time(wanted[:0], wanted[:0], 3) == ((), ())
    assert agreement(wanted[:, :1], found[:, :1]) is None


def test_page_has_the_numbers(findings: Findings, page: str) -> None:
    tables = Page(page).tables
    (found,) = findings.fidelity
    row = tables[f"Against {GOLDEN_KEYWORD.name}"][1]
    assert row[:3] == ["a <b> & c.ernn", "output", f"{found.whole.snr_db:.1f}"]
    assert row[-1] == f"{found.agreement:.2%}"
    assert tables["The long stream"][1][2] == f"{found.long.snr_db:.1f}"
    model = findings.models[GOLDEN_KEYWORD.name]
    total = tables[f"{GOLDEN_KEYWORD.name}: operations of a step"][-1]
    assert total[3:6] == [f"{sum(item[key] for item in model.summary):,}" for key in ("params", "macs", "bytes")]
    assert ["latency", "159 input frames (19.9 ms)"] in tables["Time"]
    assert [item[0] for item in tables["States, kept inside the stream"][1:]] == [s.input for s in model.spec.states]
    assert findings.latency is not None
    shown = [(item[0], item[2], item[3]) for item in tables["Time of a step"][1:]]
    assert shown == [(item.file, item.kind, f"{item.p50_us:,.4g}") for item in findings.latency.rows]
    assert [item[0] for item in tables["Time of a step on boards"][1:]] == ["pi-a", "pi-a", "pi-b", "pi-b"]
    for item in findings.latency.rows:  # the histograms are of the steps that the rows are of
        assert np.percentile(findings.latency.times[item.file, item.kind], 50) == pytest.approx(item.p50_us, abs=1e-3)


def test_page_stands_alone_and_is_accessible(page: str) -> None:
    found = Page(page)
    names = [name for name, _ in found.attributes]
    assert not {"src", "href", "onload", "onclick"} & set(names)
    assert not {"script", "link", "img", "iframe"} & set(found.names)
    assert not [word for word in ("url(", "@import", "http:", "https:") if word in page]
    assert found.names.count("caption") == found.names.count("table")
    assert found.names.count("svg") == 3
    assert page.count('<svg viewBox="0 0 760') == page.count('role="img"><title>') == 3
    labelled = [value for name, value in found.attributes if name == "aria-labelledby"]
    assert labelled == [value for name, value in found.attributes if name == "id"]
    assert "prefers-color-scheme: dark" in page


def browse(page: Path, *options: str) -> str:
    """What a headless Chromium prints, its console among it."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("`chromium` is not installed (make system-tools)")
    profile = f"--user-data-dir={page.parent / 'profile'}"
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", profile, *options]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout + done.stderr


def test_in_a_browser(page: str, tmp_path: Path) -> None:
    """No error and no refused request in the console, where an image from elsewhere is one; and a picture."""
    path, broken = tmp_path / "report.html", tmp_path / "broken.html"
    path.write_text(page, "utf-8")
    broken.write_text(page.replace("</main>", '<img src="https://example.org/x.png" alt=""></main>'), "utf-8")
    seen = browse(path, "--dump-dom")
    assert "Error over time" in seen
    assert "CONSOLE" not in seen
    assert "Content Security Policy" in browse(broken, "--dump-dom")
    SCREENSHOT.parent.mkdir(exist_ok=True)
    browse(path, "--hide-scrollbars", "--window-size=960,3200", f"--screenshot={SCREENSHOT}")
    assert SCREENSHOT.read_bytes().startswith(b"\x89PNG")


def test_layers_of_a_quantization(exported: Exporter, tmp_path: Path) -> None:
    """Form and SNR of each operation stand beside the float file's, and nothing is measured with --skip-bench."""
    path, told, output = exported("GRU").path, tmp_path / "q.json", tmp_path / "r.html"
    name = next(item["name"] for item in edgernn.load(path).summary if item["op"] == "GRU")
    told.write_text(json.dumps({"nodes": [{"name": name, "form": "int8, x int16", "snr_db": 41.26}]}))
    result = report(path, "-o", output, "--quantization", told, "--skip-bench")
    assert result.exit_code == 0, result.output
    text = output.read_text("utf-8")
    tables = Page(text).tables
    rows = {row[0]: row[-2:] for row in tables[f"{path.name}: operations of a step"]}
    assert rows[name] == ["int8, x int16", "41.3"]
    assert "Time of a step" not in tables
    assert "takes two files" in text


def test_equal_files_have_no_curve(files: list[Path], recording: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin.ernn"
    shutil.copy(files[1], twin)
    found = examine([files[1], twin], data=recording, long=1, measure=False)
    assert "Every frame is equal." in render(found)
    assert found.fidelity[0].long_frames == 16_000, "never shorter than the recording"
    assert "Every frame is equal." not in render(replace(found, fidelity=()))


def test_refusals(files: list[Path], exported: Exporter, recording: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is the name of two"):
        examine([files[0], files[0]], measure=False)
    with pytest.raises(InputError, match="other frames than the first"):
        examine([files[0], exported("GRU").path], data=recording, measure=False)
    with pytest.raises(InputError, match="has no frames"):
        examine(files, data=write_wav(tmp_path / "empty.wav", np.zeros(0, np.int16)), measure=False)
    wrong = tmp_path / "wrong.json"
    for text in ("", "[]", '{"rows": []}', '{"targets": [{"target": "a"}]}'):
        wrong.write_text(text)
        with pytest.raises(InputError, match="edgernn bench --json"):
            examine(files, boards=[wrong], measure=False)
        with pytest.raises(InputError, match="edgernn quantize --json"):
            examine(files, quantization=wrong, measure=False)
    output = tmp_path / "r.html"
    assert report(files[0], "-o", tmp_path / "r.pdf").exit_code == 2
    assert isinstance(report(files[0], "-o", output, "--bench", wrong).exception, InputError)
    assert not output.exists()


def report(*words: object) -> Result:
    return CliRunner().invoke(command_line, ["report", *map(str, words)])
