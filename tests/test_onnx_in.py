"""ONNX files that others made become streams that give what the files give."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import edgernn
from edgernn.export import StepResult, export_onnx
from edgernn.export.onnx_in.registry import read_names
from edgernn.program import Array

from onnx_graphs import CASES, Case

SUFFIXES = (".onnx", ".ernn")


def export(folder: Path, model: onnx.ModelProto, suffix: str = ".ernn", **options: Any) -> StepResult:
    """Export a model; the proof has then run on the suffix's runtime."""
    source = folder / "theirs.onnx"
    onnx.save(model, source)
    result = export_onnx(source, folder / f"ours{suffix}", **options)
    assert result.proof.max_error <= 1e-5
    return result


def run(result: StepResult, x: Array) -> dict[str, Array]:
    """A stream's outputs by name."""
    made = edgernn.load(result.path)(x)
    return made if isinstance(made, dict) else {result.program.spec.outputs[0].name: made}


def backend_cases() -> list[Any]:
    """ONNX's own cases of the recurrent operations."""
    node = importlib.import_module("onnx.backend.test.case.node")
    for kind in ("gru", "lstm", "rnn"):
        importlib.import_module(f"onnx.backend.test.case.node.{kind}")
    return [case for case in node._NodeTestCases if case.model.graph.node[0].op_type in ("GRU", "LSTM", "RNN")]


def test_onnx_has_as_many_cases_as_we_know_of() -> None:
    assert len(backend_cases()) >= 18


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in backend_cases()])
def test_the_backend_cases_of_onnx(tmp_path: Path, case: Any, suffix: str) -> None:
    """Batch first, peepholes, both directions, initial biases: each equal to ONNX's own numbers."""
    (inputs, outputs) = case.data_sets[0]
    names = [item.name for item in case.model.graph.input]
    held = dict(zip(names[1:], inputs[1:], strict=True))
    result = export(tmp_path, case.model, suffix, held=held)
    found = run(result, inputs[0].reshape(1, *result.program.spec.inputs[0].frame))
    for item, wanted in zip(case.model.graph.output, outputs, strict=True):
        np.testing.assert_allclose(found[item.name].reshape(wanted.shape), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{case.op}-{index}") for index, case in enumerate(CASES)])
def test_an_operation(tmp_path: Path, case: Case) -> None:
    """Each form of each operation, against onnxruntime."""
    export(tmp_path, case.model())


def test_every_operation_that_is_read_has_a_case() -> None:
    elsewhere = {"GRU", "LSTM", "RNN", "If", "Loop", "Scan", "Scatter", "And", "Or", "Not", "Xor", "Equal"}
    assert set(read_names()) - {case.op for case in CASES} <= elsewhere
