"""The engine as a WebAssembly module."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from edgernn.errors import TargetError
from edgernn.targets.amalgamate import write_engine
from edgernn.targets.board import Board, Build, find_board
from edgernn.targets.build import ENGINE, HERE, kept, run_tool, zig

WASM = HERE / "wasm"
MODULE, WRAPPER = "edgernn.wasm", "edgernn.mjs"
FLAGS = (
    *("-std=c11", "-Os", "-fno-vectorize", "-fno-slp-vectorize", "-fno-unroll-loops"),  # the kernels have their vectors
    *("-fno-math-errno", "-fwrapv", "-fno-strict-aliasing", "-Wall", "-Wextra", "-Werror"),
)


def build_wasm(board: Board | None = None) -> Path:
    """The folder with `edgernn.wasm`, a module without imports, and its wrapper `edgernn.mjs`.

    Built once, as other builds are. Raises `TargetError` when the compiler fails, `MissingExtraError` without one.
    """
    build = (board or find_board("wasm")).build
    if build is None or not build.target.startswith("wasm32"):
        raise TargetError("is not built as WebAssembly", place=board.name if board else "")
    return kept("wasm", build, (ENGINE, WASM, HERE / "amalgamate.py"), lambda folder: _build(build, folder))


def _build(build: Build, folder: Path) -> None:
    folder.mkdir()
    names = sorted(set(re.findall(r"\bengine\.(ernn_\w+)", (WASM / WRAPPER).read_text("utf-8"))))
    exports = [f"-Wl,--export={name}" for name in (*names, "__heap_base")]
    linking = ["-nostdlib", "-Wl,--no-entry", "-Wl,--strip-all", *exports]
    with tempfile.TemporaryDirectory(prefix="edgernn-") as room:
        source = write_engine(Path(room))[1]
        compiler: list[str | Path] = [
            zig(),
            "cc",
            f"--target={build.target}",
            f"-mcpu={build.mcpu}",
            "-fno-sanitize=all",
        ]
        run_tool([*compiler, *FLAGS, source, *linking, "-o", folder / MODULE], f"building for {build.target}")
    shutil.copy(WASM / WRAPPER, folder / WRAPPER)
