"""What a step costs on a board that is not here: instructions, counted by an emulator, and bytes, against its caches.

Times are a range and an estimate, which nobody has measured. At least `instructions / (most per cycle * clock)`, and
what the caches cannot hold at the most that the RAM gives. At most `instructions / (least per cycle * clock)`, and all
bytes from RAM at a fifth of what it gives, as behind a pause in which others had the caches.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import struct
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgernn.errors import MissingExtraError, TargetError
from edgernn.files import draft, write_bytes
from edgernn.runtime import load
from edgernn.targets.board import Board, Pace
from edgernn.targets.build import HERE, build_runner, cache_folder, run_tool
from edgernn.targets.c_export import write_c
from edgernn.targets.emulate import emulator
from edgernn.targets.mcu import DEBUGGED, MCU, link
from edgernn.targets.verify import SEMIHOSTING, run_json

STEPS = 64  # a multiple of the inputs that ernn_bench takes in turns, so that any run of it costs the same
STEPS_WORD = struct.pack("<I", 0x53544550)  # of mcu/steps.c
RUNS = 8  # of which two must agree
COLD_SHARE = 0.2  # of the RAM's most, in the worst case
COMPILER_HINT = "Debian: apt install build-essential"


_WHERE = {"ram": "no cache holds them", "flash": "they lie in flash and RAM", "unknown": "the caches are not known"}


@dataclass(frozen=True)
class Estimate:
    """What a step costs on a board. `*_us` is a range that was not measured; None where the clock is not known."""

    board: str
    isa: str
    instructions: int  # of a step, counted; the emulator's count, the same each time
    file_bytes: int  # of the model: what a step reads is at most that
    stream_bytes: int  # state, arena and scratch
    fits: str  # the smallest cache that holds both, or `ram`, `flash`, `unknown`
    least_us: float | None
    most_us: float | None
    label: str = "estimate, unvalidated"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def report(self) -> str:
        """A few lines for a person."""
        where = _WHERE.get(self.fits, f"they fit into {self.fits}")
        total = self.file_bytes + self.stream_bytes
        return (
            f"{self.board}: {self.instructions:,} instructions a step, {self.isa}\n"
            f"bytes  {total:,}: {self.file_bytes:,} of the model, {self.stream_bytes:,} of a stream; {where}\n"
            f"time   {self.range}"
        )

    @property
    def range(self) -> str:
        """The time in words, which say that it is an estimate."""
        if self.least_us is None or self.most_us is None:
            return "no estimate: the clock is not known"
        return f"{self.label}, {self.least_us:.3g} to {self.most_us:.3g} µs"


def estimate(board: Board, path: Path) -> Estimate:
    """Count a step of a `.ernn` file on a board's emulator.

    Raises `TargetError` when the board has no emulator of its instructions or it isn't installed, and
    `MissingExtraError` without a compiler.
    """
    model = load(path)
    if model.backend != "engine":
        raise TargetError("the engine alone runs on boards", place=str(path), hint="convert it to .ernn")
    if board.pace is None:
        raise TargetError(
            "nothing says at what pace it works", place=board.name, hint="[pace] of its file, docs/targets.md"
        )
    isa, instructions = count(board, path)
    file, stream = int(model.details["file_bytes"]), int(model.details["stream_bytes"])
    fits = _fits(board, file + stream)
    least, most = _times(board, board.pace, instructions, file + stream, fits)
    return Estimate(board.name, isa, instructions, file, stream, fits, least, most)


def count(board: Board, path: Path) -> tuple[str, int]:
    """The instruction set that runs, and how many instructions a step of a `.ernn` file takes on the emulator.

    It is the difference between runs of `2 * STEPS` and of `STEPS` steps: what surrounds them cancels.
    """
    with tempfile.TemporaryDirectory(prefix="edgernn-") as folder:
        ran = [_run_twice(board, path, Path(folder), steps) for steps in (STEPS, 2 * STEPS)]
    return ran[0][0], round((ran[1][1] - ran[0][1]) / STEPS)


def _run_twice(board: Board, path: Path, folder: Path, steps: int) -> tuple[str, int]:
    """The result that comes twice: where the system lays a program out by chance, its start differs a little."""
    seen: set[tuple[str, int]] = set()
    for _ in range(RUNS):
        ran = _run(board, path, folder, steps)
        if ran in seen:
            return ran
        seen.add(ran)
    raise TargetError(f"of {RUNS} runs no two took as many instructions", place=board.name)


def _run(board: Board, path: Path, folder: Path, steps: int) -> tuple[str, int]:
    """The instruction set, and the instructions of a whole run."""
    command = _command(board)
    counted = folder / f"{steps}.count"
    plugin = [*command, "-plugin", f"{build_counter(command[0])},to={counted}"]
    if board.emulator is not None and board.emulator.kind == "qemu-system":
        program = [*SEMIHOSTING, "-kernel", str(_microcontroller(board, path, folder, steps))]
    else:
        program = [str(build_runner(board) / "ernn_bench"), str(path), "--only-steps", str(steps)]
    said = run_json([*plugin, *program], board)
    try:
        return said["isa"], int(counted.read_text("ascii"))
    except (OSError, ValueError):
        raise TargetError(f"`{command[0]}` counted nothing", place=board.name) from None


def _command(board: Board) -> list[str]:
    """The emulator that counts a board's instructions."""
    if board.pace is not None and board.pace.counter:
        command = list(board.pace.counter)
        if shutil.which(command[0]) is None:
            hint = "Debian: apt install qemu-user"
            raise TargetError(f"`{command[0]}` is not installed", place=board.name, hint=hint)
        return command
    if board.emulator is None or not board.emulator.kind.startswith("qemu"):
        raise TargetError("no emulator counts its instructions", place=board.name)
    return emulator(board)


def build_counter(qemu: str) -> Path:
    """The plugin that counts, compiled once for a QEMU. Raises `MissingExtraError` without a C compiler."""
    if shutil.which("cc") is None:
        raise MissingExtraError("`cc` is not installed", place="counting instructions", hint=COMPILER_HINT)
    said = subprocess.run([qemu, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"version (\d+)", said)
    version = 2 if found is not None and int(found[1]) >= 9 else 1
    source = HERE / "count.c"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    plugin = cache_folder() / f"count-{version}-{digest}.so"
    if not plugin.is_file():
        plugin.parent.mkdir(parents=True, exist_ok=True)
        flags = ["-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"]
        with draft(plugin) as file:
            run_tool(["cc", *flags, f"-DPLUGIN_VERSION={version}", source, "-o", file], "counting instructions")
    return plugin


def _microcontroller(board: Board, path: Path, folder: Path, steps: int) -> Path:
    """A program that runs so many steps; all of a folder are one build, in which their number is another."""
    built, program = folder / "steps.elf", folder / f"{steps}.elf"
    if not built.is_file():
        write_c(path, folder / "model.c")
        sources = [folder / "model.c", folder / "edgernn.c", MCU / "steps.c", *DEBUGGED]
        link(board, sources, built, [folder, MCU])
    head, word, tail = built.read_bytes().partition(STEPS_WORD)
    if not word or STEPS_WORD in tail:
        raise TargetError("the word for the number of steps is not found once in its program", place=board.name)
    write_bytes(program, head + struct.pack("<I", steps) + tail)
    return program


def _fits(board: Board, size: int) -> str:
    """The smallest cache that holds `size` bytes, or where they lie."""
    caches = {"L1": board.memory.l1d, "L2": board.memory.l2, "L3": board.memory.l3}
    elsewhere = "flash" if board.memory.flash else "ram" if board.memory.ram else "unknown"
    return next((name for name, room in caches.items() if room is not None and size <= room), elsewhere)


def _times(board: Board, pace: Pace, instructions: int, size: int, fits: str) -> tuple[float | None, float | None]:
    """µs, at least and at most."""
    if board.clock_mhz is None:
        return None, None
    most, least = (instructions / (ipc * board.clock_mhz) for ipc in pace.ipc)
    if pace.memory_mb_s is None:
        return least, most
    read = size / pace.memory_mb_s  # bytes / (MB/s) are µs
    return max(least, read if fits == "ram" else 0), most + read / COLD_SHARE
