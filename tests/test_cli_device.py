"""`edgernn run`, `bench`, `inspect` and `verify` of one file: what they print, and how they end, on both back ends."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

import edgernn
from edgernn import content
from edgernn.cli import edgernn as command_line
from edgernn.errors import EdgeRNNError
from edgernn.export import export_model
from edgernn.runtime.backends.engine import usable_isas

RATE = 8000
USABLE = usable_isas()


class Loudness(nn.Module):
    """Audio to the logarithm of a running power, and its sign, per 80 samples."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 3, 80, stride=80)
        self.gru = nn.GRU(3, 3, batch_first=True)

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        return self.gru(self.conv(audio.unsqueeze(1)).transpose(1, 2))[0]


@pytest.fixture(scope="module", params=[".onnx", ".ernn"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("device") / f"loud{request.param}"
    export_model(Loudness(), torch.randn(1, 800), path, rate_hz=RATE, labels=("a", "b", "c"))
    return path


@pytest.fixture(scope="module")
def audio() -> Any:
    return (np.random.default_rng(1).uniform(-1, 1, 1000) * 32767).astype(np.int16)


def write_wav(path: Path, samples: Any, rate: int = RATE, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


def call(*arguments: object, **options: Any) -> Result:
    return CliRunner().invoke(command_line, [str(item) for item in arguments], catch_exceptions=False, **options)


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_run_a_wav(model: Path, audio: Any, tmp_path: Path) -> None:
    rows = lines(call("run", model, "--input", write_wav(tmp_path / "x.wav", audio), "--hash"))
    expected = edgernn.load(model)(audio / np.float32(32768))
    assert rows[-1]["sha256"] == hashlib.sha256(expected.tobytes()).hexdigest()
    assert len(rows) == 13
    assert rows[2]["frame"] == 2
    assert rows[2]["time_s"] == 0.02
    np.testing.assert_allclose(rows[2]["output"], expected[2], rtol=1e-6)
    assert rows[2]["label"] == "abc"[int(expected[2].argmax())]


@pytest.mark.parametrize("kind", ["s16le", "f32le"])
@pytest.mark.parametrize("chunk", [1, 80, 333])
def test_run_from_stdin(model: Path, audio: Any, tmp_path: Path, kind: str, chunk: int) -> None:
    data = audio.tobytes() if kind == "s16le" else (audio / np.float32(32768)).tobytes()
    options = ["--format", kind, "--rate", RATE, "--chunk", chunk]
    piped = call("run", model, "--input", "-", *options, input=data + b"\x01")
    assert lines(piped) == lines(call("run", model, "--input", write_wav(tmp_path / "x.wav", audio)))


def test_run_npz_and_go_on_from_a_saved_state(model: Path, audio: Any, tmp_path: Path) -> None:
    x = audio / np.float32(32768)
    np.savez(tmp_path / "all.npz", audio=x)
    np.savez(tmp_path / "a.npz", audio=x[:530])
    np.savez(tmp_path / "b.npz", audio=x[530:])
    state = tmp_path / "state"
    first = lines(call("run", model, "--input", tmp_path / "a.npz", "--state-out", state))
    second = lines(call("run", model, "--input", tmp_path / "b.npz", "--state-in", state))
    assert first + second == lines(call("run", model, "--input", tmp_path / "all.npz"))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda folder, audio: write_wav(folder / "x.wav", audio, rate=16000), "resample"),
        (lambda folder, audio: write_wav(folder / "x.wav", audio, channels=2), "2 channels"),
        (lambda folder, audio: folder / "none.wav", "none.wav"),
        (lambda folder, audio: folder / "x.mp3", "none of .wav"),
    ],
)
def test_run_refuses(model: Path, audio: Any, tmp_path: Path, make: Any, text: str) -> None:
    with pytest.raises(EdgeRNNError, match=text):
        call("run", model, "--input", make(tmp_path, audio))


def test_run_refuses_another_rate_and_a_wrong_state(model: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgeRNNError, match="16000 Hz"):
        call("run", model, "--input", "-", "--rate", 16000, input=b"")
    (tmp_path / "state").write_bytes(b"no state")
    for path in (tmp_path / "state", tmp_path / "none"):
        with pytest.raises(EdgeRNNError):
            call("run", model, "--input", "-", "--state-in", path, input=b"")


def test_a_reader_that_has_enough_is_no_error(model: Path, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "x.wav", np.zeros(400_000, np.int16))
    words = [sys.executable, "-m", "edgernn.cli", "run", str(model), "--input", str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_inspect(model: Path) -> None:
    text = call("inspect", model).stdout
    for part in (
        "hop     80 input frames (10 ms)",
        "latency 79 input frames",
        "labels  a, b, c",
        "gru",
        "state.",
        "MACs",
    ):
        assert part in text
    data = json.loads(call("inspect", model, "--json").stdout)
    assert data["total"] == {"params": 243 + 72, "macs": 240 + 54, "bytes": 4 * (243 + 72)}
    if model.suffix == ".ernn":
        assert (data["backend"], data["isa"], data["file_bytes"]) == ("engine", USABLE[0], model.stat().st_size)
        assert f"engine  {USABLE[0]}, of {', '.join(USABLE)} that this CPU can run" in text
        assert f"{data['file_bytes']} bytes of file, {data['stream_bytes']} per stream" in text


def test_verify_a_file_by_itself(tmp_path: Path) -> None:
    """Its content hash, and its test vectors on every instruction set; exit 1 where they differ."""
    path = tmp_path / "m.ernn"
    export_model(nn.GRU(4, 4, batch_first=True), torch.randn(1, 9, 4), path)
    text = call("verify", path).stdout
    for isa in USABLE:
        assert re.search(rf"^{isa} +equal$", text, re.M)
    report = json.loads(call("verify", path, "--json").stdout)
    assert report == {"content_sha256": edgernn.load(path).spec.content_sha256, "vectors": dict.fromkeys(USABLE, True)}
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    (tmp_path / "damaged.ernn").write_bytes(data)
    with pytest.raises(EdgeRNNError, match="hash does not match"):
        call("verify", tmp_path / "damaged.ernn")
    data[-1] ^= 1
    start = int.from_bytes(data[72:80], "little")  # of the program's record, whose last field the hash is
    data[start + 95] ^= 1
    (tmp_path / "other.ernn").write_bytes(content.seal(bytes(data)))
    result = CliRunner().invoke(command_line, ["verify", str(tmp_path / "other.ernn")])
    assert "WRONG" in result.stdout
    assert f"not its maker's on {', '.join(USABLE)}" in str(result.exception)
    for words in (("verify", path, path), ("verify", path, "--data", "x.npz")):
        assert call(*words).exit_code == 2


def test_inspect_a_checkpoint(tmp_path: Path) -> None:
    torch.save(Loudness().state_dict(), tmp_path / "w.pt")
    assert "GRU" in call("inspect", tmp_path / "w.pt").stdout
    assert [row["layer"] for row in json.loads(call("inspect", tmp_path / "w.pt", "--json").stdout)] == ["conv", "gru"]


QUICK = ("--steps", 100, "--seconds", 0.2)


def test_bench_formats(model: Path) -> None:
    other = model.with_name(f"other{model.suffix}")
    other.write_bytes(model.read_bytes())
    data = json.loads(call("bench", model, "--against", other, *QUICK, "--json").stdout)
    assert [(row["file"], row["kind"]) for row in data["rows"]] == [
        (model.name, "back-to-back"),
        (model.name, "paced"),
        (other.name, "back-to-back"),
        (other.name, "paced"),
    ]
    for row in data["rows"]:
        assert 0 < row["p50_us"] <= row["p90_us"] <= row["p99_us"] <= row["p999_us"] <= row["max_us"]
        assert (row["misses"] is None) == (row["kind"] == "back-to-back")
        assert row["rtf"] == pytest.approx(row["p50_us"] / 10_000, rel=1e-2)
        assert row["load_ms"] > 0
        assert row["backend"] == ("onnxruntime" if model.suffix == ".onnx" else f"engine {USABLE[0]}")
        assert row["rss_mb"] > 1
    assert data["machine"]["cpu"]
    rows = list(csv.DictReader(io.StringIO(call("bench", model, *QUICK, "--format", "csv").stdout)))
    assert rows[0]["file"] == model.name
    assert call("bench", model, *QUICK, "--format", "md").stdout.startswith("| file")
    assert "p99_us" in call("bench", model, *QUICK).stdout


def test_bench_gates(model: Path, tmp_path: Path) -> None:
    report = json.loads(call("bench", model, *QUICK, "--json").stdout)
    path = tmp_path / "before.json"

    def against(factor: float) -> Result:
        rows = [{**row, "p50_us": row["p50_us"] * factor} for row in report["rows"]]
        path.write_text(json.dumps({**report, "rows": rows}))
        return call("bench", model, *QUICK, "--baseline", path, "--tolerance", "50%")

    assert against(1000).exit_code == 0
    slower = against(0.001)
    assert slower.exit_code == 1
    assert f"slower: {model.name}, back-to-back" in slower.stderr
    assert call("bench", model, *QUICK, "--max-p99-us", 1e9).exit_code == 0
    assert call("bench", model, *QUICK, "--max-p99-us", 0.001).exit_code == 1
    for text in ("no json", "[]", '{"schema": 1}', '{"schema": 0, "rows": []}', '{"schema": 1, "rows": []}'):
        path.write_text(text)
        with pytest.raises(EdgeRNNError):
            call("bench", model, *QUICK, "--baseline", path)
    assert call("bench", model, "--tolerance", "x").exit_code == 2


def test_bench_without_a_rate(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    export_model(nn.GRU(4, 4, batch_first=True), torch.randn(1, 9, 4), path)
    result = call("bench", path, *QUICK)
    assert "no paced row" in result.stderr
    assert "paced" not in result.stdout
    assert "paced" in call("bench", path, *QUICK, "--rate", 100).stdout
    for rate in (-3, 0, "nan"):
        result = CliRunner().invoke(command_line, ["bench", str(path), "--rate", str(rate)])
        assert (result.exit_code, "is no rate" in result.stderr) == (2, True)


def test_errors_and_usage_on_a_terminal(tmp_path: Path) -> None:
    """An error of ours: cause on stderr, an empty line, a hint, status 1. Wrong usage: status 2 and a suggestion."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edgernn.cli", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    (tmp_path / "m.onnx").write_bytes(b"")
    failed = run("run", "m.onnx", "--input", "-")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("error: m.onnx: ")
    assert "Traceback" not in failed.stderr
    wrong = run("bensh")
    assert wrong.returncode == 2
    assert "is it `bench`?" in wrong.stderr
    assert run("--help").returncode == 0
