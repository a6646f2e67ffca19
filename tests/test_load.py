"""Files from outside: each thing that can be wrong with one has its own error."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import onnx
import onnx.inliner
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import edgernn
import edgernn.runtime
from edgernn import content
from edgernn.errors import EdgeRNNError, InputError, MissingExtraError, ModelFileError, SpecError
from edgernn.export import read_program
from edgernn.files import draft
from edgernn.spec import SPEC_KEY, StreamSpec

from conftest import Exporter


@pytest.fixture
def data(exported: Exporter) -> bytes:
    return exported("GRU").path.read_bytes()


@pytest.fixture(params=["onnxruntime", "engine"])
def file(request: pytest.FixtureRequest, exported: Exporter) -> Path:
    return exported("GRU").of(request.param)


def test_missing_and_unknown(tmp_path: Path, exported: Exporter) -> None:
    for path, text in (
        (tmp_path / "none.onnx", "No such file"),
        (tmp_path, "is a folder"),
        (exported("GRU").path.parent / "x.weird", "cannot be read"),
    ):
        with pytest.raises(ModelFileError, match=text):
            edgernn.load(path)
    (tmp_path / "m.weird").write_bytes(b"x")
    with pytest.raises(ModelFileError, match="no suffix"):
        edgernn.load(tmp_path / "m.weird")
    with pytest.raises(ModelFileError, match="no back end is called `cuda`"):
        edgernn.load(exported("GRU").path, backend="cuda")


def test_so_many_threads(exported: Exporter) -> None:
    """None at all, and more than there are cores anywhere, which a back end would all start."""
    for threads in (0, 100_000):
        with pytest.raises(InputError, match=f"{threads} threads cannot run a step"):
            edgernn.load(exported("GRU").path, threads=threads)


def test_a_draft_that_is_refused_goes_by_the_name_it_was_to_get(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    with pytest.raises(ModelFileError) as caught, draft(path) as file:
        raise ModelFileError("is refused", place=str(file), hint="try again")
    assert str(caught.value) == f"{path}: is refused\n\nhint: try again"
    assert list(tmp_path.iterdir()) == []


def test_not_ours(tmp_path: Path, data: bytes) -> None:
    model = onnx.load_model_from_string(data)
    del model.metadata_props[:]
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    for read in (edgernn.load, read_program):
        with pytest.raises(ModelFileError, match="without a streaming contract"):
            read(path)
    path.write_bytes(b"no protobuf at all")
    with pytest.raises(ModelFileError, match="no ONNX file"):
        edgernn.load(path)
    with pytest.raises(ModelFileError, match="not an ONNX file"):
        read_program(path)


def test_altered(tmp_path: Path, data: bytes) -> None:
    model = onnx.load_model_from_string(data)
    weight = next(item for item in model.graph.initializer if item.name == "rnn.weight_hh_l0")
    weight.raw_data = bytes(len(weight.raw_data))
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    with pytest.raises(ModelFileError, match="hash does not match"):
        edgernn.load(path)
    with pytest.raises(ModelFileError, match="was changed"):
        read_program(path)


def test_metadata_that_is_no_text(exported: Exporter, tmp_path: Path) -> None:
    data = bytearray(exported("GRU").path.read_bytes())
    data[data.index(b'"content_sha256"') + 3] = 0xB8
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(ModelFileError, match="is damaged: its metadata is no text"):
        edgernn.load(tmp_path / "m.onnx")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), byte=st.integers(1, 255), cut=st.booleans())
def test_damaged_anywhere(tmp_path: Path, file: Path, place: float, byte: int, cut: bool) -> None:
    """Wherever a file is cut or a byte of it changed, loading fails with an error of ours."""
    data = file.read_bytes()
    index = min(int(place * len(data)), len(data) - 1)
    damaged = data[:index] if cut else data[:index] + bytes([data[index] ^ byte]) + data[index + 1 :]
    path = tmp_path / f"m{file.suffix}"
    path.write_bytes(damaged)
    with pytest.raises(EdgeRNNError):
        edgernn.load(path)


def test_inlined_cells_are_detected(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(onnx.inliner.inline_local_functions(onnx.load_model_from_string(data)), path)
    with pytest.raises(ModelFileError, match="lost its cells") as caught:
        read_program(path)
    assert "onnxscript.optimizer" in caught.value.hint


def test_rate(tmp_path: Path, exported: Exporter) -> None:
    from edgernn.export import export_model

    made = exported("GRU")
    path = tmp_path / "m.onnx"
    export_model(made.module, made.example, path, rate_hz=100)
    model = edgernn.load(path)
    assert model.stream(rate_hz=100).spec.outputs[0].rate_hz == 100
    with pytest.raises(InputError, match="frames come at 50 Hz; the model takes 100 Hz"):
        model.stream(rate_hz=50)
    for rate in (0, -3.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="hint: a rate is a positive number"):
            edgernn.load(made.path).stream(rate_hz=rate)


def test_missing_extra(monkeypatch: pytest.MonkeyPatch, exported: Exporter) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"edgernn\[onnxruntime\]"):
        edgernn.load(exported("GRU").path)


def test_extension_not_built(monkeypatch: pytest.MonkeyPatch, exported: Exporter) -> None:
    """What an .onnx file needs is there all the same."""
    made = exported("GRU")
    path = made.ernn
    monkeypatch.delitem(sys.modules, "edgernn.runtime.backends.engine")
    monkeypatch.setitem(sys.modules, "edgernn.runtime._engine", None)
    monkeypatch.delattr(edgernn.runtime, "_engine")
    with pytest.raises(MissingExtraError, match="extension module cannot be loaded") as caught:
        edgernn.load(path)
    assert "pip install -e ." in caught.value.hint
    edgernn.load(made.path)


def test_plain_onnxruntime_runs_the_file(data: bytes) -> None:
    """The file is ordinary ONNX: whoever feeds its states back needs nothing of ours."""
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    contract = json.loads(session.get_modelmeta().custom_metadata_map[SPEC_KEY])
    state = {item["input"]: np.full(item["shape"], item["init"], item["dtype"]) for item in contract["states"]}
    names = [item["name"] for item in contract["outputs"]] + [item["output"] for item in contract["states"]]
    for _ in range(3):
        y, h = session.run(names, {"x": np.ones((1, 1, 8), np.float32), **state})
        state = {"state.rnn.l0.h": h}
    np.testing.assert_allclose(y[0], h, atol=1e-6)


def _contract(data: bytes) -> dict[str, object]:
    model = onnx.load_model_from_string(data)
    text = next(item.value for item in model.metadata_props if item.key == SPEC_KEY)
    contract: dict[str, object] = json.loads(text)
    return contract


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"spec_version": 99}, "version 99"),
        ({"hop": "1"}, "`spec.hop`"),
        ({"hop": 0}, "`hop` is below 1"),
        ({"hop": True}, "`spec.hop`"),
        ({"hop": 2}, "hop of `x`"),
        ({"more": 1}, "unknown field `spec.more`"),
        ({"inputs": []}, "no inputs"),
        ({"inputs": [{"name": "x"}]}, "misses a field"),
        ({"inputs": [{"name": "x", "dtype": "float32", "shape": [1], "batch_axis": None, "rate_hz": -5}]}, "rate"),
        ({"frames_left": 5}, "`spec.frames_left`"),
        ({"name": None}, "`spec.name`"),
        (
            {"states": [{"input": "a", "output": "b", "shape": [2], "dtype": "float32", "init": "AAAA"}]},
            "initial value",
        ),
        ({"states": [{"input": "a", "output": "b", "shape": [2], "dtype": "float99", "init": 0}]}, "dtype"),
        ({"states": [{"input": "x", "output": "b", "shape": [2], "dtype": "float32", "init": 0}]}, "used twice"),
    ],
)
def test_contracts_that_make_no_sense(data: bytes, change: dict[str, object], text: str) -> None:
    contract = {**_contract(data), **change}
    with pytest.raises(SpecError, match=text):
        StreamSpec.from_json(json.dumps(contract))


def test_contract_is_no_json() -> None:
    for text in ("", "[]", "{", "3"):
        with pytest.raises(SpecError, match="JSON"):
            StreamSpec.from_json(text)


def test_contract_round_trip(data: bytes) -> None:
    spec = StreamSpec.from_json(json.dumps(_contract(data)))
    assert StreamSpec.from_json(spec.to_json()) == spec
    assert spec.content_sha256 == content.content_hash(data)
