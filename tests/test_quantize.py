"""From an exported file to an int8 one: every family, the file itself, the report, the command line, bad input."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner

import edgernn
from edgernn.cli import edgernn as cli
from edgernn.errors import CalibrationError, EdgeRNNError, ExportError, ModelFileError, QuantizeError
from edgernn.export import convert_model, export_model, read_program
from edgernn.quantize import quantize_model, verify_models

import support
from conftest import Exporter
from families import BY_NAME

PARAMS = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in BY_NAME]
# without one integer operation
NOTHING = ("GRU, learned initial state", "element-wise mix", "Recurrent(EMA)")
NOTHING += tuple(f"spellings: {kind}" for kind in ("arithmetic", "functions", "comparisons", "shapes", "frames before"))
NOTHING += (
    "spellings: constants",
    "spellings: attention",
    "spellings: pooling",
    "spellings: deviations",
    "spellings: complex values",
    "Recurrent(ConvLSTM)",
    "Recurrent, convolving over features",
)
ENGINE_FLOAT = "float within 1e-5"  # test_families.py: test_engine_equals_onnxruntime
LEAST_DB = 28.0  # of every output of every family, random weights and normal input


def sequences(path: Path, count: int = 2, frames: int = 400, seed: int = 0) -> list[dict[str, Any]]:
    """Random input for a file."""
    spec, random = read_program(path).spec, np.random.default_rng(seed)
    frames = spec.hop * (frames if spec.hop < 64 else 40)
    return [
        {
            port.name: random.standard_normal((frames, *port.frame)).astype("f")
            if port.dtype == "float32"
            else random.integers(0, 5, (frames, *port.frame))
            for port in spec.inputs
        }
        for _ in range(count)
    ]


def by_name(result: Any) -> dict[str, Any]:
    """Outputs by name, also of a model with one."""
    return result if isinstance(result, dict) else {"": result}


@pytest.mark.parametrize("name", PARAMS)
def test_families(name: str, exported: Exporter, tmp_path: Path) -> None:
    """Close to float; read back as it was written; step by step what it is as a whole; near in onnxruntime."""
    path, out = exported(name).path, tmp_path / "model.int8.onnx"
    if name in NOTHING:
        with pytest.raises(QuantizeError, match="has nothing to quantize"):
            quantize_model(path, sequences(path), out)
        assert not out.exists()
        support.check(name, "int8 dB", "nothing to quantize")
        support.check(name, "engine", ENGINE_FLOAT)
        return
    result = quantize_model(path, sequences(path), out)
    assert read_program(out) == result.program
    for difference in result.report.outputs.values():
        assert difference.snr_db > LEAST_DB
        assert difference.stuck == 0
    item = sequences(path, 1, 40, seed=5)[0]
    exact, *others = (by_name(edgernn.load(*file)(item)) for file in ((out, "reference"), (out,), (path,)))
    for other in others:
        for port, a in exact.items():
            assert np.sum((a - other[port]) ** 2) < np.sum(a**2) * 10 ** (-(20 if a.size > 100 else 15) / 10)
    assert all(db > 20 for db in result.report.near_db.values())
    least = min(difference.snr_db for difference in result.report.outputs.values())
    support.check(name, "int8 dB", f"{least:.0f}", lambda stated: abs(float(stated) - least) <= 1)
    convert_model(out, out.with_suffix(".ernn"))  # which raises unless the engine has the reference's bits
    support.check(name, "engine", f"{ENGINE_FLOAT}; int8 exact")


class Decay(torch.nn.Module):
    """h = a h + x as a running sum: what enters grows by 1/a a frame, as a quotient or as a product."""

    def __init__(self, divided: bool) -> None:
        super().__init__()
        self.lift, self.divided = torch.nn.Linear(6, 8), divided

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left = torch.exp(-0.05 * torch.arange(x.shape[1], dtype=x.dtype))[:, None]
        y = self.lift(x)
        return (y / left if self.divided else y * (1 / left)).cumsum(1) * left


def test_what_no_scale_holds(tmp_path: Path) -> None:
    """The sum of a quotient stays in float; where an output is lost all the same, the report says where."""
    data = [np.random.default_rng(0).standard_normal((300, 6)).astype(np.float32)]
    reports = []
    for divided in (True, False):
        export_model(Decay(divided), torch.randn(1, 40, 6), tmp_path / "m.onnx")
        reports.append(quantize_model(tmp_path / "m.onnx", data, tmp_path / "q.onnx").report)
    good, poor = reports
    assert next(node.form for node in good.nodes if node.op == "CumSum") == "float"
    assert good.warnings == []
    (warning,) = poor.warnings
    assert re.fullmatch(
        r"`output` keeps -?\d+\.\d dB of the float model's; it is lost at `mul_\w+`: try --exclude cumsum, .*", warning
    )
    again = quantize_model(tmp_path / "m.onnx", data, tmp_path / "q.onnx", exclude=["cumsum"]).report
    assert again.warnings == []
    words = ["quantize", tmp_path / "m.onnx", "--calibration", save(data, tmp_path), "-o", tmp_path / "r.onnx"]
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert f"warning: {warning}" in result.output


def save(data: list[Any], folder: Path) -> Path:
    np.savez(folder / "data.npz", x=np.stack(data))
    return folder / "data.npz"


@pytest.mark.parametrize(("kind", "more", "products"), [("GRU", {}, 4), ("LSTM", {"proj_size": 5}, 6), ("RNN", {}, 4)])
def test_products_are_integer_in_onnxruntime(kind: str, more: dict[str, int], products: int, tmp_path: Path) -> None:
    """All products of a cell are `QGemm` in the optimized graph, once a layer; no float product is left."""
    torch.manual_seed(0)
    module = getattr(torch.nn, kind)(8, 16, 2, batch_first=True, **more)
    export_model(module, torch.randn(1, 20, 8), tmp_path / "m.onnx")
    quantize_model(tmp_path / "m.onnx", sequences(tmp_path / "m.onnx"), tmp_path / "q.onnx")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(tmp_path / "q.onnx", options, providers=["CPUExecutionProvider"])
    found = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert found["QGemm"] == products
    assert not {"Gemm", "MatMul", kind} & set(found)
    functions = {f.name for f in onnx.load(tmp_path / "q.onnx").functions}
    assert {f"Q{kind}"} <= functions


@pytest.fixture(scope="module")
def long_memory(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The trained long-memory networks' module, and where to export them."""
    import importlib.util

    path = Path(__file__).parent / "golden" / "long_memory" / "train.py"
    spec = importlib.util.spec_from_file_location("long_memory_train", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("kind", "signal"), [("gru", "correlated"), ("lstm", "correlated"), ("lstm", "white")])
def test_trained_networks(kind: str, signal: str, long_memory: Any, tmp_path: Path) -> None:
    """Compensated rounding pays where inputs are correlated, int4 even more; figures of 100,000 steps: benchmarks/."""
    path = tmp_path / "m.onnx"
    export_model(long_memory.load(kind, signal), torch.randn(1, 40, long_memory.FEATURES), path)
    data = list(long_memory.signal(signal, 4, 1500, seed=1))
    fresh = {"input": list(long_memory.signal(signal, 1, 3000, seed=2))}
    figures = {}
    for way in ({"rounding": "plain"}, {}, {"rounding": "plain", "weight_type": "int4"}, {"weight_type": "int4"}):
        out = tmp_path / "q.onnx"
        quantize_model(path, data, out, **way)
        compared = verify_models(path, out, fresh["input"], backends=("auto", "reference"))
        (figures[tuple(way.values())],) = compared.outputs.values()
    plain, compensated, int4_plain, int4 = (item.snr_db for item in figures.values())
    assert compensated > 35
    assert compensated > plain + (3.0 if signal == "correlated" else -0.2)
    assert int4 > int4_plain + 4
    assert all(item.stuck == 0 for item in figures.values())


@pytest.mark.xdist_group("GRU")
def test_options(exported: Exporter, tmp_path: Path) -> None:
    """Each does what it says."""
    path, out = exported("GRU").path, tmp_path / "q.onnx"
    data = sequences(path)

    def run(**options: Any) -> Any:
        return quantize_model(path, data, out, **options)

    def snr(result: Any) -> float:
        return float(result.report.outputs["output"].snr_db)

    base, wide = run(), run(activation_type="int16")
    assert snr(wide) > snr(base) + 2
    assert snr(run(activation_type="auto")) > snr(wide) - 1.1
    assert snr(run(per_tensor=True)) < snr(base) + 0.5
    small = run(weight_type="int4")
    assert sum(n.bytes_after for n in small.report.nodes) < 0.8 * sum(n.bytes_after for n in base.report.nodes)
    for observer in ("minmax", "percentile"):
        assert snr(run(observer=observer)) > snr(base) - 3
    with pytest.raises(QuantizeError, match="no operation is called"):
        run(exclude=["nothing*"])


@pytest.mark.xdist_group("keyword net on raw audio")
def test_strict_and_exclude(exported: Exporter, tmp_path: Path) -> None:
    """A weight that stays in float is an error under strict, unless it was named; no file is left."""
    path, out = exported("keyword net on raw audio").path, tmp_path / "q.onnx"
    data = sequences(path)
    with pytest.raises(QuantizeError, match="logarithm") as caught:
        quantize_model(path, data, out, strict=True)
    assert list(tmp_path.iterdir()) == []
    source = tmp_path / "audio.npz"
    np.savez(source, **{f"x/{i}": next(iter(item.values())) for i, item in enumerate(data)})
    words = ["quantize", str(path), "--calibration", str(source), "-o", str(out), "--strict"]
    with pytest.raises(QuantizeError, match="logarithm"):
        CliRunner().invoke(cli, words, catch_exceptions=False, standalone_mode=False)
    assert list(tmp_path.iterdir()) == [source]
    result = quantize_model(path, data, out, strict=True, exclude=[caught.value.place])
    assert {n.why for n in result.report.nodes if n.form == "float" and n.bytes_before} >= {"excluded"}


@pytest.mark.xdist_group("GRU")
def test_command_line(exported: Exporter, tmp_path: Path) -> None:
    """quantize and verify, as text and as JSON, from every kind of file; failures exit 1 with a reason."""
    path, out, run = exported("GRU").path, tmp_path / "q.onnx", CliRunner().invoke
    item = sequences(path, 3, 200)
    arrays = [next(iter(x.values())) for x in item]
    np.savez(
        tmp_path / "ragged.npz", **{f"input/{i}": x[: 100 + 40 * i] for i, x in enumerate(arrays)}, targets=[1, 2, 3]
    )
    (tmp_path / "folder").mkdir()
    for i, x in enumerate(arrays):
        np.save(tmp_path / "folder" / f"{i}.npy", x)
    rows = [",".join(f"f{i}" for i in range(8)), *(",".join(map(str, row)) for row in arrays[0])]
    (tmp_path / "data.csv").write_text("\n".join(rows))
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def data():\n    yield from np.random.default_rng(0).standard_normal((2, 200, 8)).astype('f')\n"
        "def metric(outputs, targets):\n    return float(np.mean([o.mean() for o in outputs])) + sum(targets)\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        for source in ("ragged.npz", "folder", "data.csv", "mine:data"):
            result = run(cli, ["quantize", str(path), "--calibration", source, "-o", str(out)], catch_exceptions=False)
            assert result.exit_code == 0
            assert "QGRU" not in result.output
            assert "GRU" in result.output
        words = [
            "quantize",
            str(path),
            "--calibration",
            "ragged.npz",
            "-o",
            str(out),
            "--json",
            "--metric",
            "mine:metric",
        ]
        report = json.loads(run(cli, words, catch_exceptions=False).output)
    assert abs(report["metric"]["float"] - report["metric"]["int8"]) < 0.01
    assert report["metric"]["float"] > 5
    assert report["nodes"][0]["form"] == "int8"
    assert report["bytes"]["after"] > 0
    words = ["verify", str(path), f"{out}@reference", "--data", str(tmp_path / "ragged.npz"), "--long", "1000"]
    result = run(cli, [*words, "--min-snr", "20"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "1000 frames" in result.output
    with pytest.raises(QuantizeError, match="below 90 dB"):
        run(cli, [*words, "--min-snr", "90"], catch_exceptions=False, standalone_mode=False)
    same = run(
        cli, ["verify", str(out), str(out), "--data", str(tmp_path / "ragged.npz"), "--json"], catch_exceptions=False
    )
    assert json.loads(same.output)["files"][0]["outputs"]["output"]["snr_db"] is None


def failing() -> Any:
    """An iterable that breaks behind its first item."""
    yield np.zeros((50, 8), np.float32)
    raise RuntimeError("disk gone")


BAD: dict[str, tuple[Any, str]] = {
    "shape": (lambda x: [x[:, :5]], "sequence 0.*came; the model takes"),
    "too few": (lambda x: [x[:9]], "are the least"),
    "NaN": (
        lambda x: [x, np.where(np.arange(len(x))[:, None] == 7, np.nan, x)],
        "sequence 1.*NaN or infinity in frame 7",
    ),
    "beyond float32": (lambda x: [x.astype(np.float64) * 1e300], "NaN or infinity in frame 0"),
    "constant": (lambda x: [x * (np.arange(8) != 3)], "feature 3 of `.*` is constant"),
    "empty": (lambda x: [x[:0]], "a step takes"),
    "16-bit audio": (lambda x: [(1000 * x).astype(np.int16)], "int16 came"),
    "other names": (lambda x: [{"y": x}], "inputs .* came"),
    "targets for some": (lambda x: [{"x": x, "targets": 1}, {"x": x}], "1 targets for 2 sequences"),
    "nothing": (lambda x: [], "has no sequences"),
    "fails": (lambda x: failing(), "disk gone"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.xdist_group("GRU")
def test_bad_calibration(case: str, exported: Exporter, tmp_path: Path) -> None:
    """Each says what is wrong, and leaves nothing behind."""
    change, message = BAD[case]
    path = exported("GRU").path
    (x,) = sequences(path, 1)[0].values()
    with pytest.raises(CalibrationError, match=message):
        quantize_model(path, change(x), tmp_path / "q.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.xdist_group("GRU")
def test_calibration_with_sequences_shorter_than_a_delay(tmp_path: Path) -> None:
    """Their frames count where they arrive; values that are later than the sequence is long have none."""
    path = tmp_path / "model.onnx"
    layer = torch.nn.LSTM(8, 8, batch_first=True, bidirectional=True)
    export_model(layer, torch.randn(1, 40, 8), path, lookahead="16/4")
    random = np.random.default_rng(0)
    pieces = [random.standard_normal((frames, 8)).astype("f") for frames in (400, 12)]
    result = quantize_model(path, pieces, path.with_suffix(".ernn"))
    assert result.report.calibration_frames == 412
    assert not result.report.left_in_float


def test_metric(exported: Exporter, tmp_path: Path) -> None:
    """It gets every sequence's outputs and targets; what it raises is told; no file is left then."""
    path = exported("GRU").path
    arrays = [next(iter(item.values()))[: 100 + 50 * i] for i, item in enumerate(sequences(path, 3))]
    data = [{"x": x, "targets": i} for i, x in enumerate(arrays)]

    def metric(outputs: Any, targets: Any) -> float:
        assert [y.shape for y in outputs] == [(100, 16), (150, 16), (200, 16)]
        assert targets == [0, 1, 2]
        return float(sum(np.abs(y).mean() for y in outputs))

    report = quantize_model(path, data, tmp_path / "q.onnx", metric=metric).report
    assert report.metric is not None
    assert report.metric[0] != report.metric[1]
    assert np.isclose(*report.metric, rtol=0.02)
    with pytest.raises(QuantizeError, match="ZeroDivisionError") as caught:
        quantize_model(path, arrays, tmp_path / "no.onnx", metric=lambda outputs, targets: 1 / len(targets))
    assert "targets" in caught.value.hint
    assert not (tmp_path / "no.onnx").exists()


@pytest.mark.xdist_group("GRU")
def test_the_file_says_what_it_was_made_with(exported: Exporter, tmp_path: Path) -> None:
    """Equal data and options give equal bytes; the contract has both."""
    path = exported("GRU").path
    files = [tmp_path / f"{i}.onnx" for i in range(3)]
    for file, seed in zip(files, (0, 0, 1), strict=True):
        quantize_model(path, sequences(path, seed=seed), file)
    assert files[0].read_bytes() == files[1].read_bytes()
    first, other = (edgernn.load(file).spec.provenance for file in (files[0], files[2]))
    assert first["options"]["quantize"]["rounding"] == "compensated"
    assert first["calibration_sha256"] != other["calibration_sha256"]
    assert first["weights_sha256"] == other["weights_sha256"]


@pytest.mark.xdist_group("GRU")
def test_verify_against_the_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A factory that gives no example will do, as PyTorch takes the data's frames."""
    monkeypatch.syspath_prepend(tmp_path)
    lines = (
        "import torch",
        "def made():",
        "    torch.manual_seed(0)",
        "    return torch.nn.GRU(8, 16, batch_first=True)",
    )
    (tmp_path / "bare_factory.py").write_text("\n".join(lines), "utf-8")
    torch.manual_seed(0)
    export_model(torch.nn.GRU(8, 16, batch_first=True), torch.randn(1, 20, 8), tmp_path / "m.ernn")
    frames = np.random.default_rng(0).standard_normal((3, 50, 8)).astype(np.float32)
    words = [
        "verify",
        "bare_factory:made",
        str(tmp_path / "m.ernn"),
        "--data",
        str(save(list(frames), tmp_path)),
        "--json",
    ]
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    (found,) = json.loads(result.stdout)["files"]
    assert found["outputs"]["output"]["snr_db"] > 120


def test_verify_warns_of_drift(exported: Exporter, tmp_path: Path) -> None:
    """What gets worse towards the end is said on stderr, in words and with the numbers."""
    path, out = exported("GRU").path, tmp_path / "q.onnx"
    quantize_model(path, sequences(path), out)
    (x,) = sequences(path, 1)[0].values()
    np.savez(tmp_path / "louder.npz", x=x * np.linspace(0.5, 30, len(x))[:, None].astype("f"))
    result = CliRunner().invoke(cli, ["verify", str(path), f"{out}@reference", "--data", str(tmp_path / "louder.npz")])
    assert result.exit_code == 0
    assert "the last tenth is worse than the first" in result.stderr
    assert "last tenth" in result.stdout


@pytest.mark.xdist_group("GRU")
def test_bad_files(exported: Exporter, tmp_path: Path) -> None:
    """Quantized already, damaged, of another name, over the model itself, or data that is not there."""
    path, out = exported("GRU").path, tmp_path / "q.onnx"
    data = sequences(path)
    quantize_model(path, data, out)
    with pytest.raises(QuantizeError, match="quantized already"):
        quantize_model(out, data, tmp_path / "again.onnx")
    (tmp_path / "cut.onnx").write_bytes(out.read_bytes()[:-100])
    with pytest.raises(ModelFileError):
        edgernn.load(tmp_path / "cut.onnx", "reference")
    with pytest.raises(ExportError, match="is no format"):
        quantize_model(path, data, tmp_path / "q.bin")
    for suffix in (".ernn", ".tflite"):
        convert_model(path, out.with_suffix(suffix))
        with pytest.raises(ModelFileError, match=rf"is a \{suffix} file[^$]*take the \.onnx"):
            quantize_model(out.with_suffix(suffix), data, tmp_path / "again.onnx")
    with pytest.raises(QuantizeError, match="written over"):
        quantize_model(path, data, path)
    for source in ("missing.npz", "missing:items", "missing", str(tmp_path)):
        with pytest.raises(EdgeRNNError):
            quantize_model(path, source, tmp_path / "again.onnx")
    assert not (tmp_path / "again.onnx").exists()


@pytest.mark.xdist_group("GRU")
def test_states_are_the_same_in_every_back_end(exported: Exporter, tmp_path: Path) -> None:
    """A state saved by one back end goes on in the other; the exact one goes on exactly."""
    path, out = exported("GRU").path, tmp_path / "q.onnx"
    data = sequences(path)
    quantize_model(path, data, out)
    (x,) = data[0].values()
    whole = edgernn.load(out, "reference")(x[:40])
    streams = [edgernn.load(out, backend).stream() for backend in ("reference", "reference", "onnxruntime")]
    streams[0].push(x[:20])
    for stream in streams[1:]:
        stream.restore(streams[0].save())
    assert np.array_equal(streams[1].push(x[20:40]), whole[20:])
    assert np.abs(streams[2].push(x[20:40]) - whole[20:]).max() < 0.05


def test_keyword_spotter_on_real_recordings(shared_data: Path, tmp_path: Path) -> None:
    """The committed int8 file names the held-back digits; all figures: benchmarks/int8_keyword.md."""
    from examples import keyword_spotting as keyword

    path = Path(__file__).parent / "golden" / "keyword" / "digits.int8.onnx"
    clips = keyword.load_clips(shared_data / "fsdd" / "fsdd_5speakers.npz")
    test = clips.take(clips.is_test)[::4]
    exact = edgernn.load(convert_model(path, tmp_path / "digits.ernn").path)
    clip = keyword.with_tail(test[0][0])
    assert np.array_equal(exact(clip), edgernn.load(path, "reference")(clip))
    right = [keyword.decide(exact(keyword.with_tail(x))) == digit for x, digit in test]
    assert len(right) >= 60
    assert np.mean(right) >= 0.98
    assert keyword.streamed_accuracy(path, test) >= 0.98  # in onnxruntime
