"""Estimates without the board: exact counts, ranges that say what they are, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgernn.cli import edgernn as command_line
from edgernn.errors import TargetError
from edgernn.targets import Board, boards, find_board
from edgernn.targets.board import Pace
from edgernn.targets.estimate import COLD_SHARE, STEPS, _fits, _times, build_counter, count, estimate

from board_tools import tool

pytestmark = pytest.mark.xdist_group("targets")
QEMU = "qemu-x86_64"
TEN = """
int main(int words, char **word) {
  (void)word;
  long steps = 1000 * words;
  __asm__ volatile("1: nop\\n nop\\n nop\\n dec %0\\n jnz 1b" : "+r"(steps));
  return 0;
}
"""


def call(*words: object) -> Result:
    return CliRunner().invoke(command_line, [str(word) for word in words])


def test_the_plugin_counts_every_instruction(tmp_path: Path) -> None:
    """A loop of five instructions, 1000 times for each word of the command."""
    if shutil.which(QEMU) is None:
        pytest.skip(f"`{QEMU}` is not installed (make system-tools)")
    source, program = tmp_path / "loop.c", tmp_path / "loop"
    source.write_text(TEN)
    subprocess.run(["cc", "-static", str(source), "-o", str(program)], check=True)
    plugin = tool(lambda: build_counter(QEMU))
    counts = []
    for words in ([], ["a"], ["a"]):
        file = tmp_path / "count"
        subprocess.run([QEMU, "-plugin", f"{plugin},to={file}", str(program), *words], check=True)
        counts.append(int(file.read_text()))
    assert abs(counts[1] - counts[0] - 5000) < 100  # the start of a process differs a little
    assert counts[2] == pytest.approx(counts[1], abs=100)


@pytest.mark.parametrize("name", ["x86-64", "pi-4", "cortex-m4"])
def test_counts_are_exact(name: str, keyword: Path) -> None:
    """The same number again, of the instruction set that the board has."""
    board = find_board(name)
    isa, instructions = tool(lambda: count(board, keyword))
    assert 100_000 < instructions < 2_000_000
    if name == "pi-4":
        assert isa == "neon"
    if name != "cortex-m4":  # a build takes long
        assert count(board, keyword) == (isa, instructions)
    assert STEPS % 16 == 0  # inputs of ernn_bench


def test_range() -> None:
    """Bounds by hand: 3000 instructions at 1000 MHz, 8000 bytes at 1000 MB/s."""
    board, pace = replace(find_board("pi-4"), clock_mhz=1000), Pace(ipc=(0.5, 3.0), memory_mb_s=1000)
    assert _times(board, pace, 3000, 8000, "L1") == (1.0, 6.0 + 8 / COLD_SHARE)
    assert _times(board, pace, 3000, 8000, "ram") == (8.0, 6.0 + 8 / COLD_SHARE)
    assert _times(board, Pace(ipc=(0.5, 3.0)), 3000, 8000, "ram") == (1.0, 6.0)
    assert _times(replace(board, clock_mhz=None), pace, 3000, 8000, "ram") == (None, None)
    assert [_fits(board, size) for size in (32768, 32769, 1 << 20, 2 << 20)] == ["L1", "L2", "L2", "ram"]
    assert [_fits(find_board(name), 1 << 30) for name in ("cortex-m4", "x86-64")] == ["flash", "unknown"]


def test_command(keyword: Path) -> None:
    """Never a time without its label."""
    text = tool(lambda: estimate(find_board("pi-4"), keyword)).report()
    assert " instructions a step, neon" in text
    assert "estimate, unvalidated, " in text
    data = json.loads(call("bench", keyword, "--board", "pi-4", "--estimate", "--json").output)
    assert data["label"] == "estimate, unvalidated"
    assert 0 < data["least_us"] < data["most_us"]
    assert data["fits"] == "L2"
    assert call("bench", keyword, "--estimate").exit_code == 2


def test_refused(keyword: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, said in (("wasm", "nothing says at what pace"), ("android-arm64", "nothing says at what pace")):
        with pytest.raises(TargetError, match=said):
            estimate(find_board(name), keyword)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(TargetError, match=r"`qemu-aarch64` is not installed\n\nhint: Debian: apt install") as caught:
        estimate(find_board("pi-4"), keyword)
    assert caught.value.place == "pi-4"
    with pytest.raises(TargetError, match="`qemu-x86_64` is not installed"):
        estimate(find_board("x86-64"), keyword)


@pytest.mark.parametrize("board", boards(), ids=lambda board: board.name)
def test_every_emulated_board_has_a_pace(board: Board) -> None:
    emulated = board.emulator is not None and board.emulator.kind.startswith("qemu")
    assert (board.pace is not None) == (emulated or board.name == "x86-64")
