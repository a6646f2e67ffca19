"""A step on LiteRT: our hybrid files against litert-torch's dynamically quantized ones, and what a `Stream` adds.

    python benchmarks/litert_step.py PEERS     # of litert_torch_files.py; writes benchmarks/litert_step.md

One process, one thread, XNNPACK. Every round times each candidate for half a millisecond, one by one; a figure is the
least of 300 rounds, since whatever else the machine does only adds. `Invoke` is the runtime's call alone, on both sides
without copies and without carrying a state; `step` is what a caller in Python does, state carried: `Stream.step` here,
`set_tensor`, `invoke`, `get_tensor` there.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from torch import nn

import edgernn
from edgernn.commands.table import table
from edgernn.export import convert_model, export_model
from edgernn.runtime.bench import machine

HERE = Path(__file__).parent
CASES = [(kind, size) for kind in ("GRU", "LSTM", "RNN") for size in (128, 256, 512)]
ROUNDS, NS = 300, 500_000  # ns of one candidate in a round
SEED = 2

Call = Callable[[], object]


def interleaved(candidates: Mapping[str, Call], rounds: int = ROUNDS) -> dict[str, Any]:
    """µs of a call, `[rounds]`, for each candidate; all of them once a round."""
    counts = {}
    for name, call in candidates.items():
        began = time.perf_counter_ns()
        for _ in range(200):
            call()
        counts[name] = max(10, 200 * NS // max(1, time.perf_counter_ns() - began))
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, call in candidates.items():
            began = time.perf_counter_ns()
            for _ in range(counts[name]):
                call()
            times[name].append((time.perf_counter_ns() - began) / counts[name] / 1000)
    return {name: np.array(row) for name, row in times.items()}


def invoke_of(path: Path) -> Call:
    """The runtime's call alone, on uniform inputs in [-1, 1]."""
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    random = np.random.default_rng(SEED)
    for item in interpreter.get_input_details():
        interpreter.set_tensor(item["index"], random.uniform(-1, 1, item["shape"]).astype(item["dtype"]))
    call: Call = interpreter._interpreter.Invoke
    return call


def stream_of(path: Path) -> Call:
    """`Stream.step` into an array of the caller's."""
    stream, random = edgernn.load(path).stream(), np.random.default_rng(SEED)
    x = random.uniform(-1, 1, (stream.spec.hop, *stream.spec.inputs[0].frame)).astype(np.float32)
    out = stream.step(x)
    assert isinstance(out, np.ndarray)
    return lambda: stream.step(x, out)


def peer_step_of(path: Path) -> Call:
    """What a user of litert-torch's file writes: `args_0` is the frame, `args_i` comes back as `output_i`."""
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    given, made = runner.get_input_details(), runner.get_output_details()
    del runner  # `invoke` refuses while it is there
    frame = given.pop("args_0")["index"]
    carried = [(item["index"], made[name.replace("args", "output")]["index"]) for name, item in given.items()]
    y, x = made["output_0"]["index"], np.random.default_rng(SEED).uniform(-1, 1, (1, 1, 1)).astype(np.float32)
    x = np.broadcast_to(x, interpreter.get_input_details()[0]["shape"]).copy()
    states = [np.zeros(item["shape"], np.float32) for item in given.values()]

    def step() -> object:
        interpreter.set_tensor(frame, x)
        for (target, _), state in zip(carried, states, strict=True):
            interpreter.set_tensor(target, state)
        interpreter.invoke()
        states[:] = [interpreter.get_tensor(source) for _, source in carried]
        return interpreter.get_tensor(y)

    return step


def measured(kind: str, size: int, peers: Path) -> dict[str, Any]:
    """One case's row."""
    torch.manual_seed(size)
    layer = getattr(nn, kind)(size, size, batch_first=True).eval()
    with tempfile.TemporaryDirectory() as folder:
        source, hybrid, plain = (Path(folder) / name for name in ("m.onnx", "h.tflite", "f.tflite"))
        export_model(layer, torch.randn(1, 20, size), source)
        convert_model(source, hybrid, precision="hybrid8")
        convert_model(source, plain)
        theirs = peers / f"{kind}{size}.dynamic.tflite"
        found = interleaved(
            {
                "theirs": invoke_of(theirs),
                "ours": invoke_of(hybrid),
                "their step": peer_step_of(theirs),
                "step": stream_of(hybrid),
                "float": invoke_of(plain),
                "their float": invoke_of(peers / f"{kind}{size}.tflite"),
            }
        )
    low = {name: float(row.min()) for name, row in found.items()}
    return {
        "case": f"{kind} {size}",
        "litert-torch Invoke": round(low["theirs"], 2),
        "hybrid8 Invoke": round(low["ours"], 2),
        "ratio": round(low["ours"] / low["theirs"], 3),
        "litert-torch step": round(low["their step"], 2),
        "Stream.step": round(low["step"], 2),
        "Stream adds": round(low["step"] - low["ours"], 2),
        "float32 Invoke": round(low["float"], 2),
        "litert-torch float32": round(low["their float"], 2),
    }


def main() -> None:
    """Measure and write."""
    rows = []
    for kind, size in CASES:
        rows.append(measured(kind, size, Path(sys.argv[1])))
        print(rows[-1], flush=True)
    about = ", ".join(f"{key} {value}" for key, value in machine().items() if value is not None)
    lines = [
        f"Measured {date.today().isoformat()} by `python benchmarks/litert_step.py PEERS` on {about};",
        "ai-edge-litert 2.3.0 with XNNPACK, one thread; peers by litert-torch 0.10.0 and ai-edge-quantizer 0.10.0",
        "(`dynamic_wi8_afp32`). µs; input as wide as the hidden state; what each column is says litert_step.py.",
        "",
        table(rows, markdown=True),
    ]
    (HERE / "litert_step.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
