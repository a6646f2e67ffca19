"""ernn_run and ernn_bench: what `edgernn run` and `bench --json` print, here and on the emulated boards."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import edgernn
from edgernn.cli import edgernn as command_line
from edgernn.errors import EdgeRNNError, TargetError
from edgernn.export import read_program
from edgernn.export.to_ernn import pack
from edgernn.targets import Board, boards, find_board
from edgernn.targets.build import build_engine, build_runner
from edgernn.targets.emulate import emulator
from edgernn.targets.verify import output_hash, verify
from examples import keyword_spotting as example

from board_tools import tool
from conftest import GOLDEN_KEYWORD
from engine_library import ROOT, cmake, needs
from small_programs import PROGRAMS

LINUX = [board for board in boards() if board.emulator is not None and board.emulator.kind == "qemu-user"]
COMPILED = [board for board in boards() if board.evidence == "compiled"]

pytestmark = pytest.mark.xdist_group("targets")  # builds share a cache


@pytest.fixture(scope="module")
def programs() -> Path:
    """Both, built by this machine's compiler."""
    return cmake(ROOT / "targets" / "runner", ROOT / "build" / "runner")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spoken digit."""
    path = tmp_path_factory.mktemp("clip") / "digit.wav"
    samples = example.load_clips(example.SYNTHETIC).audio[0]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(example.RATE)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def ours(*words: object) -> Result:
    return CliRunner().invoke(command_line, [str(word) for word in words], catch_exceptions=False)


def theirs(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [str(word) for word in words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **options)


@pytest.mark.parametrize("chunk", [(), ("--chunk", "1000")])
def test_run_prints_what_edgernn_run_prints(
    programs: Path, keyword: Path, clip: Path, tmp_path: Path, chunk: tuple[str, ...]
) -> None:
    """Byte for byte: numbers, times, labels, the hash at the end."""
    labelled = tmp_path / "labelled.ernn"
    program = read_program(GOLDEN_KEYWORD)
    spec = program.spec
    object.__setattr__(spec, "labels", tuple(f"“{digit}”" for digit in range(11)))
    labelled.write_bytes(pack(program))
    for model in (keyword, labelled):
        expected = ours("run", model, "--input", clip, "--hash", *chunk).stdout
        assert theirs(programs / "ernn_run", model, "--input", clip, "--hash", *chunk).stdout == expected
        assert len(expected.splitlines()) == 19


@pytest.mark.parametrize("name", PROGRAMS)
def test_run_any_program(programs: Path, name: str, tmp_path: Path) -> None:
    """Every dtype, several inputs and outputs, frames of any shape: `raw` takes what the model takes."""
    model = tmp_path / "m.ernn"
    model.write_bytes(pack(PROGRAMS[name]()))
    spec, random = edgernn.load(model).spec, np.random.default_rng(0)
    frames = {
        port.name: (random.standard_normal((23, *port.frame)) * 2).astype(port.dtype)
        if port.dtype == "float32"
        else random.integers(0, 2, (23, *port.frame)).astype(port.dtype)
        for port in spec.inputs
    }
    np.savez(tmp_path / "x.npz", **frames)
    inputs: list[object] = []
    for port in spec.inputs:
        (tmp_path / port.name).write_bytes(frames[port.name].tobytes())
        inputs += ["--input", tmp_path / port.name]
    expected = ours("run", model, "--input", tmp_path / "x.npz", "--hash").stdout
    got = theirs(programs / "ernn_run", model, *inputs, "--format", "raw", "--hash")
    assert got.stdout == expected, got.stderr
    assert len(expected.splitlines()) > 5


def test_run_reads_samples_from_stdin(programs: Path, keyword: Path, clip: Path) -> None:
    with wave.open(str(clip)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    expected = ours("run", keyword, "--input", clip, "--hash").stdout
    floats = (samples / np.float32(32768)).astype("<f4")
    for kind, data in (("s16le", samples.tobytes() + b"x"), ("f32le", floats.tobytes())):
        command = [programs / "ernn_run", keyword, "--input", "-", "--format", kind, "--hash"]
        got = subprocess.run(command, input=data, capture_output=True, check=True)
        assert got.stdout.decode() == expected


def test_bench_has_the_fields_of_edgernn_bench(programs: Path, keyword: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.ernn"
    other.write_bytes(pack(PROGRAMS["cells"]()))
    words = ("--steps", 150, "--seconds", 0.2)
    expected = json.loads(ours("bench", keyword, "--against", other, *words, "--json").stdout)
    got = json.loads(theirs(programs / "ernn_bench", keyword, other, *words).stdout)
    assert set(got) == set(expected)
    assert {key: type(value) for key, value in got["machine"].items() if key != "python"} == {
        key: type(value) for key, value in expected["machine"].items() if key != "python"
    }
    assert got["notes"] == expected["notes"][::-1] or set(got["notes"]) == set(expected["notes"])
    shape = [[(key, type(value)) for key, value in row.items()] for row in expected["rows"]]
    assert [[(key, type(value)) for key, value in row.items()] for row in got["rows"]] == shape
    for a, b in zip(got["rows"], expected["rows"], strict=True):
        assert (a["file"], a["backend"], a["kind"], a["steps"]) == (b["file"], b["backend"], b["kind"], b["steps"])
        assert 0 < a["p50_us"] <= a["p90_us"] <= a["p99_us"] <= a["p999_us"] <= a["max_us"]


@pytest.mark.parametrize(
    ("program", "words", "said", "status"),
    [
        ("ernn_run", [], "usage: ernn_run", 2),
        ("ernn_run", ["m.ernn", "--input"], "an option misses its value", 2),
        ("ernn_run", ["gone.ernn", "--input", "-"], "gone.ernn: No such file", 1),
        ("ernn_run", ["bad.ernn", "--input", "-"], "bad.ernn: ", 1),
        ("ernn_run", ["m.ernn", "--input", "gone.wav"], "gone.wav: cannot be read", 1),
        ("ernn_run", ["m.ernn", "--input", "bad.wav"], "bad.wav: is no PCM wav file", 1),
        ("ernn_run", ["m.ernn", "--input", "-", "--rate", "44100"], "m.ernn: takes frames of another rate", 1),
        ("ernn_run", ["m.ernn", "--input", "-", "--input", "-"], "has another number of inputs", 1),
        ("ernn_run", ["m.ernn", "--input", "-", "--isa", "abacus"], "abacus: ", 1),
        ("ernn_run", ["m.ernn", "--input", "-", "--format", "mp3"], "--format is", 2),
        ("ernn_bench", [], "usage: ernn_bench", 2),
        ("ernn_bench", ["m.ernn", "--steps", "7"], "usage: ernn_bench", 2),
        ("ernn_bench", ["gone.ernn"], "gone.ernn: No such file", 1),
    ],
)
def test_programs_say_what_is_wrong(
    programs: Path, keyword: Path, tmp_path: Path, program: str, words: list[str], said: str, status: int
) -> None:
    (tmp_path / "m.ernn").write_bytes(keyword.read_bytes())
    (tmp_path / "bad.ernn").write_bytes(keyword.read_bytes()[:-1])
    (tmp_path / "bad.wav").write_bytes(b"RIFF\x24\0\0\0WAVEfmt \x10")
    got = theirs(programs / program, *words, cwd=tmp_path, stdin=subprocess.DEVNULL)
    assert (got.returncode, got.stdout) == (status, "")
    assert re.match(rf"error: .*{re.escape(said)}", got.stderr), got.stderr


@pytest.mark.parametrize("board", LINUX, ids=lambda board: board.name)
def test_bits_on_the_emulated_board(board: Board, keyword: Path, clip: Path) -> None:
    """A spoken digit gives the outputs of x86 bit for bit, by a program of at most 300 KB, on the instruction set
    that the board's file promises."""
    command = tool(lambda: emulator(board))
    programs = tool(lambda: build_runner(board))
    with wave.open(str(clip)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / np.float32(32768)
    model = edgernn.load(keyword)
    frames = {model.spec.inputs[0].name: samples.astype(np.float32)}
    result = verify(board, keyword, frames)
    assert result.equal, result
    assert result.program_bytes <= 300_000
    assert (programs / "ernn_bench").stat().st_size <= 300_000
    printed = json.loads(theirs(*command, programs / "ernn_bench", keyword, "--steps", 100, "--seconds", 0.2).stdout)
    assert printed["rows"][0]["backend"] == f"engine {board.isas[0]}"
    for isa in board.isas:
        got = theirs(*command, programs / "ernn_run", keyword, "--input", clip, "--hash", "--isa", isa)
        assert json.loads(got.stdout.splitlines()[-1]) == {"sha256": result.sha256}, isa


def test_a_difference_is_seen(keyword: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: Path) -> None:
    """The comparison is with what this machine gives for the frames that came."""
    board = find_board("pi-4")
    tool(lambda: emulator(board))
    model = edgernn.load(keyword)
    name = model.spec.inputs[0].name
    frames = {name: np.random.default_rng(0).uniform(-0.5, 0.5, 1601).astype(np.float32)}
    assert output_hash(model, frames) == hashlib.sha256(model(frames[name]).tobytes()).hexdigest()
    assert tool(lambda: verify(board, keyword, frames)).equal
    monkeypatch.setattr("edgernn.targets.verify.output_hash", lambda *_: output_hash(model, {name: frames[name] / 2}))
    assert not verify(board, keyword, frames).equal
    result = ours("targets", "verify", keyword, "pi-4", "--input", clip)
    assert (result.exit_code, "False" in result.stdout) == (1, True)


def test_emulators_give_no_times(keyword: Path, clip: Path) -> None:
    """`targets verify` prints bits and bytes alone."""
    tool(lambda: emulator(find_board("pi-5")))
    tool(lambda: build_runner(find_board("pi-5")))
    rows = json.loads(ours("targets", "verify", keyword, "pi-5", "--input", clip, "--json").stdout)
    assert set(rows[0]) == {"board", "evidence", "ran", "program_bytes", "sha256", "equal"}


@pytest.mark.parametrize("board", COMPILED, ids=lambda board: board.name)
def test_compiled_boards_compile(board: Board) -> None:
    """What `compiled` claims, and no more: the engine, warnings being errors."""
    assert (tool(lambda: build_engine(board)) / "libernn.a").stat().st_size > 50_000


def test_builds_are_kept_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A build that fails says the compiler's words and leaves nothing; a second one takes the first one's."""
    needs("cmake")
    caplog.set_level("INFO", "edgernn")
    monkeypatch.setenv("EDGERNN_CACHE", str(tmp_path))
    (tmp_path / "odd.toml").write_text(
        (ROOT / "targets/boards/android-arm64.toml").read_text("utf-8").replace("aarch64-linux-android", "aarch64-cp-m")
    )
    with pytest.raises(EdgeRNNError, match="building for aarch64-cp-m: `cmake` failed"):
        tool(lambda: build_engine(find_board(str(tmp_path / "odd.toml"))))
    assert [path.name for path in tmp_path.iterdir()] == ["odd.toml"]
    first = build_engine(find_board("android-arm64"))
    stamp = (first / "libernn.a").stat().st_mtime_ns
    assert caplog.messages[-1] == "building the engine for aarch64-linux-android, once: a minute or so"
    caplog.clear()
    assert build_engine(find_board("android-arm64")) == first
    assert (first / "libernn.a").stat().st_mtime_ns == stamp
    assert not caplog.messages
    with pytest.raises(TargetError, match="there are runners for Linux boards alone"):
        build_runner(find_board("wasm"))
