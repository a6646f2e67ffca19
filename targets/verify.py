"""Whether a board's build of the engine gives this machine's bits on a recording."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgernn.errors import TargetError
from edgernn.runtime import Model, check_frames, load
from edgernn.targets.board import Board
from edgernn.targets.build import build_runner
from edgernn.targets.emulate import emulator
from edgernn.targets.mcu import build_hash_program, flash_bytes
from edgernn.targets.wasm import MODULE, WASM, build_wasm

Array = npt.NDArray[Any]
Frames = Mapping[str, Array]
SEMIHOSTING = ("-nographic", "-monitor", "none", "-serial", "none", "-semihosting-config", "enable=on,target=native")
SECONDS = 600  # of an emulator's run, until it counts as hung


@dataclass(frozen=True)
class Verification:
    """What ran for a board. `equal` is None where nothing can run here: the engine was compiled, no more."""

    board: str
    evidence: str
    ran: str  # the emulator's command, or "here"
    program_bytes: int
    sha256: str
    equal: bool | None


def verify(board: Board, path: Path, frames: Frames) -> Verification:
    """Stream frames through a model file (`.ernn`) on a board's emulator, and here.

    `frames` are `[frames, …frame]` by input, as the contract names them. The hashes are SHA-256 of all outputs, hop by
    hop, as `edgernn run --hash` prints. Raises `TargetError` when the program cannot be built or run.
    """
    model = load(path)
    frames = check_frames(model.spec.inputs, frames)
    kind = board.emulator.kind if board.emulator is not None else "native"
    with tempfile.TemporaryDirectory(prefix="edgernn-") as folder:
        ran = _RUNS[kind](board, path, model, frames, Path(folder))
    here = " ".join(emulator(board)) or "here"
    return Verification(
        board.name, board.evidence, here, ran.size, ran.sha256, ran.sha256 == output_hash(model, frames)
    )


def output_hash(model: Model, frames: Frames) -> str:
    """The SHA-256 of all outputs over `frames`, pushed hop by hop, on this machine."""
    stream, digest = model.stream(), hashlib.sha256()
    hop, length = model.spec.hop, max(len(array) for array in frames.values())

    def add(result: Any) -> None:
        for array in result.values() if isinstance(result, dict) else [result]:
            digest.update(np.ascontiguousarray(array).tobytes())

    for start in range(0, length, hop):
        add(stream.push({name: array[start : start + hop] for name, array in frames.items()}))
    add(stream.flush())
    return digest.hexdigest()


@dataclass(frozen=True)
class Ran:
    """A program's size, and the hash that it printed."""

    size: int
    sha256: str


def run_json(command: list[str], board: Board) -> dict[str, Any]:
    """The last line that a command prints, as JSON. Raises `TargetError` when it fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise TargetError(f"gave no answer within {SECONDS} s", place=board.name) from None
    lines = (done.stdout or done.stderr).splitlines()  # a microcontroller's debugger prints to the latter
    if done.returncode or not lines:
        talk = (done.stderr or done.stdout).strip()
        raise TargetError(f"its program ended with status {done.returncode}: {talk}", place=board.name)
    result: dict[str, Any] = json.loads(lines[-1])
    return result


def _linux(board: Board, path: Path, model: Model, frames: Frames, folder: Path) -> Ran:
    program = build_runner(board) / "ernn_run"
    command = [*emulator(board), str(program), str(path), "--format", "raw", "--hash"]
    for file in _raw_files(model, frames, folder):
        command += ["--input", file]
    return Ran(program.stat().st_size, run_json(command, board)["sha256"])


def _microcontroller(board: Board, path: Path, model: Model, frames: Frames, folder: Path) -> Ran:
    command = [*emulator(board), *SEMIHOSTING]
    program = build_hash_program(board, path, model, frames, folder)
    return Ran(flash_bytes(program), run_json([*command, "-kernel", str(program)], board)["sha256"])


def _wasm(board: Board, path: Path, model: Model, frames: Frames, folder: Path) -> Ran:
    built = build_wasm(board)
    command = [*emulator(board), str(WASM / "hash.mjs"), str(built), str(path)]
    size = (built / MODULE).stat().st_size
    return Ran(size, run_json([*command, *_raw_files(model, frames, folder)], board)["sha256"])


def _raw_files(model: Model, frames: Frames, folder: Path) -> list[str]:
    """A file of raw elements for each input, in the contract's order."""
    paths = [folder / f"{index}.raw" for index in range(len(model.spec.inputs))]
    for port, file in zip(model.spec.inputs, paths, strict=True):
        file.write_bytes(np.ascontiguousarray(frames[port.name]).tobytes())
    return [str(file) for file in paths]


_RUNS: dict[str, Callable[[Board, Path, Model, Frames, Path], Ran]] = {
    "native": _linux,
    "qemu-user": _linux,
    "qemu-system": _microcontroller,
    "node": _wasm,
}
