"""Builds the engine and its programs for a board: `zig cc`, offline, from the sources that are installed."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple
from pathlib import Path

import edgernn.runtime
from edgernn.errors import MissingExtraError, TargetError
from edgernn.targets.board import Board, Build

_log = logging.getLogger(__name__)
HERE = Path(__file__).parent
ENGINE = Path(edgernn.runtime.__file__).parent / "engine"
RUNNER = HERE / "runner"
_TELLING = re.compile(r"error[: ]|undefined|overflow", re.I)
HINT = "pip install 'edgernn[targets]'"


def build_runner(board: Board) -> Path:
    """The folder with `ernn_run` and `ernn_bench` for a board, static programs that need nothing of its system.

    Built once, and kept for as long as the sources and the compiler stay the same. The first build for a target
    compiles a C library: about a minute. Raises `TargetError` when the board has no build or the compiler fails, and
    `MissingExtraError` without a compiler.
    """
    build = board.build
    if build is None or "linux" not in build.target:
        raise TargetError("there are runners for Linux boards alone", place=board.name)
    return kept("runner", build, (RUNNER, ENGINE), lambda folder: _cmake(build, RUNNER, folder, "all"))


def build_engine(board: Board) -> Path:
    """The folder with the engine's static library for a board (`libernn.a`); as `build_runner`."""
    build = board.build
    if build is None:
        raise TargetError("nothing says how to build for it", place=board.name)
    return kept("engine", build, (ENGINE,), lambda folder: build_library(build, folder))


def build_library(build: Build, folder: Path) -> None:
    """Build the engine's static library in a folder."""
    _cmake(build, ENGINE, folder, "ernn_static")


def zig() -> Path:
    """The compiler's program. Raises `MissingExtraError` when `ziglang` is not installed."""
    found = importlib.util.find_spec("ziglang")
    if found is None or found.origin is None:
        raise MissingExtraError("`ziglang` is not installed", place="building for a board", hint=HINT)
    return Path(found.origin).with_name("zig.exe" if sys.platform == "win32" else "zig")


def run_tool(command: Sequence[str | Path], place: str) -> str:
    """What a compiler printed. Raises `TargetError` with the end of its talk when it fails."""
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    except OSError as error:
        raise MissingExtraError(f"`{command[0]}` cannot be run ({error.strerror})", place=place, hint=HINT) from None
    if done.returncode:
        talk = (done.stdout + done.stderr).strip().splitlines()
        wrong = [line for line in talk if _TELLING.search(line)] or talk
        raise TargetError(
            f"`{Path(command[0]).name}` failed with status {done.returncode}:\n" + "\n".join(wrong[:8]),
            place=place,
        )
    return done.stdout


def cache_folder() -> Path:
    """Where builds are kept: `EDGERNN_CACHE`, or `edgernn` in the user's cache folder."""
    chosen = os.environ.get("EDGERNN_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgernn"


def kept(kind: str, build: Build, sources: Sequence[Path], make: Callable[[Path], None]) -> Path:
    """The folder that `make(folder)` filled, now or earlier; it has its name only once it is whole."""
    digest = hashlib.sha256(repr((astuple(build), str(zig()))).encode())
    for path in _files(*sources, HERE / "zig.cmake"):
        digest.update(path.name.encode() + path.read_bytes())
    folder = cache_folder() / f"{kind}-{build.target}-{digest.hexdigest()[:16]}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    _log.info("building the %s for %s, once: a minute or so", kind, build.target)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=folder.parent) as room:
        made = Path(room) / "made"
        make(made)
        try:
            made.rename(folder)
        except OSError:  # another process was faster
            if not folder.is_dir():
                raise
    return folder


def _files(*paths: Path) -> Iterator[Path]:
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (item for item in inside if item.suffix in (".c", ".h", ".txt", ".cmake", ".def", ".mjs", ".py"))


def _cmake(build: Build, source: Path, folder: Path, target: str) -> None:
    cmake, ninja = _tool("cmake"), _tool("ninja")
    settings = {
        "CMAKE_TOOLCHAIN_FILE": HERE / "zig.cmake",
        "CMAKE_BUILD_TYPE": "Release",
        "ERNN_ZIG": zig(),
        "ERNN_ZIG_TARGET": build.target,
        "ERNN_ZIG_CPU": build.mcpu,
        "ERNN_PROCESSOR": build.processor,
        "ENGINE": ENGINE,
    }
    defines = [f"-D{key}={value}" for key, value in settings.items()]
    generator = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja else []
    place = f"building for {build.target}"
    run_tool([cmake or "cmake", "-S", source, "-B", folder, "--no-warn-unused-cli", *generator, *defines], place)
    run_tool([cmake or "cmake", "--build", folder, "--target", target, "--parallel", "2"], place)


def _tool(name: str) -> str | None:
    """A program beside this Python, or of the system."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
