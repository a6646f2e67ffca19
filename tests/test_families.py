"""Every family exports, proves itself, and gives the same frames in PyTorch, in NumPy and on onnxruntime."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch.utils._pytree import tree_leaves

import edgernn
from edgernn.export import export_model, read_program
from edgernn.interpret import Interpreter
from edgernn.spec import LEFT_UNKNOWN

import support
from conftest import Exporter
from families import ALL, BY_NAME

each_family = pytest.mark.parametrize(
    "name", [pytest.param(f.name, marks=pytest.mark.xdist_group(f.name)) for f in ALL]
)


@each_family
def test_contract(exported: Exporter, name: str) -> None:
    """Hop, delay and latency are those that the arithmetic of windows gives; the proof is in the file."""
    made, family = exported(name), BY_NAME[name]
    spec = edgernn.load(made.path).spec
    assert (spec.hop, spec.delay) == (family.hop, family.delay)
    assert spec.latency == max(-(-port.delay * port.period // port.group) for port in spec.outputs) + spec.hop - 1
    assert spec.proof["max_error"] <= 1e-5
    assert spec.proof["frames"] >= 4
    support.check(name, "streams", support.way(family))
    support.check(name, "delay", support.delay(spec.hop, spec.delay))
    error = spec.proof["max_error"]
    support.check(name, "onnxruntime", f"{error:.0e}", lambda stated: error <= 5 * float(stated))
    for state in spec.states:
        assert state.input.startswith("state.")
        assert state.output == f"{state.input}_out"


@each_family
def test_read_back_and_repeat(exported: Exporter, name: str) -> None:
    """The file gives the program it was written from; a second export gives the same bytes."""
    made, family = exported(name), BY_NAME[name]
    assert read_program(made.path) == made.result.program
    again = made.path.with_suffix(".again.onnx")
    export_model(made.module, made.example, again, family.time_axis, name="family", **family.options)
    assert again.read_bytes() == made.path.read_bytes()


@each_family
def test_file_is_valid_onnx(exported: Exporter, name: str) -> None:
    """The checker passes it, one node stands for one operation, and no cell is spelled out."""
    made = exported(name)
    model = onnx.load(made.path)
    onnx.checker.check_model(model, full_check=True)
    assert [node.name for node in model.graph.node] == [op.name for op in made.result.program.ops]
    kinds = [node.op_type.split(".")[0] for node in model.graph.node]
    recurrent = [m for m in made.module.modules() if isinstance(m, torch.nn.RNNBase)]
    layers = sum(m.num_layers * (2 if m.bidirectional else 1) for m in recurrent)
    assert sum(kind in ("GRU", "LSTM", "RNN") for kind in kinds) == layers


@each_family
def test_float_reference(exported: Exporter, name: str) -> None:
    """The NumPy reference of the operations gives what onnxruntime gives, step by step, states included."""
    made = exported(name)
    model = edgernn.load(made.path)
    spec, random = model.spec, np.random.default_rng(5)
    interpreter, stream = Interpreter(made.result.program), model.stream()
    for index in range(12):
        left = LEFT_UNKNOWN if index < 9 else (11 - index) * spec.hop - 1
        inputs = {port.name: _random(random, port.dtype, port.shape) for port in spec.inputs}
        expected = interpreter.step(inputs, left)
        for port in spec.inputs:
            stream.inputs[port.name][...] = inputs[port.name].reshape(stream.inputs[port.name].shape)
        if stream._stepper.left is not None:
            stream._stepper.left[...] = left
        stream.advance()
        for output in spec.outputs:
            if (index + 1) * output.shape[0] > output.delay + output.shape[0]:
                got = stream.outputs[output.name]
                np.testing.assert_allclose(got, expected[output.name].reshape(got.shape), rtol=2e-4, atol=2e-5)


@each_family
def test_model_call_equals_pytorch(exported: Exporter, name: str) -> None:
    """`Model(x)` gives what the module gave, for a length that no export or proof has seen."""
    made, family = exported(name), BY_NAME[name]
    model = edgernn.load(made.path)
    example = made.example if isinstance(made.example, tuple) else (made.example,)
    hop = model.spec.hop
    length = 37 * hop + 1 + model.spec.latency
    length = length // hop * hop if family.whole_hops else length
    random = np.random.default_rng(6)
    whole, given = [], []
    for tensor, port in zip(example, model.spec.inputs, strict=True):
        frames = _random(random, port.dtype, (length, *port.frame))
        given.append(frames)
        shape = [length if axis == family.time_axis else size for axis, size in enumerate(tensor.shape)]
        whole.append(
            torch.from_numpy(np.moveaxis(frames.reshape(length, 1, *port.frame), 0, family.time_axis).reshape(shape))
        )
    with torch.no_grad():
        expected = made.module(*whole) if family.whole is None else family.whole(made.module, *whole)
    result = model(*given)
    outputs = list(result.values()) if isinstance(result, dict) else [result]
    for port, got, wanted in zip(model.spec.outputs, outputs, tree_leaves(expected), strict=False):
        np.testing.assert_allclose(got, wanted.numpy().reshape(got.shape), rtol=1e-4, atol=2e-5, err_msg=port.name)


@each_family
def test_engine_equals_onnxruntime(exported: Exporter, name: str) -> None:
    """In the same random pieces, to the last frame of the flush, within 1e-5 of the largest magnitude."""
    models = [edgernn.load(exported(name).of(backend)) for backend in ("onnxruntime", "engine")]
    spec, random = models[0].spec, np.random.default_rng(7)
    assert (models[1].spec.inputs, models[1].spec.states) == (spec.inputs, spec.states)
    length = 40 * spec.hop + spec.latency + 1
    inputs = {port.name: _random(random, port.dtype, (length, *port.frame)) for port in spec.inputs}
    cuts = np.unique(np.concatenate([[0, length], random.integers(0, length, 12)]))
    runs = []
    for model in models:
        stream = model.stream()
        pieces = [{name: array[start:end] for name, array in inputs.items()} for start, end in itertools.pairwise(cuts)]
        parts = [*(stream.push(piece) for piece in pieces), stream.flush()]
        names = [port.name for port in spec.outputs]
        runs.append([np.concatenate([p[n] if isinstance(p, dict) else p for p in parts]) for n in names])
    for expected, got in zip(*runs, strict=True):
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert set(models[1].selftest().values()) == {True}


def _random(random: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> Any:
    if dtype == "float32":
        return random.standard_normal(shape).astype(np.float32)
    return random.integers(0, 10, shape)
