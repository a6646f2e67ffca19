"""Boards as data: one TOML file each in `boards/`, or wherever a user has one."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from edgernn.errors import TargetError

FOLDER = Path(__file__).parent / "boards"

# what may be claimed of a board, from the most to the least
EVIDENCE = {
    "measured": "ran on the real thing; the figures are in a report of this repository",
    "emulated": "ran here on an emulator or virtual machine of its CPU, bit for bit; no time was measured",
    "compiled": "the engine was compiled for it without a warning; nothing ran",
    "source-only": "the sources are said to fit; nothing was compiled",
}
EMULATORS = ("qemu-user", "qemu-system", "node")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """How the engine is compiled for a board by `zig cc`, and for microcontrollers by gcc."""

    target: str  # zig's triple
    processor: str  # CMAKE_SYSTEM_PROCESSOR, which chooses the instruction sets in the engine's CMakeLists.txt
    mcpu: str = ""  # "": the least CPU of the target
    wheel: str = ""  # the wheel's platform tag; "": no wheel
    gcc: tuple[str, ...] = ()  # flags of arm-none-eabi-gcc
    engine_bytes: int | None = None  # what `edgernn.c` takes of its flash, by that compiler with -O2


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """Where a microcontroller's program lies, and the serial line that it answers on (`edgernn targets firmware`)."""

    uart: str  # its driver: mcu/uart_NAME.c
    uart_at: int  # the address of its registers
    uart_hz: int  # the clock that it divides
    flash_at: int = 0
    ram_at: int = 0x20000000


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulator:
    """What runs the board's programs where the board is not."""

    kind: str
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes; None where the board has none or it isn't known. The last level of cache is shared by the cores."""

    l1d: int | None = None
    l2: int | None = None
    l3: int | None = None
    flash: int | None = None
    ram: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What an estimate of a step's time rests on (`edgernn bench --estimate`)."""

    ipc: tuple[float, ...]  # instructions per cycle: least and most
    memory_mb_s: int | None = None  # the most that its RAM can give; None: it has caches of nothing slower
    counter: tuple[str, ...] = ()  # the emulator that counts, where programs run without one


_TABLES = {"build": Build, "firmware": Firmware, "emulator": Emulator, "memory": Memory, "pace": Pace}


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One board, or one kind of machine."""

    name: str  # the file's
    title: str
    cpu: str
    evidence: str  # one of EVIDENCE
    isas: tuple[str, ...]  # the engine's instruction sets that it runs, best first
    clock_mhz: int | None = None  # the highest
    mca: str = ""  # llvm-mca's name of the CPU; "": it has no model
    measurements: str = ""  # the report with its figures
    note: str = ""
    build: Build | None = None
    firmware: Firmware | None = None
    emulator: Emulator | None = None
    memory: Memory = field(default_factory=Memory)
    pace: Pace | None = None

    @property
    def may_show_times(self) -> bool:
        """Whether times that a program printed on it are times of this board: an emulator's never are."""
        return self.evidence == "measured"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a board's file. Raises `TargetError` when it is missing or says something that can't be."""
        try:
            data = tomllib.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise TargetError(f"cannot be read as a board ({error})", place=str(path)) from None
        parts: dict[str, Any] = {**data, "name": path.stem}
        for key, kind in _TABLES.items():
            if key in parts:
                parts[key] = _made(kind, parts[key], f"{path}: [{key}]")
        board: Self = _made(cls, parts, str(path))
        board._check(str(path))
        return board

    def _check(self, place: str) -> None:
        wrong = ""
        if not _NAME.fullmatch(self.name):
            wrong = "a board's name has small letters, digits and single hyphens"
        elif self.evidence not in EVIDENCE:
            wrong = f"evidence is `{self.evidence}`, none of {', '.join(EVIDENCE)}"
        elif self.evidence == "measured" and not self.measurements:
            wrong = "what is measured names its report in `measurements`"
        elif self.evidence == "emulated" and self.emulator is None:
            wrong = "what is emulated has an [emulator]"
        elif self.evidence == "compiled" and self.build is None:
            wrong = "what is compiled has a [build]"
        elif self.emulator is not None and (self.emulator.kind not in EMULATORS or not self.emulator.command):
            wrong = f"an emulator's kind is one of {', '.join(EMULATORS)}, and it has a command"
        elif self.pace is not None and not (len(self.pace.ipc) == 2 and 0 < self.pace.ipc[0] <= self.pace.ipc[1]):
            wrong = "`ipc` is the least and the most instructions per cycle"
        elif not self.isas or self.isas[-1] != "scalar":
            wrong = "`isas` ends with `scalar`, which every CPU runs"
        if wrong:
            raise TargetError(wrong, place=place)


def _made(kind: type[Any], data: Any, place: str) -> Any:
    """An instance of one of the classes above; each value of the type that its field has."""
    if not isinstance(data, Mapping):
        raise TargetError("is no table", place=place)
    fields = kind.__dataclass_fields__
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    for key, value in values.items():
        if key not in fields:
            raise TargetError(f"`{key}` is nothing that a board has", place=place, hint=f"it has {', '.join(fields)}")
        if not _fits(fields[key].type, value):
            raise TargetError(f"`{key}` is {value!r}", place=place, hint=f"it should be: {fields[key].type}")
    try:
        return kind(**values)
    except TypeError as error:
        raise TargetError(f"misses something ({error})", place=place) from None


def _fits(annotation: str, value: Any) -> bool:
    if annotation == "tuple[str, ...]":
        return isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    if annotation == "tuple[float, ...]":
        return isinstance(value, tuple) and all(type(item) in (int, float) for item in value)
    if annotation == "str":
        return isinstance(value, str)
    if annotation == "int":
        return type(value) is int and value >= 0
    if annotation == "int | None":
        return type(value) is int and value > 0
    return True  # a table, which has been made already


def boards(folder: Path = FOLDER) -> list[Board]:
    """Every board of a folder, by name."""
    return [Board.read(path) for path in sorted(folder.glob("*.toml"), key=lambda path: path.stem)]


def find_board(name: str) -> Board:
    """A board by its name, or by the path of its file (`.toml`). Raises `TargetError` when there is none."""
    if name.endswith(".toml"):
        return Board.read(Path(name))
    path = FOLDER / f"{name}.toml"
    if not _NAME.fullmatch(name) or not path.is_file():
        known = [path.stem for path in sorted(FOLDER.glob("*.toml"))]
        near = difflib.get_close_matches(name, known, 1)
        hint = f"is it `{near[0]}`?" if near else f"there are {', '.join(known)}; or give a .toml file of your own"
        raise TargetError(f"no board is called `{name}`", hint=hint)
    return Board.read(path)
