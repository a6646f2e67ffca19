"""N streams of a model in one call against n single steps, interleaved.

    python benchmarks/streams.py [--quick] [NAME …]     # writes benchmarks/streams.md (all cases)

Networks are those of benchmarks/step.py, int8 and float32. Each round times n calls of `Stream.step`, then one of
`Streams.step`, both into arrays that are there, for several steps; the gain is the ratio of the least times. Before
anything is timed, both give the same bits. From Python, one thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
from step import CASES, HERE, cpu, files_of, ns

import edgernn

NAMES = ("GRU 64", "GRU 256", "GRU 1024", "keyword CRNN")
COUNTS = (1, 2, 4, 8, 16, 32, 64)
ROUNDS = 301
ROUND_NS = 3e5


def timed(call: Callable[[], None], calls: int) -> float:
    """ns of one of so many calls."""
    start = time.perf_counter_ns()
    for _ in range(calls):
        call()
    return (time.perf_counter_ns() - start) / calls


def gain(path: Path, count: int, rounds: int) -> tuple[float, float]:
    """ns of a joint step for each stream, and n single steps over it."""
    model = edgernn.load(path)
    together, single = model.streams(count), [model.stream() for _ in range(count)]
    x = np.random.default_rng(5).standard_normal((count, *together[0].x.shape)).astype(np.float32)
    out = np.zeros((count, *together[0].y.shape), np.float32)
    apart = np.zeros_like(out)
    rows = [(stream.step, x[row], apart[row]) for row, stream in enumerate(single)]

    def one_by_one() -> None:
        for step, frame, result in rows:
            step(frame, result)

    def joint() -> None:
        together.step(x, out)

    for _ in range(5):
        one_by_one()
        joint()
        if not np.array_equal(out, apart):
            raise SystemExit(f"{path}: {count} streams differ from single ones")
    calls = max(1, int(ROUND_NS / timed(joint, 3)))
    times = np.array([(timed(one_by_one, calls), timed(joint, calls)) for _ in range(rounds)])
    single_ns, joint_ns = times.min(axis=0)
    return float(joint_ns) / count, float(single_ns / joint_ns)


def main() -> None:
    """Measure, print, and write what was measured whole."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="NAME", help="cases, by a part of their names")
    parser.add_argument("--quick", action="store_true", help="few rounds")
    options = parser.parse_args()
    lines = [
        "| network | " + " | ".join(f"n = {count}" for count in COUNTS) + " |",
        "| --- |" + " --- |" * len(COUNTS),
    ]
    for case in (case for case in CASES if case.name in NAMES):
        if options.names and not any(name in case.name for name in options.names):
            continue
        files = files_of(case)
        for kind, path in (("int8", files.int8), ("float32", files.float32)):
            cells = []
            for count in COUNTS:
                each, ratio = gain(path, count, 61 if options.quick else ROUNDS)
                cells.append(f"**{ratio:.2f}** ({ns(each)})")
            lines.append(f"| {case.name} {kind} | " + " | ".join(cells) + " |")
            print(lines[-1], file=sys.stderr)
    isa = edgernn.load(files.int8).details["isa"]
    where = f"{date.today().isoformat()}, {cpu()}, instruction set `{isa}`"
    if not options.names:
        quick = " Preliminary: few rounds, on a machine that others used." if options.quick else ""
        text = "\n".join(lines)
        (HERE / "streams.md").write_text(f"{INTRODUCTION}\n\n{where}.{quick}\n\n{text}\n")


INTRODUCTION = """# N streams in one call

Written by `python benchmarks/streams.py`: n single steps from Python over one joint step of n streams, and in
brackets the joint step's time for each stream. Both give the same bits."""


if __name__ == "__main__":
    main()
