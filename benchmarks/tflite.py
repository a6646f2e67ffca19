"""TFLite files in every precision on every runtime: accuracy against PyTorch, size, time of a step.

    python benchmarks/tflite.py [--old PYTHON] [--peers FOLDER]     # writes benchmarks/tflite.md

The networks are those of tests/golden: three of 128 units that predict speech, and the keyword spotter. They stream
speech that they were not trained on; int8 forms are calibrated on training speech. `--old` is the Python of an
environment with tflite-runtime 2.14 and NumPy 1; PEERS is what litert_torch_files.py wrote.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter

import edgernn
from edgernn.commands.table import table
from edgernn.compare import snr_db
from edgernn.export import convert_model, export_model
from edgernn.quantize import quantize_model
from edgernn.runtime.bench import machine

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT), str(ROOT / "tests" / "golden" / "next_frame")]

import int8_keyword  # noqa: E402
import tflite_measure  # noqa: E402
import train as next_frame  # noqa: E402

from examples import keyword_spotting as keyword  # noqa: E402

FRAMES, CALIBRATION = 4000, 6000
FORMS: dict[str, tuple[str, dict[str, Any]]] = {  # source, options of the conversion
    "float32": ("float", {"precision": "float32"}),
    "hybrid8": ("float", {"precision": "hybrid8"}),
    "hybrid8 per-channel": ("float", {"precision": "hybrid8", "per_channel": True}),
    "int8": ("int8", {"precision": "int8"}),
    "int16x8": ("int8", {"precision": "int16x8"}),
    "int8, inputs int16 (auto)": ("auto", {"precision": "int8"}),
}
BACKENDS = ("litert", "litert-plain")


def written(folder: Path, source: Path, calibration: list[Any], kinds: tuple[str, ...] = ("int8", "auto")) -> Any:
    """The file of each form; `kinds` are the activation types to quantize with."""
    sources = {"float": source, **{kind: folder / f"{kind}.onnx" for kind in kinds}}
    for kind in kinds:
        quantize_model(source, calibration, sources[kind], activation_type=kind)
    files: dict[str, Path] = {}
    for number, (form, (kind, options)) in enumerate(FORMS.items()):
        if kind not in sources:
            continue
        files[form] = folder / f"{number}.tflite"
        convert_model(sources[kind], files[form], **options)
    return files


def on_old(python: str, x: dict[str, Any], files: list[Path], folder: Path) -> dict[str, Any]:
    """What tflite_measure.py gives in another environment."""
    np.savez(folder / "x.npz", **x)
    command = [python, str(HERE / "tflite_measure.py"), "tflite-runtime", folder / "x.npz", folder / "y.npz", *files]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "build" / "links")}
    subprocess.run(command, check=True, env=environment)
    return dict(np.load(folder / "y.npz"))


def rows_of(name: str, files: dict[str, Path], x: Any, wanted: Any, old: str | None, folder: Path) -> list[Any]:
    """A row for each precision and runtime."""
    given = {edgernn.load(files["float32"]).spec.inputs[0].name: x}
    runs = {backend: tflite_measure.measure(backend, given, list(files.values())) for backend in BACKENDS}
    if old is not None:
        runs["tflite-runtime 2.14"] = on_old(old, given, list(files.values()), folder)
    rows = []
    for form, path in files.items():
        for runtime, found in runs.items():
            if f"{path.name}/us" not in found:
                rows.append({"network": name, "precision": form, "runtime": runtime, "SNR dB": "refused"})
                continue
            output = found[f"{path.name}/output"]
            row: dict[str, Any] = {"network": name, "precision": form, "runtime": runtime}
            row |= {"SNR dB": round(snr_db(wanted, output), 1), "bytes": path.stat().st_size}
            rows.append({**row, "p50 µs": round(float(found[f"{path.name}/us"]), 2)})
    print(table(_filled(rows)), flush=True)
    return rows


def _filled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A refused file has no size and no time."""
    return [{**row, "bytes": row.get("bytes"), "p50 µs": row.get("p50 µs")} for row in rows]


def trained(kind: str, old: str | None) -> list[Any]:
    """One of the networks that predict speech."""
    module, x = next_frame.load(kind), next_frame.speech(test=True, seed=3)[:FRAMES]
    with torch.no_grad():
        wanted = module(torch.from_numpy(x)[None])[0].numpy()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export_model(module, torch.randn(1, 40, next_frame.FEATURES), folder / "float.onnx")
        files = written(folder, folder / "float.onnx", [next_frame.speech(test=False, seed=5)[:CALIBRATION]])
        return rows_of(f"{kind.upper()} 128", files, x, wanted, old, folder)


def spotter(old: str | None) -> tuple[list[Any], list[Any]]:
    """The keyword spotter's rows, and how often each precision names the digit."""
    module = int8_keyword.spotter(ROOT / "tests" / "golden" / "keyword" / "digits.pt")
    clips = keyword.load_clips(None)
    test = clips.take(clips.is_test)
    x = np.concatenate([int8_keyword.whole_hops(audio) for audio, _ in test[:8]])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export_model(module, torch.zeros(1, keyword.RATE), folder / "float.onnx", rate_hz=keyword.RATE)
        files = written(folder, folder / "float.onnx", int8_keyword.calibration(clips, 100), ("int8",))
        with torch.no_grad():
            wanted = module(torch.from_numpy(x)[None])[0].numpy()
        rows = rows_of("keyword spotter", files, x, wanted, old, folder)
        decisions = {form: [_digit(path, audio) for audio, _ in test] for form, path in files.items()}
    truth = np.array([digit for _, digit in test])
    right = {form: float(np.mean(np.array(found) == truth)) for form, found in decisions.items()}
    named = [
        {
            "precision": form,
            "digits named": f"{right[form]:.1%}",
            "points from float32": round(100 * (right[form] - right["float32"]), 2),
            "as float32": f"{np.mean(np.array(found) == np.array(decisions['float32'])):.1%}",
        }
        for form, found in decisions.items()
    ]
    print(table(named), flush=True)
    return rows, [len(test), clips.name, named]


_MODELS: dict[Path, edgernn.Model] = {}


def _digit(path: Path, audio: Any) -> int:
    if path not in _MODELS:
        _MODELS[path] = edgernn.load(path)
    return keyword.decide(_MODELS[path](keyword.with_tail(audio)))


def peer_rows(kind: str, folder: Path) -> list[Any]:
    """litert-torch's files of the same network, streamed by hand."""
    module, x = next_frame.load(kind), next_frame.speech(test=True, seed=3)[:FRAMES]
    with torch.no_grad():
        wanted = module(torch.from_numpy(x)[None])[0].numpy()
    rows = []
    for form, name in (("float32", kind), ("dynamic", f"{kind}.dynamic"), ("static int8", f"{kind}.static")):
        path = folder / f"{name}.tflite"
        if path.exists():
            figure, size = round(snr_db(wanted, _streamed(path, x)), 1), path.stat().st_size
            rows.append({"network": f"{kind.upper()} 128", "precision": form, "SNR dB": figure, "bytes": size})
    return rows


def _streamed(path: Path, x: Any) -> Any:
    """Outputs over all frames; int8 ports are quantized and dequantized with the file's own scales."""
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    given, made = runner.get_input_details(), runner.get_output_details()
    del runner  # `invoke` refuses while it is there
    pairs = [(given[name], made[name.replace("args", "output")]) for name in sorted(given)]  # args_0 is the frame
    values = [np.zeros(item["shape"], np.float32) for item, _ in pairs]
    rows = []
    for frame in x:
        values[0] = frame[None, None]
        for (item, _), value in zip(pairs, values, strict=True):
            interpreter.set_tensor(item["index"], _coded(value, item))
        interpreter.invoke()
        values = [_real(interpreter.get_tensor(item["index"]), item) for _, item in pairs]
        rows.append(values[0].reshape(-1))
    return np.stack(rows)


def _coded(x: Any, item: dict[str, Any]) -> Any:
    if item["dtype"] is np.float32:
        return x
    scale, zero = item["quantization"]
    return np.clip(np.rint(x / scale) + zero, -128, 127).astype(item["dtype"])


def _real(q: Any, item: dict[str, Any]) -> Any:
    if item["dtype"] is np.float32:
        return q
    scale, zero = item["quantization"]
    return (q.astype(np.float32) - zero) * scale


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--old", help="Python of an environment with tflite-runtime 2.14 and NumPy 1")
    parser.add_argument("--peers", type=Path, help="the folder that litert_torch_files.py wrote")
    options = parser.parse_args()
    rows = [row for kind in next_frame.KINDS for row in trained(kind, options.old)]
    more, (count, source, named) = spotter(options.old)
    peers = (
        [] if options.peers is None else [row for kind in next_frame.KINDS for row in peer_rows(kind, options.peers)]
    )
    print(table(peers), flush=True)
    about = ", ".join(f"{key} {value}" for key, value in machine().items() if value is not None)
    lines = [
        f"Measured {date.today().isoformat()} by `python benchmarks/tflite.py --old … --peers …` on {about};",
        "ai-edge-litert 2.3.0 (`litert` with XNNPACK, `litert-plain` without), tflite-runtime 2.14.0, one thread.",
        "",
        f"SNR of the outputs against PyTorch's float network, streamed over {FRAMES} frames; p50 of a step in Python,",
        "the state carried. `refused`: a per-channel file on a runtime that would compute it wrongly.",
        "",
        table(_filled([*rows, *more]), markdown=True),
        "",
        f"The keyword spotter on {count} held-back clips (`{source}`), on LiteRT:",
        "",
        table(named, markdown=True),
        "",
        "The same networks by litert-torch 0.10.0 and ai-edge-quantizer 0.10.0, streamed in the same way on LiteRT:",
        "",
        table(peers, markdown=True),
    ]
    (HERE / "tflite.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
