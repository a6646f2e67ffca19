"""Markdown documents as programs: their code blocks in order, each run as what it is.

A block stands between fences with a language. A comment on the line above may say more: `<!-- not run: REASON -->`, or
`<!-- from PATH -->` for lines of a file that other tests compile and run. A block whose first line is a comment with a
file's name is saved under it. A `text` block is what the block before it prints, numbers aside; `…` leaves lines out.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from edgernn.cli import edgernn as command_line
from edgernn.errors import EdgeRNNError

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"(?:^<!-- ([^\n]*) -->\n)?^```(\w*)\n(.*?)^```$", re.M | re.S)
NAMED = re.compile(r"(?:#|//|/\*) ([\w.]+\.(?:py|c|cpp))\b")
NUMBER = re.compile(r"-?\d[\w.,+%-]*")
SHELL = re.compile(r"[|<>&;$`]")
BRIEF = {"bench": ["--steps", "100", "--seconds", "0.1"], "report": ["--steps", "100", "--seconds", "0.1"]}


@dataclass(frozen=True)
class Block:
    """One block: its language, its lines, what the comment above it says, and the line where it stands."""

    document: str
    line: int
    language: str
    text: str
    remark: str

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.document}:{self.line}"


def blocks(path: Path) -> Iterator[Block]:
    """All blocks of a document."""
    text = path.read_text("utf-8")
    found = list(FENCE.finditer(text))
    assert len(re.findall(r"^```", text, re.M)) == 2 * len(found), f"{path.name} has a fence that is never closed"
    for item in found:
        line = text.count("\n", 0, item.start(2)) + 1
        yield Block(path.relative_to(ROOT).as_posix(), line, item[2], item[3], item[1] or "")


@dataclass
class Session:
    """Runs the blocks of one document in a folder of its own. Python blocks share one namespace."""

    folder: Path
    engine: Path  # a folder with the engine's static library
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "document"})
    printed: str = ""

    def run(self, block: Block) -> None:
        """Run one block, or check it as far as it can be run here. Raises `AssertionError` with its place."""
        if block.remark.startswith("not run: "):
            return
        if block.remark.startswith("from "):
            source = (ROOT / block.remark.removeprefix("from ")).read_text("utf-8")
            assert _lines(block.text) in _lines(source), f"{block.place} is not in that file"
            return
        assert not block.remark, f"{block.place}: `{block.remark}` says nothing that this knows"
        run = getattr(self, f"_run_{block.language}", None)
        assert run is not None, f"{block.place}: nothing runs `{block.language}`; say why with <!-- not run: … -->"
        named = NAMED.match(block.text)
        if named:
            (self.folder / named[1]).write_text(block.text, "utf-8")
        try:
            run(block)
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(f"{block.place}: {type(error).__name__}: {error}") from error

    def _run_python(self, block: Block) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as output:
            exec(compile(block.text, block.place, "exec"), self.names)
        self.printed = output.getvalue()

    def _run_sh(self, block: Block) -> None:
        self.printed = ""
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if not words:
                continue
            target = words[-1] if words[-2:-1] == [">"] else None
            words = words if target is None else words[:-2]
            if words[0] != "edgernn" or SHELL.search("".join(words)):
                self.printed += self._shell(line, block)
                continue
            result = self._command(words[1:], block)
            if target is None:
                self.printed += result.output
            else:
                Path(target).write_text(result.stdout, "utf-8")

    def _command(self, words: list[str], block: Block) -> Result:
        """In this process, which has torch already. What measures measures briefly."""
        result = CliRunner().invoke(command_line, [*words, *BRIEF.get(words[0], [])])
        said = f"\n{result.exception}" if isinstance(result.exception, EdgeRNNError) else ""
        assert result.exit_code == 0, f"{block.place}: edgernn {shlex.join(words)}\n{result.output}{said}"
        return result

    def _shell(self, line: str, block: Block) -> str:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        command = ["bash", "-o", "pipefail", "-ec", line]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path})
        assert done.returncode == 0, f"{block.place}: {line}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def _run_text(self, block: Block) -> None:
        """Every line of it was printed."""
        seen = {_alike(line) for line in self.printed.splitlines()}
        for line in block.text.splitlines():
            assert line in ("", "…") or _alike(line) in seen, f"{block.place}: not printed: {line}\n\n{self.printed}"

    def _run_c(self, block: Block) -> None:
        self._compiled(block, "cc", "c", "-std=c11")

    def _run_cpp(self, block: Block) -> None:
        self._compiled(block, "c++", "c++", "-std=c++17")

    def _compiled(self, block: Block, compiler: str, language: str, standard: str) -> None:
        """A whole program is run with the folder's `frames.f32` as its input; other code is compiled alone."""
        whole = "int main(" in block.text
        own = [path.with_suffix(".c") for path in map(Path, re.findall(r'#include "(\w+\.h)"', block.text))]
        models = [str(path) for path in own if path.exists() and path.name != "edgernn.c"]
        command = [compiler, standard, "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'runtime/engine/include'}", "-I."]
        command += ["-x", language, "-", *(["-x", "c", *models, "-x", "none"] if whole else ["-c"])]
        command += [str(self.engine / "libernn.a"), "-o", "block"] if whole else ["-o", "block.o"]
        done = subprocess.run(command, input=block.text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block.place}:\n{done.stderr}"
        if whole:
            with open("frames.f32", "rb") as frames:
                ran = subprocess.run(["./block"], stdin=frames, capture_output=True, text=True, check=False, timeout=60)
            assert ran.returncode == 0, f"{block.place}: exit {ran.returncode}\n{ran.stdout}{ran.stderr}"
            self.printed = ran.stdout


def _lines(text: str) -> str:
    """Lines without what indents them, comments at their ends, and blank ones."""
    bare = (re.sub(r"\s*(//.*|/\*.*\*/)$", "", line).strip() for line in text.splitlines())
    return "\n".join(line for line in bare if line)


def _alike(line: str) -> str:
    """A line with its numbers left out, and its columns where they may."""
    return " ".join(NUMBER.sub("#", line).split())
