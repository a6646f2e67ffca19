"""Boards: what their files say, what is refused, and what the commands print."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgernn.cli import edgernn as command_line
from edgernn.errors import TargetError
from edgernn.targets import EVIDENCE, Board, boards, find_board
from edgernn.targets.board import FOLDER

ROOT = Path(__file__).parent.parent
GOOD = """title = "My board"
cpu = "Cortex-A72"
isas = ["neon", "scalar"]
evidence = "emulated"

[build]
target = "aarch64-linux-musl"
processor = "aarch64"

[emulator]
kind = "qemu-user"
command = ["qemu-aarch64", "-cpu", "cortex-a72"]
"""


def call(*words: object) -> Result:
    return CliRunner().invoke(command_line, [str(word) for word in words])


@pytest.mark.parametrize("board", boards(), ids=lambda board: board.name)
def test_claims(board: Board) -> None:
    """Only what is in a report of this repository is called measured, and only its times may be shown."""
    assert board.may_show_times == (board.evidence == "measured")
    if board.measurements:
        assert (ROOT / board.measurements).is_file()
    if board.evidence == "emulated":
        assert board.build is not None
        assert board.emulator is not None


def test_instruction_sets_are_the_engines() -> None:
    """A board names none that the engine does not have."""
    text = (ROOT / "runtime/engine/CMakeLists.txt").read_text("utf-8")
    built = set(re.findall(r'"(\w+):[^"]*"', text))
    assert {"neon", "dotprod", "scalar"} < built
    for board in boards():
        assert set(board.isas) <= built, board.name


def test_adding_a_board_is_one_file(tmp_path: Path) -> None:
    """A file of one's own is a board wherever a board is named; in the folder, it is listed."""
    path = tmp_path / "my-board.toml"
    path.write_text(GOOD)
    board = find_board(str(path))
    assert (board.name, board.title, board.isas) == ("my-board", "My board", ("neon", "scalar"))
    assert boards(tmp_path) == [board]
    shown = call("targets", "show", path)
    assert shown.exit_code == 0
    assert shown.output.startswith("my-board: My board\nevidence   emulated: ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("title = ", "titel = "), "`titel` is nothing that a board has"),
        (('cpu = "Cortex-A72"', "cpu = 72"), "`cpu` is 72"),
        (('cpu = "Cortex-A72"\n', ""), "misses something"),
        (('"emulated"', '"seen"'), "evidence is `seen`, none of measured, emulated, compiled, source-only"),
        (('"emulated"', '"measured"'), "names its report"),
        (('["neon", "scalar"]', '["neon"]'), "`isas` ends with `scalar`"),
        (('"qemu-user"', '"bochs"'), "an emulator's kind is one of qemu-user, qemu-system, node"),
        (("[build]", "[emulated"), "cannot be read as a board"),
        (('isas = ["neon", "scalar"]', 'isas = "neon"'), "`isas` is 'neon'"),
        (("[emulator]", "clock_mhz = -1\n[emulator]"), "`clock_mhz` is nothing that a board has"),
        (("isas", "clock_mhz = -1\nisas"), "`clock_mhz` is -1"),
        (("[emulator]", "[pace]\nipc = [2.0, 1.0]\n[emulator]"), "`ipc` is the least and the most"),
        (("[emulator]", '[pace]\nipc = ["1", "2"]\n[emulator]'), "`ipc` is ('1', '2')"),
    ],
)
def test_refused(change: tuple[str, str], said: str, tmp_path: Path) -> None:
    path = tmp_path / "b.toml"
    assert change[0] in GOOD
    path.write_text(GOOD.replace(*change))
    with pytest.raises(TargetError, match=re.escape(said)):
        Board.read(path)


def test_evidence_needs_what_it_rests_on(tmp_path: Path) -> None:
    head, _, _ = GOOD.partition("[build]")
    for evidence, said in (("emulated", "has an \\[emulator\\]"), ("compiled", "has a \\[build\\]")):
        (tmp_path / "b.toml").write_text(head.replace("emulated", evidence))
        with pytest.raises(TargetError, match=said):
            Board.read(tmp_path / "b.toml")
    (tmp_path / "b.toml").write_text(head.replace("emulated", "source-only"))
    assert Board.read(tmp_path / "b.toml").build is None


def test_unknown_board() -> None:
    with pytest.raises(TargetError, match=r"no board is called `pi-44`\n\nhint: is it `pi-4`"):
        find_board("pi-44")
    with pytest.raises(TargetError, match=r"there are android-arm64, "):
        find_board("abacus")
    with pytest.raises(TargetError, match=r"gone\.toml: cannot be read as a board"):
        find_board("gone.toml")


def test_commands() -> None:
    listed = json.loads(call("targets", "list", "--json").output)
    assert [row["name"] for row in listed] == sorted(path.stem for path in FOLDER.glob("*.toml"))
    assert len(listed) >= 15
    text = call("targets", "list").output
    for board in boards():
        assert re.search(rf"^{board.name} .* {board.evidence}$", text, re.M)
        assert EVIDENCE[board.evidence] in text
        assert json.loads(call("targets", "show", board.name, "--json").output) == json.loads(json.dumps(asdict(board)))
        assert board.cpu in call("targets", "show", board.name).output
