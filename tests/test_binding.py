"""The engine through Python: its instruction sets, threads, saved states, and calls that mean it no good."""

from __future__ import annotations

import ast
import gc
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import edgernn
from edgernn import content
from edgernn.errors import EdgeRNNError, InputError, ModelFileError, StateError
from edgernn.export import convert_model, export_model
from edgernn.quantize import quantize_model
from edgernn.runtime import _engine
from edgernn.runtime.backends import engine

from conftest import Exporter

GOLDEN = Path(__file__).parent / "golden"
USABLE = engine.usable_isas()


def noise(shape: tuple[int, ...], seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# --- exact, on every instruction set ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "family", ["GRU", "LSTM 2 layers, dropout", "CRNN symmetric, strided", "STFT centred, reflect"]
)
def test_int8_is_the_references(
    family: str, exported: Exporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both int8 files of a model give the same integers, pushed in pieces and flushed, on every instruction set."""
    path = exported(family).path
    hop = exported(family).result.program.spec.hop
    frame = exported(family).result.program.spec.inputs[0].frame
    quantize_model(path, [noise((100 * hop, *frame))], tmp_path / "m.onnx")
    converted = convert_model(tmp_path / "m.onnx", tmp_path / "m.ernn")
    assert list(converted.tested) == USABLE
    x = noise((30 * hop + 5, *frame), 1)
    expected = edgernn.load(tmp_path / "m.onnx", "reference")(x)
    for isa in USABLE:
        monkeypatch.setenv("ERNN_ISA", isa)
        model = edgernn.load(tmp_path / "m.ernn")
        assert model.details["isa"] == isa
        stream = model.stream()
        parts = [stream.push(x[:7]), stream.push(x[7:]), stream.flush()]
        np.testing.assert_array_equal(np.concatenate(parts), expected)


def test_an_instruction_set_that_is_not_there(exported: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERNN_ISA", "mmx")
    with pytest.raises(EdgeRNNError, match="ERNN_ISA: `mmx` is no instruction set of this build") as caught:
        edgernn.load(exported("GRU").ernn)
    assert "scalar" in caught.value.hint
    monkeypatch.setattr(_engine, "isas", lambda: [("best", False), ("scalar", True)])
    monkeypatch.setenv("ERNN_ISA", "best")
    with pytest.raises(EdgeRNNError, match="`best` is beyond this CPU"):
        edgernn.load(exported("GRU").ernn)


def test_selftest_finds_other_outputs(exported: Exporter, tmp_path: Path) -> None:
    """A file whose hash of the outputs is another one, its own content hash right."""
    data = bytearray(exported("GRU").ernn.read_bytes())
    start = int.from_bytes(data[72:80], "little")  # of the programs; the hash is a record's last field
    data[start + 88] ^= 1
    path = tmp_path / "m.ernn"
    path.write_bytes(content.seal(bytes(data)))
    assert edgernn.load(path).selftest() == dict.fromkeys(USABLE, False)
    with pytest.raises(ModelFileError, match="no test vectors"):
        edgernn.load(exported("GRU").path).selftest()


# --- states ----------------------------------------------------------------------------------------------------------


def test_a_saved_state_goes_on_in_another_process(exported: Exporter, tmp_path: Path) -> None:
    path = exported("CRNN symmetric, strided").ernn
    model = edgernn.load(path)
    x = noise((50, 8))
    stream = model.stream()
    stream.push(x[:20])
    (tmp_path / "state").write_bytes(stream.save())
    np.save(tmp_path / "x.npy", x[20:])
    code = """
import sys, numpy, edgernn
stream = edgernn.load(sys.argv[1]).stream()
stream.restore(open("state", "rb").read())
numpy.save("y.npy", numpy.concatenate([stream.push(numpy.load("x.npy")), stream.flush()]))
"""
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, cwd=tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), np.concatenate([stream.push(x[20:]), stream.flush()]))


def test_a_refused_index_changes_nothing(exported: Exporter) -> None:
    """An index beyond its table: an error of ours, and the stream goes on as if the step had not been."""
    model = edgernn.load(exported("Embedding, LSTM, Linear").ernn)
    stream, ids = model.stream(), np.array([3, 1, 4, 1, 5])
    head = stream.push(ids[:2])
    before = stream.save()
    for verb in (stream.step, stream.push):
        for wrong in (10**6, -(10**6)):
            with pytest.raises(InputError, match="an index lies outside its table"):
                verb(np.array([wrong]))
    stream.x[...] = 10**6
    with pytest.raises(InputError, match="an index lies outside its table"):
        stream.advance()
    assert stream.save() == before
    np.testing.assert_array_equal(np.concatenate([head, stream.push(ids[2:])]), model(ids))


# --- threads ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file whose steps take long."""
    path = tmp_path_factory.mktemp("wide") / "wide.ernn"
    torch.manual_seed(0)
    export_model(nn.GRU(256, 512, batch_first=True), torch.randn(1, 20, 256), path)
    return path


def test_long_steps_let_other_threads_run(wide: Path, exported: Exporter) -> None:
    """While one is on its way, another thread's call on the same stream is refused; short ones are never in the way."""
    assert edgernn.load(wide)._engine._long_steps
    assert not edgernn.load(exported("GRU").ernn)._engine._long_steps
    model = _engine.Model(wide.read_bytes(), "wide")
    for long_steps in (True, False):
        stream = _engine.Stream(model, 0, "scalar", long_steps)
        refused = _refusals(stream)
        assert (refused > 0) == long_steps
        stream.run()  # free again


def _refusals(stream: _engine.Stream) -> int:
    """How often one of two threads is refused, over many steps or until it was."""
    refused, done, start = 0, threading.Event(), threading.Barrier(2)

    def work() -> None:
        nonlocal refused
        start.wait()
        for _ in range(200):
            if done.is_set():
                return
            try:
                stream.run()
            except StateError:
                refused += 1
                done.set()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return refused


def test_one_stream_in_many_threads_does_not_crash(wide: Path) -> None:
    """It is the caller's mistake; whatever comes out is an array or an error of ours."""
    stream = edgernn.load(wide).stream()
    x, wrong = noise((1, 256)), []

    def work() -> None:
        for _ in range(30):
            try:
                stream.step(x)
                stream.prefetch()
                stream.restore(stream.save())
                stream.push(x)
                stream.reset()
            except StateError:
                continue
            except Exception as error:  # whatever it is, it is wrong
                wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    stream.reset()
    np.testing.assert_array_equal(stream.step(x), edgernn.load(wide).stream().step(x))


# --- memory ----------------------------------------------------------------------------------------------------------


def test_views_keep_their_stream_alive(exported: Exporter) -> None:
    """What a caller holds stays valid; what nobody holds is freed at once, without the collector of cycles."""
    model = edgernn.load(exported("GRU").ernn)
    stream = model.stream()
    y, result = stream.y, stream.step(noise((1, 8)))
    gone = weakref.ref(stream)
    gc.disable()
    try:
        del stream, model
        assert gone() is None
    finally:
        gc.enable()
    np.testing.assert_array_equal(y, result)


def test_a_step_allocates_nothing(exported: Exporter) -> None:
    """Results that were dropped are given again: the loop below lives on two arrays."""
    stream = edgernn.load(exported("GRU").ernn).stream()
    x = noise((1, 8))
    addresses = set()
    for _ in range(100):
        result = stream.step(x)
        addresses.add(result.ctypes.data)
    assert len(addresses) == 2


def test_memory_is_aligned_and_outputs_are_not_written(exported: Exporter) -> None:
    stream = edgernn.load(exported("two outputs, two rates").ernn).stream()
    for array in (*stream.inputs.values(), *stream.outputs.values()):
        assert array.ctypes.data % 64 == 0
    for array in stream.outputs.values():
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


# --- calls that mean no good -----------------------------------------------------------------------------------------


@pytest.fixture
def model(exported: Exporter) -> _engine.Model:
    return _engine.Model(exported("GRU").ernn.read_bytes(), "m.ernn")


def test_objects_are_whole_or_are_not(model: _engine.Model) -> None:
    """No way leads to an object without its parts."""
    for kind in (_engine.Model, _engine.Stream, _engine.Buffer, _engine.Step):
        for make in (kind, lambda kind=kind: kind.__new__(kind), lambda kind=kind: object.__new__(kind)):
            with pytest.raises(TypeError):
                make()
        with pytest.raises(TypeError, match="not an acceptable base type"):
            type("Sub", (kind,), {})
        with pytest.raises(TypeError):
            kind.spec = None
    for wrong in (None, "text", 3, object()):
        with pytest.raises(TypeError):
            _engine.Model(wrong, "m")
        with pytest.raises(TypeError):
            _engine.Stream(wrong, 0, None)


def test_stub_is_of_this_module() -> None:
    """`_engine.pyi` declares what there is, no more and no less."""
    tree = ast.parse((Path(engine.__file__).parent.parent / "_engine.pyi").read_text("utf-8"))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {name for name in vars(_engine) if not name.startswith("_")} == {*classes, *functions}
    for name, node in classes.items():
        methods = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
        fields = {
            item.target.id
            for item in node.body
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        }
        declared = {item for item in methods | fields if not item.startswith("__")}
        assert declared == {item for item in vars(getattr(_engine, name)) if not item.startswith("__")}


def test_bytes_that_are_no_file(model: _engine.Model, exported: Exporter) -> None:
    data = exported("GRU").ernn.read_bytes()
    for wrong, text in ((b"", r"truncated \(engine status 2\)"), (data[:100], "truncated"), (bytes(200), "no .ernn")):
        with pytest.raises(ModelFileError, match=text) as caught:
            _engine.Model(wrong, "m.ernn")
        assert caught.value.place == "m.ernn"
    newer = data[:4] + b"\xff" + data[5:]
    with pytest.raises(ModelFileError, match="newer engine") as caught:
        _engine.Model(newer, "m.ernn")
    assert caught.value.hint == "update edgernn"
    assert _engine.Model(memoryview(data), "m").ports(0) == model.ports(0)
    with pytest.raises(BufferError):
        _engine.Model(memoryview(data)[::2], "m")


def test_numbers_and_names_that_are_not_there(model: _engine.Model) -> None:
    stream = _engine.Stream(model, 0, None)
    for call in (model.spec, model.summary, model.ports, model.stream_bytes):
        with pytest.raises(ModelFileError, match="no such program"):
            call(1)
        for wrong in (-1, 2**64):
            with pytest.raises(OverflowError):
                call(wrong)
        with pytest.raises(TypeError):
            call("0")
    for port in (stream.input, stream.output, stream.state):
        for number in (1, 2**32, 2**63):
            with pytest.raises(IndexError):
                port(number)
        for wrong in (-1, 2**64):
            with pytest.raises(OverflowError):
                port(wrong)
    for isa in ("mmx", "", "scalar "):
        with pytest.raises(ModelFileError, match="does not have that instruction set"):
            _engine.Stream(model, 0, isa)
        with pytest.raises(ModelFileError, match="does not have that instruction set"):
            model.selftest(0, isa)
    with pytest.raises(ValueError, match="null"):
        _engine.Stream(model, 0, "scalar\0x")


def test_a_step_takes_arrays_of_its_streams_size(model: _engine.Model, exported: Exporter) -> None:
    stream, other = (_engine.Stream(model, 0, None) for _ in range(2))
    x, y = np.asarray(stream.input(0)), np.asarray(stream.output(0))
    for wrong in ((x[..., :3], y), (x, y[..., :3]), (np.stack([x, x]), np.stack([y, y]))):
        with pytest.raises(ValueError, match="not of the streams' only port"):
            _engine.Step((stream,), *wrong)
    with pytest.raises(ValueError, match="not of the streams' only port"):
        _engine.Step((stream, other), x, y)
    for half in ((x, None), (None, y)):
        with pytest.raises(TypeError):
            _engine.Step((stream,), *half)
    with pytest.raises(AttributeError, match="copy"):
        _engine.Step((stream,), x, memoryview(y))
    two = _engine.Stream(_engine.Model(exported("two inputs").ernn.read_bytes(), "two"), 0, None)
    with pytest.raises(ValueError, match="not of the streams' only port"):
        _engine.Step((two,), x, y)


def test_a_step_takes_different_streams_of_one_program(model: _engine.Model, exported: Exporter) -> None:
    stream, other = (_engine.Stream(model, 0, None) for _ in range(2))
    stranger = _engine.Stream(_engine.Model(exported("GRU").ernn.read_bytes(), "m.ernn"), 0, None)
    for wrong in ((stream, other, stream), (stream, stranger)):
        with pytest.raises(ValueError, match="different streams of one program"):
            _engine.Step(wrong)
    with pytest.raises(ValueError, match="one stream or more"):
        _engine.Step(())
    for odd in ((stream, None), [stream], stream):
        with pytest.raises(TypeError):
            _engine.Step(odd)
    step = _engine.Step((stream, other))
    x, y = np.asarray(stream.input(0)), np.asarray(stream.output(0))
    assert step.step(np.stack([x, x]), np.stack([y, y])) is None
    assert (stream.steps, other.steps) == (0, 0)
    step.run()
    assert (stream.steps, other.steps) == (1, 1)


def test_arrays_that_a_step_leaves_to_others(model: _engine.Model) -> None:
    """It gives None and has done nothing, for whatever is not exactly an array like its own."""
    stream = _engine.Stream(model, 0, None)
    x, y, state = (np.asarray(buffer) for buffer in (stream.input(0), stream.output(0), stream.state(0)))
    step = _engine.Step((stream,), x, y).step
    good, out = noise(x.shape), np.zeros_like(y)
    locked = out.copy()
    locked.flags.writeable = False
    huge = np.broadcast_to(np.float32(1), (2**40, *x.shape[1:]))
    for given, into in (
        *((wrong, None) for wrong in (None, "x", 3, [1.0], good[0], good[..., :4], good.view("i4"), good.astype("d"))),
        *((wrong, None) for wrong in (huge, good.astype(">f4"), np.repeat(good, 2, -1)[..., ::2], good.tobytes())),
        *((good, wrong) for wrong in ("y", locked, out[0], out.view("i4"), out.astype("d"), out.tobytes(), y)),
    ):
        assert step(given, into) is None
    assert not state.any()
    for arguments in ((), (good,), (good, None, None)):
        with pytest.raises(TypeError, match="takes x and out"):
            step(*arguments)
    assert step(good, out) is out
    assert state.any()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="a class in Python cannot export a buffer")
def test_an_array_that_raises_is_heard(model: _engine.Model) -> None:
    """An error that is not about the array's form is the caller's to see."""

    class Odd:
        def __buffer__(self, flags: int) -> memoryview:
            raise RuntimeError("no")

    stream = _engine.Stream(model, 0, None)
    x, y = np.asarray(stream.input(0)), np.asarray(stream.output(0))
    with pytest.raises(RuntimeError, match="no"):
        _engine.Step((stream,), x, y).step(Odd(), None)


def test_refused_by_load(exported: Exporter, tmp_path: Path) -> None:
    """Threads that it does not have; a contract that is not that of the tables, the content hash right."""
    path = exported("GRU").ernn
    with pytest.raises(InputError, match="2 threads"):
        edgernn.load(path, threads=2)
    text = path.read_bytes()
    for before, after, message in (
        (b'"shape":[1,1,8]', b'"shape":[1,1,9]', "different inputs: only the"),
        (b'"shape":[1,16]', b'"shape":[2,16]', "different states: only the"),
    ):
        assert before in text
        (tmp_path / "m.ernn").write_bytes(content.seal(text.replace(before, after)))
        with pytest.raises(ModelFileError, match=message):
            edgernn.load(tmp_path / "m.ernn")
