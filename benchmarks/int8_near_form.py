"""An int8 file in plain onnxruntime against its float file: time of a step, and how near it is to the exact integers.

    python benchmarks/int8_near_form.py     # writes benchmarks/int8_near_form.md

Steps of both files alternate in one process, one thread each. A round's time is the median of its steps; the table has
the quickest of the rounds, since what else runs on the machine only ever adds.
"""

from __future__ import annotations

import platform
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import edgernn
from edgernn.commands.table import table
from edgernn.export import export_model
from edgernn.quantize import quantize_model

HERE = Path(__file__).parent
ROUNDS, STEPS = 20, 50
SIZES = (128, 512, 1024)


def cpu() -> str:
    """The processor's name and whether it has VNNI."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    vnni = any("vnni" in line for line in lines if line.startswith("flags"))
    return f"{names[0] if names else platform.processor()} ({'with' if vnni else 'without'} VNNI)"


def _median(stream: edgernn.Stream, frame: npt.NDArray[np.float32]) -> float:
    times = np.empty(STEPS)
    for i in range(STEPS):
        began = time.perf_counter()
        stream.push(frame)
        times[i] = time.perf_counter() - began
    return float(1e6 * np.median(times))


def main() -> None:
    """Measure and write."""
    rows = []
    for kind in (nn.GRU, nn.LSTM):
        for size in SIZES:
            torch.manual_seed(size)
            random = np.random.default_rng(size)
            with tempfile.TemporaryDirectory() as folder:
                plain, small = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
                export_model(kind(size, size, batch_first=True).eval(), torch.randn(1, 20, size), plain)
                data = [random.standard_normal((1000, size)).astype(np.float32)]
                report = quantize_model(plain, data, small, rounding="plain").report
                streams = [edgernn.load(path).stream() for path in (plain, small)]
                frame = data[0][:1]
                rounds = [[_median(stream, frame) for stream in streams] for _ in range(ROUNDS)]
            plain_us, small_us = np.min(rounds, axis=0)
            row: dict[str, Any] = {"layer": f"{kind.__name__} {size}"}
            row |= {"float, µs": round(plain_us, 1), "int8, µs": round(small_us, 1)}
            row |= {
                "ratio": round(plain_us / small_us, 2),
                "SNR to the exact, dB": round(report.near_db["output"], 1),
            }
            print(row, file=sys.stderr, flush=True)
            rows.append(row)
    head = f"Measured {date.today().isoformat()} by `python benchmarks/int8_near_form.py`, onnxruntime, {cpu()}.\n"
    (HERE / "int8_near_form.md").write_text(f"{head}\n{table(rows, markdown=True)}\n")


if __name__ == "__main__":
    main()
