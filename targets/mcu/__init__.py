"""Models on microcontrollers: built as C, to be run on an emulator or measured on the real thing."""

from __future__ import annotations

import shutil
import struct
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgernn.errors import TargetError
from edgernn.files import write_bytes
from edgernn.runtime import Model, load
from edgernn.targets.board import Board
from edgernn.targets.build import HERE, RUNNER, run_tool, zig
from edgernn.targets.c_export import byte_rows, write_c

MCU = HERE / "mcu"
DEBUGGED = (MCU / "start.c", MCU / "semihosting.c")  # what runs under an emulator, and speaks to it
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Werror")


def build_hash_program(
    board: Board,
    path: Path,
    model: Model,
    frames: Mapping[str, npt.NDArray[Any]],
    folder: Path,
    gcc: bool | None = None,
) -> Path:
    """A program for a board (`.elf`) that streams `frames` through a `.ernn` file and prints its outputs' hash.

    `frames` are `[frames, …frame]` by input; `gcc` is that of `link`. Everything it is made of is left in `folder`.
    Raises `TargetError` when the board's memory is too small or the compiler fails.
    """
    if len(model.spec.outputs) > 1:
        raise TargetError("models of one output are hashed on microcontrollers", place=board.name)
    write_c(path, folder / "model.c")
    write_bytes(folder / "frames.h", _frames_header(model, frames).encode())
    sources = [folder / "model.c", folder / "edgernn.c", MCU / "hash.c", *DEBUGGED, RUNNER / "sha256.c"]
    return link(board, sources, folder / "hash.elf", [folder, MCU, RUNNER], gcc)


def build_firmware(board: Board, path: Path, out: Path) -> None:
    """Write a program for a board (`out`, `.elf`) that measures a `.ernn` file when its serial line asks for it.

    `edgernn.targets.serial` asks. Raises `TargetError` when the board's file has no `[firmware]`, its memory is too
    small or the compiler fails.
    """
    firmware = board.firmware
    if firmware is None:
        raise TargetError("its file says of no serial line", place=board.name, hint="[firmware], docs/targets.md")
    driver = MCU / f"uart_{firmware.uart}.c"
    if not driver.is_file():
        raise TargetError(f"nothing drives a uart `{firmware.uart}`", place=board.name, hint=f"write {driver.name}")
    vectors = read_vectors(path)
    with tempfile.TemporaryDirectory(prefix="edgernn-") as room:
        folder = Path(room)
        write_c(path, folder / "model.c")
        numbers = {"UART_AT": firmware.uart_at, "UART_HZ": firmware.uart_hz}
        numbers |= {"VECTORS_SEED": vectors.seed, "VECTORS_STEPS": vectors.steps}
        text = "".join(f"#define {name} {number}u\n" for name, number in numbers.items())
        write_bytes(folder / "firmware.h", text.replace(f"{vectors.seed}u", f"{vectors.seed}ull").encode())
        sources = [folder / "model.c", folder / "edgernn.c", MCU / "bench.c", MCU / "cycles.c", MCU / "start.c", driver]
        program = link(board, sources, folder / "bench.elf", [folder, MCU])
        write_bytes(out, program.read_bytes())


@dataclass(frozen=True)
class Vectors:
    """What a `.ernn` file says of its first program's test vectors, and the file's fingerprint."""

    fingerprint: int
    steps: int
    seed: int
    hash: int


def read_vectors(path: Path) -> Vectors:
    """Read them: runtime/engine/FORMAT.md says where they are. Raises what loading a model raises."""
    model, data = load(path), path.read_bytes()
    if model.backend != "engine":
        raise TargetError("the engine alone runs on boards", place=str(path), hint="convert it to .ernn")
    (fingerprint,) = struct.unpack_from("<Q", data, 16)
    (program,) = struct.unpack_from("<Q", data, 72)  # section 0
    steps, seed, outputs = struct.unpack_from("<I12xQQ", data, program + 64)
    return Vectors(fingerprint, steps, seed, outputs)


def link(
    board: Board, sources: Sequence[Path], program: Path, headers: Sequence[Path], gcc: bool | None = None
) -> Path:
    """Compile C files for a microcontroller into a program that starts at reset.

    By `arm-none-eabi-gcc`, or by zig where that is not installed; `gcc` chooses. Raises `TargetError` when it
    does not fit into the board's memory, or the compiler fails.
    """
    build = board.build
    if build is None or not board.memory.flash or not board.memory.ram:
        raise TargetError("is no microcontroller: it names no flash and ram", place=board.name)
    script = program.with_suffix(".ld")
    text = (MCU / "link.ld").read_text("utf-8")
    sizes = {"FLASH_BYTES": board.memory.flash, "RAM_BYTES": board.memory.ram}
    places = {"FLASH_AT": 0, "RAM_AT": 0x20000000}  # of every emulated board
    if board.firmware is not None:
        places = {"FLASH_AT": board.firmware.flash_at, "RAM_AT": board.firmware.ram_at}
    for word, number in (sizes | places).items():
        text = text.replace(word, str(number))
    write_bytes(script, text.encode())
    if gcc is None:
        gcc = shutil.which("arm-none-eabi-gcc") is not None
    if gcc:
        compiler: list[str | Path] = ["arm-none-eabi-gcc", *build.gcc, "-mthumb", "-nostartfiles", "-Wl,-n"]
    else:
        cpu = [f"-mcpu={build.mcpu}"] if build.mcpu else []
        compiler = [
            zig(),
            "cc",
            f"--target={build.target}",
            *cpu,
            "-fno-sanitize=all",
            "-ffreestanding",
            "-nostdlib",
            "-Os",
        ]
    flags = [
        "-std=c11",
        *(["-O2"] if gcc else []),
        "-fno-math-errno",
        *WARNINGS,
        *(word for folder in headers for word in ("-I", folder)),
    ]
    libraries = ["-lc", "-lgcc"] if gcc else ["-lcompiler_rt"]
    place = f"building for {board.name}"
    run_tool([*compiler, *flags, *sources, *libraries, f"-Wl,-T,{script}", "-o", program], place)
    return program


def flash_bytes(program: Path) -> int:
    """What a program (`.elf` of 32 bits) has in flash: its segments' bytes in the file."""
    data = program.read_bytes()
    start, size, count = (
        struct.unpack_from("<I", data, 28)[0],
        *struct.unpack_from("<HH", data, 42),
    )
    headers = [struct.unpack_from("<8I", data, start + size * index) for index in range(count)]
    return sum(header[4] for header in headers if header[0] == 1)  # file size of what is loaded


def _frames_header(model: Model, frames: Mapping[str, npt.NDArray[Any]]) -> str:
    """Inputs as arrays of bytes, and the sizes that the program needs."""
    arrays = [np.ascontiguousarray(frames[port.name]) for port in model.spec.inputs]
    raw = [array.tobytes() for array in arrays]
    outputs = [np.dtype(port.dtype).itemsize * int(np.prod(port.shape)) for port in model.spec.outputs]
    lines = ["#include <stdint.h>", f"enum {{ INPUTS = {len(raw)}, OUTPUTS = {len(outputs)} }};"]
    lines += [f"enum {{ FRAMES = {len(arrays[0])}, OUTPUT_BYTES = {2 * max(outputs) + 64} }};"]
    for index, data in enumerate(raw):
        lines += [f"static const _Alignas(64) uint8_t input_{index}[] = {{", byte_rows(data) + "};"]
    names = ", ".join(f"input_{index}" for index in range(len(raw)))
    sizes = ", ".join(str(len(data) // max(1, len(arrays[0]))) for data in raw)
    lines += [
        f"static const uint8_t *const inputs[] = {{{names}}};",
        f"static const uint32_t input_frame[] = {{{sizes}}};",
    ]
    return "\n".join(lines) + "\n"
