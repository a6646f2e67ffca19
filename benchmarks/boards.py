"""Writes boards.md: what holds of the keyword model on every board, and how far an estimate is from a real time.

    python benchmarks/boards.py CLIP.wav

The real time is this machine's. Its clock is taken as `--clock-mhz`, or measured by a chain of multiplications.
"""

from __future__ import annotations

import argparse
import datetime
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgernn.commands.table import table
from edgernn.errors import EdgeRNNError
from edgernn.export import read_program
from edgernn.export.to_ernn import pack
from edgernn.runtime import load, read_recording
from edgernn.targets import Board, boards, find_board
from edgernn.targets.build import build_engine, build_runner
from edgernn.targets.estimate import estimate
from edgernn.targets.verify import run_json, verify

KEYWORD = Path(__file__).parent.parent / "tests" / "golden" / "keyword" / "digits.int8.onnx"
CHAIN = """
#include <stdint.h>
#include <stdio.h>
#include <time.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec * 1e-9; }
int main(void) {
  double best = 1e9;
  for (int run = 0; run < 2000; run++) {
    uint64_t x = 3;
    const double began = now();
    for (int i = 0; i < 100000; i++) __asm__ volatile("imul %0, %0" : "+r"(x)); /* three cycles each */
    const double took = now() - began;
    if (took < best) best = took;
  }
  printf("{\\"mhz\\": %.0f}\\n", 3 * 0.1 / best);
}
"""


def row(board: Board, path: Path, clip: Path) -> dict[str, Any]:
    """A board's line."""
    line: dict[str, Any] = dict.fromkeys(("board", "built", "ran", "bits", "bytes", "instructions", "time"), "")
    line["board"] = board.name
    if board.evidence == "compiled":
        build_engine(board)
        return line | {"built": "the engine", "ran": "nothing", "time": "none"}
    done = verify(board, path, read_recording(clip, load(path).spec))
    line |= {"built": "yes", "ran": done.ran, "bits": "equal" if done.equal else "OTHER", "bytes": done.program_bytes}
    if board.pace is None:
        return line | {"time": "none"}
    counted = estimate(board, path)
    return line | {"instructions": counted.instructions, "time": counted.range}


def clock_mhz() -> int:
    """This machine's clock (x86), by multiplications that wait for one another."""
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "chain.c", Path(folder) / "chain"
        source.write_text(CHAIN)
        subprocess.run(["cc", "-O2", str(source), "-o", str(program)], check=True)
        return int(run_json([str(program)], find_board("x86-64"))["mhz"])


def against_the_clock(path: Path, mhz: int) -> str:
    """A sentence on what this machine really takes for a step, and what an estimate says."""
    board = replace(find_board("x86-64"), clock_mhz=mhz)
    said = estimate(board, path)
    assert said.least_us is not None
    assert said.most_us is not None
    program = build_runner(board) / "ernn_bench"
    report = run_json([str(program), str(path), "--steps", "20000", "--seconds", "0.2", "--isa", said.isa], board)
    real = report["rows"][0]["p50_us"]
    middle = (said.least_us * said.most_us) ** 0.5
    where = "inside" if said.least_us <= real <= said.most_us else "OUTSIDE"
    return (
        f"x86-64, {report['machine']['cpu']} at {mhz} MHz: {said.instructions:,} instructions a step on {said.isa}; "
        f"{said.range}; measured {real:.3g} µs (p50 back-to-back), which is {where} the range, "
        f"{said.instructions / (real * mhz):.2f} instructions a cycle, {real / middle:.2f} times the range's middle "
        f"(geometric)."
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clip", type=Path, help="a wav of 8 kHz")
    parser.add_argument("--clock-mhz", type=int, help="this machine's clock  [default: measured]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.ernn"
        path.write_bytes(pack(read_program(KEYWORD)))
        rows = []
        for board in boards():
            try:
                rows.append(row(board, path, options.clip))
            except EdgeRNNError as error:
                raise SystemExit(f"{board.name}: {error}") from None
            print(rows[-1], flush=True)
        checked = against_the_clock(path, options.clock_mhz or clock_mhz())
    text = f"""# The keyword model on every board

Written by `python benchmarks/boards.py CLIP.wav` on {datetime.date.today()}. Bits: the outputs' hash is that of x86.
Bytes: the program with the engine, of microcontrollers with the model and the clip. Instructions of a step are
counted by the emulator, the same each time. Times are estimates that nobody has measured: docs/targets.md says how.

{table(rows, markdown=True)}

What the range is worth, where there is a clock: {checked}
"""
    Path(__file__).with_suffix(".md").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
