"""How exact int8 is: random layers and four trained long-memory networks, every way of rounding side by side.

    python benchmarks/int8_accuracy.py [--steps 100000]     # writes benchmarks/int8_accuracy.md

SNR is of the outputs against the float model in NumPy. The trained networks run freely for `--steps` frames on 8
independent streams of their own signal, after calibration on other ones; the random ones for 64 frames. `fine-tuned`
is training with the integers towards the float outputs; `onnxruntime` is its `quantize_dynamic` of the same network.
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
import onnx
import onnxruntime
import torch
from onnx import inliner
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn

from edgernn.commands.table import table
from edgernn.compare import difference
from edgernn.export import export_model, read_program
from edgernn.ops import QGRU, QLSTM, QRNN, QLinear
from edgernn.program import Program
from edgernn.quantize import qat
from edgernn.quantize.api import quantize_program
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
TUNING_STEPS, TUNING_FRAMES, TUNING_RATE = 150, 600, 5e-5


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
                note = ""
                if way == "onnxruntime":
                    found, note = onnxruntime_dynamic(long_memory.load(kind, name), x)
                else:
                    if way == "fine-tuned":
                        integer = fine_tuned(long_memory.load(kind, name), name)
                    else:
                        integer = quantize_program(program, list(calibration), WAYS[way]).program
                    found = outputs(integer, x, exact=True)
                    note = widths(integer)
                whole = difference(list(wanted), list(found))
                each = [difference([a], [b]) for a, b in zip(wanted, found, strict=True)]
                row = {
                    "network": f"{kind} {name}",
                    "way": way,
                    "SNR dB": round(whole.snr_db, 1),
                    "first tenth (median)": round(float(np.median([d.first_tenth_db for d in each])), 1),
                    "last tenth (median)": round(float(np.median([d.last_tenth_db for d in each])), 1),
                    "stuck": sum(d.stuck for d in each),
                    "note": note,
                }
                print(row, flush=True)
                rows.append(row)
    return rows


def fine_tuned(model: nn.Module, name: str) -> Program:
    """Training with the integers: towards the float model's outputs on the calibration's signal."""
    data = torch.from_numpy(long_memory.signal(name, *CALIBRATION, seed=101))
    torch.manual_seed(5)
    student = qat.prepare(model, [data])
    optimizer = torch.optim.Adam(student.parameters(), TUNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, TUNING_STEPS)
    random = np.random.default_rng(5)
    for _ in range(TUNING_STEPS):
        start = int(random.integers(0, data.shape[1] - TUNING_FRAMES))
        x = data[:, start : start + TUNING_FRAMES]
        with torch.no_grad():
            wanted = model(x)
        loss = (student(x) - wanted).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return student.program()


def onnxruntime_dynamic(model: nn.Module, x: Array) -> tuple[Array, str]:
    """Outputs of onnxruntime's dynamic quantization of the same network, and what it left of it."""
    with tempfile.TemporaryDirectory() as folder:
        exported, plain, small = (str(Path(folder) / f"{item}.onnx") for item in ("exported", "plain", "small"))
        export_model(model, torch.randn(1, 40, x.shape[-1]), exported)
        onnx.save(inliner.inline_local_functions(onnx.load(exported)), exported)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = plain
        onnxruntime.InferenceSession(exported, options, providers=["CPUExecutionProvider"])
        quantize_dynamic(plain, small, weight_type=QuantType.QInt8, per_channel=True)
        kinds = {node.op_type for node in onnx.load(small).graph.node}
        single = onnxruntime.SessionOptions()
        single.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(small, single, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]
    rows = np.empty((len(x), x.shape[1], long_memory.OUTPUTS), np.float32)
    for row, frames in zip(rows, x, strict=True):
        state = [np.zeros((1, long_memory.HIDDEN), np.float32) for _ in names[1:]]
        for t, frame in enumerate(frames):
            y, *state = session.run(None, dict(zip(names, [frame[None, None], *state], strict=True)))
            row[t] = y.reshape(-1)
    return rows, "the GRU is float" if "GRU" in kinds else ""


def widths(program: Program) -> str:
    """How many of the products with x, and with h, take int16."""
    layers = [op for op in program.ops if isinstance(op, (QGRU, QLSTM, QRNN, QLinear))]
    x = sum(program.values[op.x].dtype == "int16" for op in layers)
    h = sum(getattr(op, "h_dtype", "") == "int16" for op in layers)
    return f"int16: {x} of x, {h} of h"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--ways", default=",".join([*WAYS, "fine-tuned", "onnxruntime"]))
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
