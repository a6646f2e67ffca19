"""How exact int8 is: random layers and four trained long-memory networks, every way of rounding side by side.

    python benchmarks/int8_accuracy.py [--steps 100000]     # writes benchmarks/int8_accuracy.md

SNR is of the outputs against the float model in NumPy. The trained networks run freely for `--steps` frames on 8
independent streams of their own signal, after calibration on other ones; the random ones for 64 frames. `onnxruntime`
is `quantize_dynamic` of the same weights as an ONNX `LSTM` (it has nothing for GRU).
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgernn.commands.table import table
from edgernn.export import export_model, read_program
from edgernn.program import Program
from edgernn.quantize.api import quantize_program
from edgernn.quantize.compare import difference
from edgernn.quantize.convert import Options
from edgernn.quantize.reference import evaluate
from edgernn.quantize.rounding import Rounding
from edgernn.quantize.whole import run_whole

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "golden" / "long_memory"))

import train as long_memory  # noqa: E402

Array = npt.NDArray[Any]
STREAMS, CALIBRATION = 8, (8, 4000)
WAYS = {
    "plain": Options(Rounding(compensated=False)),
    "compensated": Options(),
    "auto": Options(activation_type="auto"),
    "int16": Options(activation_type="int16"),
    "int4 plain": Options(Rounding(compensated=False, weight_type="int4")),
    "int4": Options(Rounding(weight_type="int4")),
}


def program_of(module: nn.Module, features: int, frames: int = 40) -> Program:
    """The float program of a module."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_model(module.eval(), torch.randn(1, frames, features), path)
        return read_program(path)


def outputs(program: Program, x: Array, exact: bool) -> Array:
    """The first output over `[streams, frames, features]`."""
    port, name = program.spec.inputs[0], program.spec.outputs[0].name
    values = run_whole(program, {port.name: x}, evaluate) if exact else run_whole(program, {port.name: x})
    return values[name].reshape(len(x), x.shape[1], -1)


def random_layers() -> list[dict[str, Any]]:
    """PyTorch's initial weights; input normal, or uniform in [-1, 1]."""
    rows = []
    for kind in (nn.GRU, nn.LSTM):
        for size in (128, 512):
            torch.manual_seed(size)
            program = program_of(kind(size, size, batch_first=True), size)
            for signal in ("normal", "uniform"):
                random = np.random.default_rng(size)
                calibration, x = (_noise(random, signal, (1, n, size)) for n in (4000, 64))
                wanted = outputs(program, x, exact=False)
                row: dict[str, Any] = {"layer": f"{kind.__name__} {size}", "input": signal}
                for name in ("plain", "compensated", "auto"):
                    converted = quantize_program(program, list(calibration), WAYS[name])
                    found = outputs(converted.program, x, exact=True)
                    row[name] = round(difference(list(wanted), list(found)).snr_db, 1)
                print(row, flush=True)
                rows.append(row)
    return rows


def _noise(random: np.random.Generator, signal: str, shape: tuple[int, ...]) -> Array:
    noise = random.standard_normal(shape) if signal == "normal" else random.uniform(-1, 1, shape)
    return noise.astype(np.float32)


def trained_networks(steps: int, ways: list[str]) -> list[dict[str, Any]]:
    """The long-memory networks, running freely."""
    rows = []
    for kind in long_memory.KINDS:
        for name in long_memory.SIGNALS:
            program = program_of(long_memory.load(kind, name), long_memory.FEATURES)
            calibration = long_memory.signal(name, *CALIBRATION, seed=101)
            x = long_memory.signal(name, STREAMS, steps, seed=202)
            wanted = outputs(program, x, exact=False)
            for way in ways:
                converted = quantize_program(program, list(calibration), WAYS[way])
                found = outputs(converted.program, x, exact=True)
                whole = difference(list(wanted), list(found))
                each = [difference([a], [b]) for a, b in zip(wanted, found, strict=True)]
                row = {
                    "network": f"{kind} {name}",
                    "way": way,
                    "SNR dB": round(whole.snr_db, 1),
                    "first tenth (median)": round(float(np.median([d.first_tenth_db for d in each])), 1),
                    "last tenth (median)": round(float(np.median([d.last_tenth_db for d in each])), 1),
                    "stuck": sum(d.stuck for d in each),
                    "int16 layers": sum("int16" in op for op in wide_layers(converted.program)),
                }
                print(row, flush=True)
                rows.append(row)
    return rows


def wide_layers(program: Program) -> list[str]:
    """Element types of what enters each weighted operation."""
    names = [getattr(op, "x", "") for op in program.ops if type(op).__name__ in ("QGRU", "QLSTM", "QLinear")]
    return [program.values[name].dtype for name in names]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--only", choices=("random", "trained"))
    parser.add_argument("--no-write", action="store_true")
    options = parser.parse_args()
    random = random_layers() if options.only != "trained" else []
    trained = trained_networks(options.steps, options.ways.split(",")) if options.only != "random" else []
    if options.no_write:
        return
    lines = [
        f"Measured {date.today().isoformat()} by `python benchmarks/int8_accuracy.py --steps {options.steps}`,",
        f"NumPy {np.__version__}, PyTorch {torch.__version__}, {platform.machine()}.",
        "",
        "Random layers, 64 frames, SNR of the outputs in dB:",
        "",
        table(random, markdown=True),
        "",
        f"Trained long-memory networks, {options.steps} free-running steps on {STREAMS} streams:",
        "",
        table(trained, markdown=True),
    ]
    (HERE / "int8_accuracy.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
