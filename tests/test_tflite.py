"""TFLite files: each family in float on LiteRT with XNNPACK and without, int8 forms, what is in the file, refusals."""

from __future__ import annotations

import json
import math
import re
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_stream import noise

import edgernn
from edgernn import ops
from edgernn.cli import edgernn as cli
from edgernn.compare import snr_db
from edgernn.errors import EdgeRNNError, ExportError, ModelFileError, ProofError, SpecError, UnsupportedError
from edgernn.export import convert_model, export_model, read_program
from edgernn.export.to_tflite import to_tflite
from edgernn.export.to_tflite.builtins import BUILTINS
from edgernn.export.to_tflite.features import _BINARY
from edgernn.quantize import quantize_model, quantize_module
from edgernn.runtime.backends.tflite_file import read_metadata
from edgernn.spec import StreamSpec

from conftest import Exporter, Images, TFLiteMaker, quantize
from families import ALL, FEATURES, Lambda

BACKENDS = ("litert", "litert-plain")
GAINS = {"Embedding, causal convolution, GRU": 2}  # dB of int16x8, which has a table's rows as int8 too
QUANTIZED = (
    "RNN relu",
    "GRU",
    "LSTM proj_size",
    "Embedding, LSTM, Linear",
    "Embedding, causal convolution, GRU",
    "CRNN causal, strided",
    "CRNN symmetric",
    "residual GRUs, LayerNorm",
    "STFT, cumulative mean",
    "gate by chunk",
    "CRNN 2d symmetric, strided, depthwise",
    "Conv2d, time last, max pooling",
    "Conv2d per video frame, LSTM",
    "max and mean pooling over time",
    "mean pooling over time and features",
    "BiLSTM over frequency",
    "BiGRU over frequency, final states",
    "RNN over frequency",
    "U-Net 2d with a GRU",
    "BiGRU and BiRNN behind a stride, lookahead",
)


def _named(names: Any) -> Any:
    return pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.xdist_group(n)) for n in names])


each_family = _named(family.name for family in ALL)


def random_input(spec: StreamSpec, frames: int) -> dict[str, Any]:
    """Frames by name."""
    random = np.random.default_rng(8)
    return {
        port.name: random.standard_normal((frames, *port.frame)).astype(np.float32)
        if port.dtype == "float32"
        else random.integers(0, 5, (frames, *port.frame))
        for port in spec.inputs
    }


def streamed(model: edgernn.Model, x: dict[str, Any]) -> dict[str, Any]:
    """All outputs, pushed in odd pieces, with NaN behind the end."""
    stream, size, start = model.stream(), model.spec.hop + 1, 0
    stream._padding = np.nan
    parts = []
    while start < len(next(iter(x.values()))):
        parts.append(stream.push({name: array[start : start + size] for name, array in x.items()}))
        start += size
    parts.append(stream.flush())
    names = [port.name for port in model.spec.outputs]
    return {name: np.concatenate([p[name] if isinstance(p, dict) else p for p in parts]) for name in names}


@each_family
def test_float(exported: Exporter, tflite: TFLiteMaker, name: str) -> None:
    """Frame for frame what onnxruntime gives, to the end, with XNNPACK and without; again the same bytes."""
    made, path = exported(name), tflite(name, "float32")
    model = edgernn.load(made.path)
    x = random_input(model.spec, 11 * model.spec.hop + (0 if model.spec.hop == 3 else 1))
    wanted = streamed(model, x)
    for backend in BACKENDS:
        found = streamed(edgernn.load(path, backend), x)
        assert found.keys() == wanted.keys()
        for output, array in wanted.items():
            np.testing.assert_allclose(found[output], array, rtol=1e-4, atol=1e-4 * np.abs(array).max())
    assert made.tflite.read_bytes() == path.read_bytes()


@each_family
def test_hybrid(exported: Exporter, tflite: TFLiteMaker, name: str) -> None:
    """int8 weights alone cost little; without XNNPACK it is the same."""
    model = edgernn.load(exported(name).path)
    x = random_input(model.spec, 40 * model.spec.hop)
    wanted = streamed(model, x)
    for backend in BACKENDS:
        found = streamed(edgernn.load(tflite(name, "hybrid8"), backend), x)
        assert all(snr_db(array, found[output]) > 35 for output, array in wanted.items())


@_named(QUANTIZED)
def test_integers(exported: Exporter, tflite: TFLiteMaker, name: str) -> None:
    """int8 is near the exact integers of the quantized file, int16x8 nearer to float."""
    model = edgernn.load(exported(name).path)
    x = random_input(model.spec, 30 * model.spec.hop)
    exact = streamed(edgernn.load(tflite(name, "quantized"), "reference"), x)
    wanted = streamed(model, x)
    for backend in BACKENDS:
        int8, wide = (streamed(edgernn.load(tflite(name, form), backend), x) for form in ("int8", "int16x8"))
        for output, array in wanted.items():
            assert snr_db(exact[output], int8[output]) > 35
            assert snr_db(array, wide[output]) > snr_db(array, int8[output]) + GAINS.get(name, 3)


@pytest.mark.xdist_group("tflite-runtime")
def test_convolutions(images: Images) -> None:
    """Unequal strides and dilations, depthwise, grouped, hybrid: as the families' are, in all precisions."""
    model, exact = edgernn.load(images.source), edgernn.load(images.of("quantized"), "reference")
    x = random_input(model.spec, 30 * model.spec.hop)
    wanted, integers = (streamed(item, x)["output"] for item in (model, exact))
    for form, signal, least in (
        ("float32", wanted, 100),
        ("hybrid8", wanted, 40),
        ("int8", integers, 35),
        ("int16x8", wanted, snr_db(wanted, integers) + 3),
    ):
        path = images.of(form)
        for backend in BACKENDS:
            assert snr_db(signal, streamed(edgernn.load(path, backend), x)["output"]) > least, (form, backend)
    hybrid = schema.ModelT.InitFromPackedBuf(images.of("hybrid8").read_bytes(), 0)
    versions = {c.version for c in hybrid.operatorCodes if c.builtinCode == schema.BuiltinOperator.CONV_2D}
    assert versions == {1, 5, 6}  # float, int8 weights, groups


@pytest.mark.xdist_group("GRU")
def test_quantization_writes_it_too(exported: Exporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes of the way by .onnx; and tested: what is another output leaves no file."""
    source, data = exported("GRU").path, [np.random.default_rng(1).standard_normal((200, FEATURES)).astype("f")]
    quantize_model(source, data, tmp_path / "q.onnx")
    quantize_model(source, data, tmp_path / "q.tflite")
    convert_model(tmp_path / "q.onnx", tmp_path / "by.tflite")
    assert (tmp_path / "q.tflite").read_bytes() == (tmp_path / "by.tflite").read_bytes()
    monkeypatch.setattr("edgernn.export.likeness._OTHER_DB", 500.0)
    with pytest.raises(ProofError, match="dB of its source's"):
        quantize_model(source, data, tmp_path / "r.tflite")
    assert not (tmp_path / "r.tflite").exists()


class _Sums(torch.nn.Module):
    """Means, sums and extremes that meet before they are narrowed to int8 again."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.other = torch.nn.Conv1d(FEATURES, FEATURES, 3), torch.nn.Conv1d(FEATURES, FEATURES, 1)
        self.mean, self.most = torch.nn.AvgPool1d(2, 2), torch.nn.MaxPool1d(3, 1, 1)
        self.out, self.newest = torch.nn.Linear(FEATURES, 4), torch.nn.Linear(FEATURES, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        z, other = self.conv(torch.nn.functional.pad(x.transpose(1, 2), (2, 0))), self.other(x.transpose(1, 2))
        mean, total = self.mean(z), torch.cumsum(z, 2)
        pooled = self.most(mean) + mean + mean * mean
        parts = [self.out(item.transpose(1, 2)) for item in (pooled, self.most(other), total + z, total * z)]
        return *parts, self.newest(mean.amax(2)), self.newest(other.amax(2))


def test_integers_wider_than_a_product_takes(tmp_path: Path) -> None:
    """int32 means and extremes and an int64 sum, in sums and products with each other."""
    torch.manual_seed(1)
    export_model(_Sums().eval(), torch.randn(1, 24, FEATURES), tmp_path / "m.onnx")
    quantize(tmp_path / "m.onnx", tmp_path / "q.onnx")
    model, exact = edgernn.load(tmp_path / "m.onnx"), edgernn.load(tmp_path / "q.onnx", "reference")
    assert {"int32", "int64"} <= {state.dtype for state in exact.spec.states}
    x = random_input(model.spec, 30 * model.spec.hop)
    wanted, integers = streamed(model, x), streamed(exact, x)
    for form, signal, least in (
        ("int8", integers, dict.fromkeys(wanted, 42.0)),
        ("int16x8", wanted, {name: snr_db(array, integers[name]) + 1 for name, array in wanted.items()}),
    ):
        (tmp_path / "m.tflite").write_bytes(to_tflite(read_program(tmp_path / "q.onnx"), form))
        for backend in BACKENDS:
            found = streamed(edgernn.load(tmp_path / "m.tflite", backend), x)
            for name, array in signal.items():
                assert snr_db(array, found[name]) > least[name], (form, backend, name)


class _Rates(torch.nn.Module):
    """Several frames a step in front of what is kept since reset, of pooling and of a mirrored end."""

    def __init__(self) -> None:
        super().__init__()
        self.up = torch.nn.ConvTranspose1d(FEATURES, 4, 4, 2, 1)
        self.most = torch.nn.MaxPool1d(2, 1, 1, dilation=2)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = self.up(x.transpose(1, 2))
        window = torch.ones(16)
        spectrum = torch.stft(y[:, 0], 16, 4, window=window, center=True, pad_mode="reflect", return_complex=True)
        newest = torch.cat([y.amax(2), y.mean(2)], 1)
        return {"pooled": self.most(y).transpose(1, 2), "newest": newest, "spectrum": spectrum.abs().transpose(1, 2)}


def test_several_frames_a_step(tmp_path: Path) -> None:
    """In groups of two that a sequence's end cuts."""
    torch.manual_seed(1)
    result = export_model(_Rates().eval(), torch.randn(1, 24, FEATURES), tmp_path / "m.onnx")
    reflected = [op for op in result.program.ops if isinstance(op, ops.Reflect)]
    assert [op.group for op in reflected] == [2]
    (tmp_path / "m.tflite").write_bytes(to_tflite(result.program))
    model = edgernn.load(tmp_path / "m.onnx")
    x = random_input(model.spec, 15 * model.spec.hop)
    wanted = streamed(model, x)
    for backend in BACKENDS:
        found = streamed(edgernn.load(tmp_path / "m.tflite", backend), x)
        for name, array in wanted.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5)


def test_erf(tmp_path: Path) -> None:
    """As near as the formula says, and no float32 nearer."""
    module = Lambda(lambda m, x: torch.erf(x))
    export_model(module, torch.randn(1, 24, 1), tmp_path / "m.tflite")
    x = np.linspace(-6, 6, 2001, dtype=np.float32)[:, None]
    exact = np.vectorize(math.erf)(x.astype(np.float64))
    assert np.abs(edgernn.load(tmp_path / "m.tflite")(x) - exact).max() < 1.5e-7 + 2.0**-22


@pytest.mark.parametrize("kind", ["gru", "lstm", "rnn"])
def test_trained_networks(kind: str, next_frame: Any, tmp_path: Path) -> None:
    """Speech predicted by networks of 128 units, streamed, against PyTorch: all figures in benchmarks/tflite.md."""
    module, x = next_frame.load(kind), next_frame.speech(test=True, seed=3)[:1500]
    source, quantized = tmp_path / "m.onnx", tmp_path / "q.onnx"
    export_model(module, torch.randn(1, 40, next_frame.FEATURES), source)
    quantize_model(source, [next_frame.speech(test=False, seed=5)[:3000]], quantized)
    with torch.no_grad():
        wanted = module(torch.from_numpy(x)[None])[0].numpy()
    for precision, least in (("float32", 100), ("hybrid8", 42), ("int8", 42), ("int16x8", 48)):
        path = tmp_path / "m.tflite"
        convert_model(source if precision in ("float32", "hybrid8") else quantized, path, precision=precision)
        for backend in BACKENDS:
            assert snr_db(wanted, edgernn.load(path, backend)(x)) > least, (precision, backend)


def test_keyword_spotter(shared_data: Path, tmp_path: Path) -> None:
    """The committed spotter names the digits of held-back clips as in float: all figures in benchmarks/tflite.md."""
    from examples import keyword_spotting as keyword

    golden = Path(__file__).parent / "golden" / "keyword"
    spotter = keyword.KeywordSpotter().eval()
    spotter.load_state_dict(torch.load(golden / "digits.pt", weights_only=True))
    export_model(spotter, torch.zeros(1, keyword.RATE), tmp_path / "m.onnx", rate_hz=keyword.RATE)
    clips = keyword.load_clips(shared_data / "fsdd" / "fsdd_5speakers.npz")
    test = clips.take(clips.is_test)[::3]
    for precision, source in (
        ("hybrid8", tmp_path / "m.onnx"),
        ("int8", golden / "digits.int8.onnx"),
        ("int16x8", golden / "digits.int8.onnx"),
    ):
        convert_model(source, tmp_path / "m.tflite", precision=precision)
        assert keyword.streamed_accuracy(tmp_path / "m.tflite", test) >= 0.98, precision


@each_family
def test_file(exported: Exporter, tflite: TFLiteMaker, name: str) -> None:
    """Built-in operations alone, static shapes, aligned weights, a signature named as the contract names its ports."""
    for precision in ("float32", "hybrid8", *(("int8", "int16x8") if name in QUANTIZED else ())):
        data = tflite(name, precision).read_bytes()
        model = schema.ModelT.InitFromPackedBuf(data, 0)
        (graph,), (signature,) = model.subgraphs, model.signatureDefs
        kinds = {getattr(schema.BuiltinOperator, kind): kind for kind in BUILTINS}
        for code in model.operatorCodes:
            assert code.customCode is None
            assert code.builtinCode in kinds
            assert code.deprecatedBuiltinCode == min(code.builtinCode, 127)
        for operator in graph.operators:
            kind = kinds[model.operatorCodes[operator.opcodeIndex].builtinCode]
            _check_axes(kind, [_shape(graph.tensors[index]) for index in operator.inputs if index >= 0])
        for tensor in graph.tensors:
            assert tensor.shapeSignature is None
            assert all(size >= 1 for size in _shape(tensor))
        metadata = read_metadata(data, name)
        spec = StreamSpec.from_json(metadata["edgernn.spec"])
        given = {port.name for port in spec.inputs} | {state.input for state in spec.states}
        assert {port.name.decode() for port in signature.inputs} == given | ({spec.frames_left} - {None})
        made = [port.name for port in spec.outputs] + [state.output for state in spec.states]
        assert [port.name.decode() for port in signature.outputs] == made
        assert len({port.tensorIndex for port in signature.outputs}) == len(made)
        runtime = metadata["min_runtime_version"].rstrip(b"\0").decode()
        assert tuple(map(int, runtime.split("."))) <= (2, 14, 0)
        assert [row["name"] for row in json.loads(metadata["edgernn.summary"])]
        assert _aligned(data)


def _shape(tensor: Any) -> list[int]:
    return [] if tensor.shape is None else list(tensor.shape)


def _check_axes(kind: str, shapes: list[list[int]]) -> None:
    """Old runtimes refuse, or end the process, when more axes are transposed or broadcast than they know."""
    if kind == "TRANSPOSE":
        assert len(shapes[0]) <= 5
    if kind in (*_BINARY.values(), "SELECT_V2") and any(shape != shapes[0] for shape in shapes):
        assert max(map(len, shapes)) <= 4, (kind, shapes)


def _aligned(data: bytes) -> bool:
    model = schema.Model.GetRootAs(data, 0)
    places = []
    for index in range(model.BuffersLength()):
        table = model.Buffers(index)._tab
        offset = table.Offset(4)
        places += [table.Vector(offset)] if offset else []
    return bool(places) and all(place % 16 == 0 for place in places)


def test_per_channel_is_tagged_for_new_runtimes(exported: Exporter, tmp_path: Path) -> None:
    """Old ones would compute garbage in silence: version 12 makes them refuse (test_tflite_runtime.py sees it)."""
    path = tmp_path / "m.tflite"
    convert_model(exported("LSTM").path, path, precision="hybrid8", per_channel=True)
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    kind = schema.BuiltinOperator.FULLY_CONNECTED
    versions = {code.version for code in model.operatorCodes if code.builtinCode == kind}
    assert versions == {12}
    assert read_metadata(path.read_bytes(), "")["min_runtime_version"].startswith(b"2.17.0")


@pytest.mark.xdist_group("GRU")
def test_states_go_on_in_the_quantized_file(tflite: TFLiteMaker) -> None:
    """A file's state is not that of another file, but its arrays are: int32 where the exact integers have int32."""
    exact, near = (edgernn.load(tflite("GRU", form), b) for form, b in (("quantized", "reference"), ("int8", "litert")))
    assert [(s.dtype, s.init) for s in exact.spec.states] == [(s.dtype, s.init) for s in near.spec.states]
    x, streams = noise(exact, 40), (exact.stream(), near.stream())
    for stream in streams:
        stream.push(x)
    a, b = (stream._stepper.states()[0] / 2.0**30 for stream in streams)
    np.testing.assert_allclose(a, b, atol=2e-3)


def test_refusals(exported: Exporter, tflite: TFLiteMaker, tmp_path: Path) -> None:
    """An operation that TFLite lacks is named; a precision goes with the file it can be written from."""
    out = tmp_path / "m.tflite"

    def spectrum(m: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        y = torch.stft(x[:, :, 0], 48, 16, window=torch.ones(48), center=False, return_complex=True)
        return y.abs().transpose(1, 2)

    def samples(m: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        spectra = torch.view_as_complex(x.unflatten(2, (25, 2))).transpose(1, 2)
        return torch.istft(spectra, 48, 16, window=torch.ones(48), center=False)

    def turned(m: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(2, (2,) * 6).permute(0, 1, 7, 6, 5, 4, 3, 2).flatten(2)

    for function, features, text in (
        (spectrum, 8, "RFFT2D has no transform of 48 points"),
        (samples, 50, "RFFT2D has no transform of 48 points"),
        (turned, 64, "TRANSPOSE moves 5 axes at most"),
    ):
        with pytest.raises(UnsupportedError, match=text):
            export_model(Lambda(function), torch.randn(1, 320, features), out)
    for name, form, precision, text in (
        ("GRU", "float32", "int8", "written from a quantized file"),
        ("GRU", "quantized", "hybrid8", "written from a float file"),
        ("GRU", "float32", "int4", "no precision is called `int4`"),
    ):
        source = exported(name).path if form == "float32" else tflite(name, form)
        with pytest.raises(ExportError, match=text):
            convert_model(source, out, precision=precision)
    with pytest.raises(ExportError, match="hybrid8 alone"):
        convert_model(exported("GRU").path, out, per_channel=True)
    with pytest.raises(ExportError, match="no format of edgernn's"):
        convert_model(exported("GRU").path, tmp_path / "m.bin")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_file_is_not_left(exported: Exporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the runtime makes of a file is compared with its source before the file gets its name."""
    from edgernn.export.to_tflite.rows import ROWS

    monkeypatch.setitem(
        ROWS, ops.Linear, lambda b, op: b.put(op.outputs[0], b.constant(np.ones(b.shape(op.outputs[0]))))
    )
    with pytest.raises(ProofError, match="dB of its source"):
        convert_model(exported("CRNN causal, dilated").path, tmp_path / "m.tflite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.xdist_group("GRU")
def test_command_line(exported: Exporter, tflite: TFLiteMaker, tmp_path: Path) -> None:
    """export writes it from a model file, float or quantized; inspect, run and bench take it."""
    path, run = tmp_path / "m.tflite", CliRunner().invoke
    for source, words, low, high in (
        (exported("GRU").path, [], 120, 200),
        (exported("GRU").path, ["--precision", "hybrid8"], 40, 60),
        (tflite("GRU", "quantized"), [], 50, 80),
        (tflite("GRU", "quantized"), ["--precision", "int16x8", "--json"], 38, 60),
    ):
        result = run(cli, ["export", str(source), "-o", str(path), *words], catch_exceptions=False)
        assert result.exit_code == 0
        found = re.search(r"SNR against its source, over random input: `output` ([\d.]+) dB", result.stderr)
        assert found is not None
        assert low < float(found[1]) < high
    assert "litert" in run(cli, ["inspect", str(path)], catch_exceptions=False).output
    np.savez(tmp_path / "x.npz", x=np.ones((3, 8), np.float32))
    result = run(cli, ["run", str(path), "--input", str(tmp_path / "x.npz")], catch_exceptions=False)
    assert len(result.stdout.splitlines()) == 3
    assert run(cli, ["bench", str(path), "--steps", "100"], catch_exceptions=False).exit_code == 0
    assert run(cli, ["export", str(source), "-o", str(path), "--rate", "8"]).exit_code == 2


def test_verify_in_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's whole sequence is the signal; ONNX, TFLite in float and in int8 stand below each other."""
    (tmp_path / "owner.py").write_text(
        "import torch\ndef factory():\n    return torch.nn.GRU(8, 24, batch_first=True), torch.randn(1, 20, 8)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    module = torch.nn.GRU(8, 24, batch_first=True)
    torch.save(module.state_dict(), "w.pt")
    np.savez("x.npz", x=np.random.default_rng(0).standard_normal((3, 200, 8)).astype("f"))
    export_model(module, torch.randn(1, 20, 8), "m.onnx")
    quantize_model(Path("m.onnx"), Path("x.npz"), Path("q.onnx"))
    for source, path, precision in (("m.onnx", "h.tflite", "hybrid8"), ("q.onnx", "q.tflite", "int8")):
        convert_model(source, path, precision=precision)
    files = ["m.onnx", "h.tflite", "h.tflite@litert-plain", "q.onnx@reference", "q.tflite"]
    words = ["verify", "owner:factory", "--weights", "w.pt", *files, "--data", "x.npz", "--long", "300"]
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()[1:6]] == files
    found = json.loads(CliRunner().invoke(cli, [*words, "--json"], catch_exceptions=False).stdout)
    figures = [item[part]["output"]["snr_db"] for item in found["files"] for part in ("outputs", "long")]
    assert min(figures[:2]) > 120
    assert all(35 < db < 70 for db in figures[2:])


def test_from_a_module_at_once(tmp_path: Path) -> None:
    """The proof is of the float file on LiteRT; calibration makes it int8."""
    module = torch.nn.GRU(8, 16, batch_first=True)
    result = export_model(module, torch.randn(1, 20, 8), tmp_path / "m.tflite", rate_hz=50, precision="hybrid8")
    model = edgernn.load(tmp_path / "m.tflite")
    assert (model.spec.name, model.spec.inputs[0].rate_hz, model.backend) == ("m", 50, "litert")
    assert model.spec.proof == result.proof.as_dict()
    assert [item.name for item in tmp_path.iterdir()] == ["m.tflite"]
    path, data = tmp_path / "q.tflite", [np.random.default_rng(0).standard_normal((100, 8)).astype("f")]
    quantize_module(module, torch.randn(1, 20, 8), data, path)
    assert [state.dtype for state in edgernn.load(path).spec.states] == ["int32"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), byte=st.integers(1, 255), cut=st.booleans())
def test_damaged_anywhere(tmp_path: Path, tflite: TFLiteMaker, place: float, byte: int, cut: bool) -> None:
    """Loading fails with an error of ours, and so does reading the metadata of bytes that nobody hashed."""
    data = tflite("GRU", "float32").read_bytes()
    index = min(int(place * len(data)), len(data) - 1)
    damaged = data[:index] if cut else data[:index] + bytes([data[index] ^ byte]) + data[index + 1 :]
    path = tmp_path / "m.tflite"
    path.write_bytes(damaged)
    with pytest.raises(EdgeRNNError):
        edgernn.load(path)
    with suppress(ModelFileError):
        read_metadata(damaged, "")


def test_files_of_others(tmp_path: Path, tflite: TFLiteMaker) -> None:
    """No contract, no file at all, offsets and lengths that lead nowhere."""
    path = tmp_path / "m.tflite"
    model = schema.ModelT()
    model.version, model.subgraphs, model.buffers, model.operatorCodes = 3, [], [schema.BufferT()], []
    import flatbuffers

    builder = flatbuffers.Builder(64)
    builder.Finish(model.Pack(builder), b"TFL3")
    whole = tflite("GRU", "float32").read_bytes()
    length = whole.index(b'{"content_sha256"') - 4
    endless = whole[:length] + struct.pack("<I", 2**31) + whole[length + 4 :]
    with pytest.raises(ModelFileError, match="leads outside"):
        read_metadata(endless, "")
    for data, text in (
        (bytes(builder.Output()), "without a streaming contract"),
        (b"", "no TFLite file"),
        (b"\0\0\0\0TFL4" + bytes(40), "no TFLite file"),
        (b"\xff\xff\xff\x7fTFL3" + bytes(40), "leads outside"),
        (struct.pack("<I4si", 8, b"TFL3", 2**30) + bytes(40), "leads outside"),
    ):
        path.write_bytes(data)
        with pytest.raises((ModelFileError, SpecError), match=text):
            edgernn.load(path)
