"""One streaming step: the engine, its peers, and the least that its weights and products cost, interleaved.

    python benchmarks/step.py [--quick] [NAME …]     # writes benchmarks/step.md (all cases)
    ERNN_ISA=avx2 python benchmarks/step.py          # the engine as on a lesser CPU: benchmarks/step_avx2.md

Networks are random, of the shapes in CASES; int8 files are quantized on noise. Before anything is timed, the engine's
output is compared with the reference's integers, and each peer's with PyTorch's float network. Every round times each
candidate once for a batch of steps, one after the other; figures are medians over the rounds, ratios medians of the
rounds' ratios. `limit` is the fastest loop of products of the network's shapes alone, with the instructions that the
engine uses; `read` reads the int8 weights once, `read f32` as many floats. One thread.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import edgernn
from edgernn.export import convert_model, export_model
from edgernn.quantize import quantize_model

HERE = Path(__file__).parent
BUILD = HERE.parent / "build" / "bench"
ROUNDS = 25
SAMPLES = {"isolated": 400, "paced": 100, "cold": 60, "prefetched": 60}
HOP_NS = 10_000_000
SWEEP = 8 << 20  # bytes: what leaves the core's own caches and stays in the shared one
FILES = ("float.onnx", "int8.onnx", "int8.ernn", "float.ernn", "hybrid8.tflite")
GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}
HOW = {"isolated": 0, "paced": 1, "cold": 2, "prefetched": 3}


class Spotter(nn.Module):
    """The keyword CRNN of the design: convolution, two GRUs, a dense layer on every frame."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(40, 64, 5)
        self.gru = nn.GRU(64, 128, 2, batch_first=True)
        self.dense = nn.Linear(128, 12)

    def forward(self, x: Tensor) -> Tensor:
        padded = nn.functional.pad(x.transpose(1, 2), (4, 0))
        y, _ = self.gru(torch.relu(self.conv(padded)).transpose(1, 2))
        return torch.as_tensor(self.dense(y))


class First(nn.Module):
    """What a recurrent layer returns, without its states."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.layer(x)[0])


@dataclass(frozen=True)
class Case:
    """A network: what makes it, its input's features, and its products as (outputs of one gate, gates, inputs)."""

    name: str
    make: Callable[[], nn.Module]
    features: int
    products: tuple[tuple[int, int, int], ...]
    activations: str = "int8"


def _layers(kind: str, size: int, count: int = 1) -> Case:
    products = tuple((size, GATES[kind], size) for _ in range(2 * count))
    name = f"{kind} {size}" + (f" x{count}" if count > 1 else "")
    return Case(name, lambda: First(getattr(nn, kind)(size, size, count, batch_first=True)), size, products)


CASES = (
    *(_layers(kind, size) for kind in GATES for size in (32, 64, 128, 256, 512, 1024)),
    *(_layers(kind, 256, 2) for kind in GATES),
    Case("keyword CRNN", Spotter, 40, ((64, 1, 200), (128, 3, 64), *[(128, 3, 128)] * 3, (12, 1, 128))),
)
QUICK = ("GRU 32", "GRU 128", "LSTM 32", "LSTM 128", "RNN 128", "keyword CRNN")


class Shape(ctypes.Structure):
    """A product in panels of 16 rows and groups of 4 columns."""

    _fields_ = (("panels", ctypes.c_uint32), ("gates", ctypes.c_uint32), ("quads", ctypes.c_uint32))


class Options(ctypes.Structure):
    """`ernn_options`."""

    _fields_ = (("isa", ctypes.c_char_p), ("exact", ctypes.c_int))


def library() -> ctypes.CDLL:
    """The engine and benchmarks/native/limits.c, built here."""
    folder = BUILD / "native"
    subprocess.run(["cmake", "-S", str(HERE / "native"), "-B", str(folder)], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", str(folder), "--target", "step"], check=True, capture_output=True)
    found = ctypes.CDLL(str(folder / "libstep.so"))
    pointer, size, word, double = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32, ctypes.c_double
    for name, result, arguments in (
        ("ernn_model_open", ctypes.c_int, [pointer, pointer, size]),
        ("ernn_stream_size", size, [pointer, word]),
        ("ernn_stream_init", ctypes.c_int, [pointer, pointer, word, pointer, size, pointer]),
        ("ernn_stream_isa", ctypes.c_char_p, [pointer]),
        ("time_products", double, [ctypes.c_char_p, pointer, pointer, pointer, pointer, pointer, word, word]),
        ("time_read", double, [pointer, ctypes.c_uint64, word]),
        ("time_steps", double, [pointer, pointer, ctypes.c_uint64, word]),
        (
            "sample_steps",
            None,
            [pointer, pointer, ctypes.c_uint64, word, ctypes.c_int, double, pointer, ctypes.c_uint64, pointer],
        ),
    ):
        function = getattr(found, name)
        function.restype, function.argtypes = result, arguments
    return found


def aligned(data: bytes | int) -> Any:
    """Bytes on a 64-byte border."""
    size = data if isinstance(data, int) else len(data)
    room = np.zeros(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    view = room[start : start + size]
    if not isinstance(data, int):
        view[:] = np.frombuffer(data, np.uint8)
    return view


@dataclass
class CStream:
    """A stream of the engine, driven through C alone."""

    native: ctypes.CDLL
    path: Path
    pointer: ctypes.c_void_p = field(default_factory=ctypes.c_void_p)
    rooms: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        data = self.path.read_bytes()
        file, model = aligned(data), aligned(512)
        assert self.native.ernn_model_open(model.ctypes.data, file.ctypes.data, len(data)) == 0
        size = self.native.ernn_stream_size(model.ctypes.data, 0)
        memory = aligned(size)
        forced = os.environ.get("ERNN_ISA")
        options = Options(forced.encode() if forced else None, 0)
        arguments = (ctypes.byref(self.pointer), model.ctypes.data, 0, memory.ctypes.data, size, ctypes.byref(options))
        assert self.native.ernn_stream_init(*arguments) == 0
        self.rooms += [file, model, memory]

    @property
    def isa(self) -> str:
        """The instruction set in use."""
        name: bytes = self.native.ernn_stream_isa(self.pointer)
        return name.decode()


@dataclass(frozen=True)
class Files:
    """A case's files."""

    float_onnx: Path
    int8_onnx: Path
    int8: Path
    float32: Path
    hybrid8: Path


def files_of(case: Case) -> Files:
    """Exported, quantized and packed; kept from run to run."""
    folder = BUILD / case.name.replace(" ", "_")
    folder.mkdir(parents=True, exist_ok=True)
    files = Files(*(folder / name for name in FILES))
    if not all(path.exists() for path in vars(files).values()):
        torch.manual_seed(1)
        random = np.random.default_rng(1)
        export_model(case.make().eval(), torch.randn(1, 24, case.features), files.float_onnx, name="step")
        data = [random.standard_normal((200, case.features)).astype(np.float32)]
        quantize_model(files.float_onnx, data, files.int8_onnx, rounding="plain")
        convert_model(files.int8_onnx, files.int8)
        convert_model(files.float_onnx, files.float32)
        convert_model(files.float_onnx, files.hybrid8, precision="hybrid8")
    return files


def snr_db(wanted: Any, found: Any) -> float:
    """Of all frames but the first few."""
    noise = float(np.sum((wanted - found) ** 2))
    return float("inf") if noise == 0 else float(10 * np.log10(np.sum(wanted**2) / noise))


class Peer:
    """A file on another runtime, one frame a call from Python."""

    def __init__(self, path: Path) -> None:
        self.stream = edgernn.load(path).stream()
        self.call = self.stream.advance

    def frames(self, x: Any) -> Any:
        """The outputs of these frames."""
        return np.concatenate([self.stream.step(x[t : t + 1]) for t in range(len(x))])

    def time(self, x: Any, steps: int) -> float:
        """ns a step."""
        target, call = next(iter(self.stream.inputs.values())), self.call
        start = time.perf_counter_ns()
        for t in range(steps):
            target[...] = x[t % 64 : t % 64 + 1]
            call()
        return (time.perf_counter_ns() - start) / steps


def measure(case: Case, native: ctypes.CDLL, quick: bool) -> dict[str, float | str]:
    """All figures of a case: ns, and ratios as medians over rounds."""
    files, random = files_of(case), np.random.default_rng(2)
    x = random.standard_normal((64, case.features)).astype(np.float32)
    engine, plain = CStream(native, files.int8), CStream(native, files.float32)
    reference = edgernn.load(files.int8_onnx, backend="reference").stream().step(x)
    model = edgernn.load(files.int8)
    python = model.stream()
    if not np.array_equal(model.stream().step(x), reference):
        raise SystemExit(f"{case.name}: the engine differs from the reference")
    peers = {"ORT f32": Peer(files.float_onnx), "ORT int8": Peer(files.int8_onnx), "LiteRT int8": Peer(files.hybrid8)}
    wanted = Peer(files.float_onnx).frames(x)
    for name, peer in peers.items():
        found = snr_db(wanted, peer.frames(x))
        if found < 20:
            raise SystemExit(f"{case.name}: {name} differs by {found:.1f} dB")

    shapes = (Shape * len(case.products))(*(Shape((o + 15) // 16, g, (i + 15) // 16 * 4) for o, g, i in case.products))
    sizes = [s.panels * s.gates * s.quads * 64 for s in shapes]
    weights = aligned(random.integers(-127, 128, sum(sizes) + 64, dtype=np.int8).tobytes())
    floats = aligned(4 * sum(sizes))
    floats[:] = 1  # or every page of it is the one page of zeros
    rows = max(s.panels * s.gates * 16 for s in shapes)
    bias, sums = aligned(4 * rows), aligned(4 * rows)
    inputs = aligned(random.integers(-127, 128, 512 + 8 * max(i for _, _, i in case.products), dtype=np.int8).tobytes())
    isa = (engine.isa if engine.isa in ("avxvnni", "avx512vnni") else "avx2").encode()
    steps = max(10, int(1.5e6 / max(200, sum(sizes) / 40)))
    frame, out = x[:1].copy(), np.empty_like(python.step(x[:1]))

    def in_python() -> float:
        step = python.step
        start = time.perf_counter_ns()
        for _ in range(steps):
            step(frame, out)
        return (time.perf_counter_ns() - start) / steps

    def of_float() -> float:
        return float(native.time_steps(plain.pointer, x.ctypes.data, 4 * case.features, steps))

    def limit() -> float:
        arguments = (isa, weights.ctypes.data, bias.ctypes.data, inputs.ctypes.data, sums.ctypes.data)
        return float(native.time_products(*arguments, shapes, len(shapes), steps))

    candidates: dict[str, Callable[[], float]] = {
        "engine": lambda: float(native.time_steps(engine.pointer, x.ctypes.data, 4 * case.features, steps)),
        "limit": limit,
        "read": lambda: float(native.time_read(weights.ctypes.data, sum(sizes), steps)),
        "read f32": lambda: float(native.time_read(floats.ctypes.data, 4 * sum(sizes), max(10, steps // 4))),
        "python": in_python,
        "float32": of_float,
        **{name: lambda peer=peer: peer.time(x, max(5, steps // 20)) for name, peer in peers.items()},
    }
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(5 if quick else ROUNDS):
        for name, candidate in candidates.items():
            times[name].append(candidate())
    figures: dict[str, float | str] = {name: float(np.median(values)) for name, values in times.items()}

    def ratio(a: str, b: str) -> float:
        return float(np.median(np.array(times[a]) / np.array(times[b])))

    figures |= {"x limit": ratio("engine", "limit"), "x read": ratio("engine", "read")}
    figures |= {"f32 x read": ratio("float32", "read f32")}
    figures |= {"call": float(np.median(np.array(times["python"]) - np.array(times["engine"])))}
    figures |= {f"{name} / python": ratio(name, "python") for name in peers}
    sweep = aligned(SWEEP)
    for name, how in HOW.items():
        each = np.empty(SAMPLES[name] // (10 if quick else 1))
        where = (sweep.ctypes.data, SWEEP, each.ctypes.data)
        native.sample_steps(engine.pointer, x.ctypes.data, 4 * case.features, len(each), how, HOP_NS, *where)
        figures |= {name: float(np.median(each)), f"{name} p99": float(np.percentile(each, 99))}
    return {"name": case.name, "isa": engine.isa, "bytes": float(sum(sizes)), **figures}


def ns(value: float) -> str:
    """Three digits, with a unit."""
    return f"{value:.0f} ns" if value < 1000 else f"{value / 1000:.3g} µs"


def report(rows: list[dict[str, Any]]) -> str:
    """The tables."""
    peers = [name.removesuffix(" / python") for name in rows[0] if name.endswith(" / python")]
    first = [["network", "engine", "limit", "**x limit**", "read", "x read"]]
    first[0] += ["isolated (p99)", "paced (p99)", "cold", "prefetched"]
    second = [
        [
            "network",
            "engine in Python",
            "call adds",
            "engine float32",
            "x its read",
            *peers,
            *(f"**{p}: x**" for p in peers),
        ]
    ]
    for row in rows:
        cells = [ns(row[key]) for key in ("engine", "limit")]
        cells += [f"{row['x limit']:.2f}", ns(row["read"]), f"{row['x read']:.2f}"]
        cells += [f"{ns(row[key])} ({ns(row[f'{key} p99'])})" for key in ("isolated", "paced")]
        first.append([row["name"], *cells, *(ns(row[key]) for key in ("cold", "prefetched"))])
        ratios = [f"{row[f'{p} / python']:.1f}" for p in peers]
        cells = [ns(row[key]) for key in ("python", "call", "float32")]
        cells += [f"{row['f32 x read']:.2f}", *(ns(row[peer]) for peer in peers)]
        second.append([row["name"], *cells, *ratios])
    middle = "From Python, one frame a call; `x` is a peer's time over that of the engine:"
    return f"{_markdown(first)}\n\n{middle}\n\n{_markdown(second)}"


def _markdown(rows: list[list[str]]) -> str:
    head, *rest = rows
    lines = [head, ["---"] * len(head), *rest]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Measure, print, and write what was measured whole."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="NAME", help="cases, by a part of their names")
    parser.add_argument("--quick", action="store_true", help="few cases and rounds")
    parser.add_argument("--json", type=Path, help="also write all figures there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    native = library()
    names = options.names or (QUICK if options.quick else [""])
    cases = [case for case in CASES if any(name in case.name for name in names)]
    rows = []
    for case in cases:
        row = measure(case, native, options.quick)
        rows.append(row)
        told = f"{row['name']:14s} {ns(row['engine']):>8s}  x limit {row['x limit']:.2f}  + Python {ns(row['call'])}"
        print(told, file=sys.stderr)
    text = report(rows)
    print(text)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))
    if not options.names and not options.quick:
        where = f"{date.today().isoformat()}, {cpu()}, instruction set `{rows[0]['isa']}`"
        forced = os.environ.get("ERNN_ISA")
        limits = "; onnxruntime and LiteRT use all that the CPU has" if forced else ""
        path = HERE / (f"step_{forced}.md" if forced else "step.md")
        path.write_text(f"{INTRODUCTION}\n\n{where}{limits}.\n\n{text}\n")


INTRODUCTION = """# One step

Written by `python benchmarks/step.py`, which says what each column is. Engine: through C, back to back. Isolated:
nothing of a step overlaps the next. Paced: one step every 10 ms, asleep between them. Cold: behind a sweep of 8 MiB,
the weights in the shared cache; prefetched: the same, `ernn_prefetch` called 50 µs before the step. ORT is onnxruntime,
one io-binding call a frame; its int8 is our own near form, as onnxruntime quantizes neither GRU nor RNN. LiteRT runs
our hybrid file (int8 weights, float state), its fastest; litert_step.md has litert-torch's own files beside it."""


def cpu() -> str:
    """The processor's name."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
