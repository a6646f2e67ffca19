"""`edgernn bench --target serial:DEV` against microcontrollers on QEMU, whose UART is a pseudo-terminal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import edgernn
from edgernn.cli import edgernn as command_line
from edgernn.errors import TargetError
from edgernn.export.to_ernn import pack
from edgernn.targets import find_board
from edgernn.targets.emulate import emulator
from edgernn.targets.fit import STACK_BYTES
from edgernn.targets.mcu import build_firmware, read_vectors
from edgernn.targets.serial import bench_serial

from board_tools import tool
from small_programs import PROGRAMS

pytestmark = pytest.mark.xdist_group("targets")
BOARDS = ("cortex-m4", "cortex-m55")  # one of each UART's address


def call(*words: object) -> Result:
    return CliRunner().invoke(command_line, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("serial") / "cells.ernn"
    path.write_bytes(pack(PROGRAMS["cells"]()))
    return path


@pytest.fixture(scope="module", params=BOARDS)
def line(request: pytest.FixtureRequest, model: Path) -> Iterator[tuple[str, str]]:
    """A board's name and the target of its serial line; the model's program waits there."""
    board = find_board(request.param)
    command = tool(lambda: emulator(board))
    program = model.with_name(f"{board.name}.elf")
    tool(lambda: build_firmware(board, model, program))
    words = [*command, "-display", "none", "-monitor", "none", "-serial", "pty", "-kernel", str(program)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"redirected to (/dev/\S+)", said)
        assert found, said
        yield board.name, f"serial:{found[1]}"
    finally:
        process.kill()
        process.communicate()


def test_a_board_answers(line: tuple[str, str], model: Path) -> None:
    """With the bits of the file's maker; the cycles of an emulator are no time, whatever clock is told. Twice."""
    name, target = line
    for steps in (100, 150):
        result = call("bench", model, "--target", target, "--steps", steps, "--clock-mhz", 100, "--json")
        assert result.exit_code == 0, result.output
        answer = json.loads(result.stdout)
        assert (answer["target"], answer["file"], answer["steps"]) == (target, "cells.ernn", steps)
        assert answer["isa"] == find_board(name).isas[0]
        assert answer["vectors_hash"] == f"{read_vectors(model).hash:016x}"
        assert 0 < answer["stack_bytes"] <= STACK_BYTES
        assert 0 < answer["stream_bytes"] <= edgernn.load(model).details["stream_bytes"]
        assert 0 < answer["least_cycles"] <= answer["mean_cycles"] <= answer["most_cycles"]
        times = (answer["counter"], answer["clock_mhz"], answer["mean_us"], answer["most_us"])
        assert times == ("SysTick", None, None, None)
    told = call("bench", model, "--target", target, "--steps", 100)
    assert "time    not known: this counter may be an emulator's" in told.stdout


def test_firmware_of_another_model(line: tuple[str, str], tmp_path: Path) -> None:
    other = tmp_path / "other.ernn"
    other.write_bytes(pack(PROGRAMS["layers"]()))
    with pytest.raises(TargetError, match=r"its firmware is of another model than other\.ernn"):
        bench_serial(line[1], other, 100)


class Fake:
    """A pseudo-terminal whose other end answers a question with some bytes."""

    def __init__(self, answer: bytes) -> None:
        self._own, self._other = os.openpty()
        self.target = f"serial:{os.ttyname(self._other)}"
        self.asked = b""
        self._answer = answer
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while self.asked.count(b"\n") < 2:
            self.asked += os.read(self._own, 100)
        os.write(self._own, self._answer)

    def close(self) -> None:
        self._thread.join(10)
        os.close(self._own)
        os.close(self._other)


def answer_of(model: Path, **changes: object) -> bytes:
    vectors = read_vectors(model)
    said = {
        "isa": "dsp",
        "counter": "DWT",
        "fingerprint": f"{vectors.fingerprint:016x}",
        "vectors_hash": f"{vectors.hash:016x}",
        "steps": 100,
        "least_cycles": 900,
        "most_cycles": 2000,
        "total_cycles": 100_000,
        "stream_bytes": 1000,
        "stack_bytes": 500,
    }
    return json.dumps(said | changes).encode() + b"\n"


def test_the_real_counter_and_a_clock_give_times(model: Path) -> None:
    """Noise of the line before the answer is passed over."""
    fake = Fake(b"\xff\x00boot\n" + answer_of(model))
    report = bench_serial(fake.target, model, 100, clock_mhz=50)
    fake.close()
    assert fake.asked == b"\n100\n"
    assert (report.mean_cycles, report.mean_us, report.most_us) == (1000, 20, 40)
    assert "time    20.0 µs a step, at most 40.0, at 50 MHz" in report.report()


def test_without_a_clock_there_is_no_time(model: Path) -> None:
    fake = Fake(answer_of(model))
    report = bench_serial(fake.target, model, 100)
    fake.close()
    assert (report.mean_us, "not known: --clock-mhz" in report.report()) == (None, True)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "nothing came within 0.5 s(.|\n)*hint: reset the board"),
        (b"\x80\x01garbage\xff\n", "answered with something that is no report: b'.*garbage(.|\n)*115200 baud"),
        (b"{half\n", "answered with something that is no report: b'{half'"),
        (b"{}\n", "answered with something that is no report .*fingerprint"),
        (b'{"error": "the program faulted"}\n', "its program says: the program faulted"),
        (b"x" * 5000, "answered with something that is no report: b'xxx"),
    ],
    ids=["silence", "garbage", "no JSON", "no report", "error", "flood"],
)
def test_what_is_no_answer(answer: bytes, said: str, model: Path) -> None:
    fake = Fake(answer)
    with pytest.raises(TargetError, match=said):
        bench_serial(fake.target, model, 100, seconds=0.5)
    fake.close()


def test_other_bits_are_refused(model: Path) -> None:
    fake = Fake(answer_of(model, vectors_hash="1"))
    with pytest.raises(TargetError, match="have the hash 0000000000000001, not"):
        bench_serial(fake.target, model, 100)
    fake.close()


def test_what_is_no_line(model: Path, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="cannot be opened \\(No such file"):
        bench_serial(f"serial:{tmp_path / 'tty'}", model, 100)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TargetError, match="is no serial line"):
        bench_serial(f"serial:{tmp_path / 'file'}", model, 100)


def test_what_goes_with_a_line(model: Path) -> None:
    for words in (
        ("--target", "serial:x", "--target", "pi"),
        ("--target", "serial:x", "--against", model),
        ("--target", "serial:x", "--board", "pi-4"),
        ("--target", "serial:x", "--max-p99-us", 5),
        ("--clock-mhz", 100),
    ):
        assert call("bench", model, *words).exit_code == 2


def test_firmware_is_for_boards_with_a_line(model: Path, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="pi-4: its file says of no serial line"):
        call("targets", "firmware", "pi-4", model, "-o", tmp_path / "x.elf")
    text = Path(edgernn.targets.board.FOLDER / "cortex-m4.toml").read_text("utf-8")
    (tmp_path / "mine.toml").write_text(text.replace('"cmsdk"', '"abacus"'), "utf-8")
    with pytest.raises(TargetError, match="nothing drives a uart `abacus`"):
        call("targets", "firmware", tmp_path / "mine.toml", model, "-o", tmp_path / "x.elf")
    assert not (tmp_path / "x.elf").exists()
