"""Initial states, names, and what goes into the contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import edgernn
from edgernn.errors import ExportError
from edgernn.export import export_model, plan_export, read_program

from families import FEATURES, FRAMES, HIDDEN, Lambda, WithState, frames


def test_a_state_argument_is_the_initial_state(tmp_path: Path) -> None:
    """`forward(x, h)` with an example of h: the stream starts from that h."""
    module, x, h = WithState(nn.GRU(FEATURES, HIDDEN, batch_first=True)), frames(), torch.randn(1, 1, HIDDEN)
    path = tmp_path / "m.onnx"
    export_model(module, (x, h), path)
    model = edgernn.load(path)
    np.testing.assert_array_equal(model.spec.states[0].initial(), h[0].numpy())
    with torch.no_grad():
        expected = module(x, h)[0][0].numpy()
    np.testing.assert_allclose(model(x[0].numpy()), expected, atol=1e-6)


def test_lstm_states_as_arguments(tmp_path: Path) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(FEATURES, HIDDEN, 2)

        def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            y, (h, c) = self.lstm(x, (h, c))
            return y, h, c

    states = torch.randn(2, 1, HIDDEN), torch.randn(2, 1, HIDDEN)
    result = export_model(Net(), (torch.randn(FRAMES, 1, FEATURES), *states), tmp_path / "m.onnx", [0, None, None])
    spec = result.program.spec
    assert [port.name for port in spec.outputs] == ["output"]
    assert [state.input for state in spec.states] == [f"state.lstm.l{layer}.{s}" for layer in (0, 1) for s in "hc"]
    np.testing.assert_array_equal(spec.states[3].initial(), states[1][1].numpy())


def test_a_batch_in_the_example_and_a_module_without_one(tmp_path: Path) -> None:
    gru = nn.GRU(FEATURES, HIDDEN, batch_first=True)
    export_model(gru, torch.randn(5, FRAMES, FEATURES), tmp_path / "a.onnx")
    export_model(gru, torch.randn(FRAMES, FEATURES), tmp_path / "b.onnx", 0)
    x = torch.randn(30, FEATURES)
    with torch.no_grad():
        expected = gru(x)[0].numpy()
    for name in ("a.onnx", "b.onnx"):
        model = edgernn.load(tmp_path / name)
        assert model.spec.inputs[0].frame == (FEATURES,)
        np.testing.assert_allclose(model(x.numpy()), expected, atol=1e-6)


def test_contract_fields(tmp_path: Path) -> None:
    options: dict[str, Any] = {"name": "n", "model_version": "3", "labels": ["a"], "rate_hz": 50, "meta": {"k": "v"}}
    result = export_model(nn.GRU(FEATURES, 1, batch_first=True), frames(), tmp_path / "m.onnx", **options)
    spec = edgernn.load(tmp_path / "m.onnx").spec
    assert (spec.name, spec.model_version, spec.labels, dict(spec.meta)) == ("n", "3", ("a",), {"k": "v"})
    assert spec.provenance["versions"]["torch"] == torch.__version__
    assert spec.provenance["weights_sha256"] == result.program.spec.provenance["weights_sha256"]
    assert spec.receptive_field is None
    assert len(spec.content_sha256) == 64


@pytest.mark.parametrize("rate", [-5, 0, float("nan"), float("inf")])
def test_rate_that_is_none(tmp_path: Path, rate: float) -> None:
    module = nn.GRU(FEATURES, 1, batch_first=True)
    with pytest.raises(ExportError, match="hint: a rate is a positive number"):
        export_model(module, frames(), tmp_path / "m.onnx", rate_hz=rate)
    with pytest.raises(ExportError, match=f"come at {rate:g} Hz"):
        plan_export(module, frames(), rate_hz=rate)
    assert list(tmp_path.iterdir()) == []


def test_labels_are_of_features(tmp_path: Path) -> None:
    """One for each feature of an output, of several any; an output of no feature axis has one."""
    module = Lambda(lambda m, x: (x[:, :, :3], x.sum(-1), x))
    with pytest.raises(ExportError, match="2 labels for the output's features, 3 of `output_0`, 1 of `output_1`, 8 of"):
        export_model(module, frames(), tmp_path / "m.onnx", labels=["a", "b"])
    assert list(tmp_path.iterdir()) == []
    for labels in ("abc", "a", "abcdefgh"):
        made = export_model(module, frames(), tmp_path / "m.onnx", labels=list(labels))
        assert made.program.spec.labels == tuple(labels)


def test_receptive_field_of_convolutions(tmp_path: Path) -> None:
    module = Lambda(
        lambda m, x: m.b(m.a(x.transpose(1, 2))),
        a=nn.Conv1d(FEATURES, 4, 3, stride=2),
        b=nn.Conv1d(4, 4, 5, dilation=2),
    )
    result = export_model(module, frames(), tmp_path / "m.onnx")
    assert result.program.spec.receptive_field == 3 + 8 * 2


def test_tied_weights_are_stored_once(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(10, FEATURES)
            self.gru = nn.GRU(FEATURES, FEATURES, batch_first=True)
            self.out = nn.Linear(FEATURES, 10, bias=False)
            self.out.weight = self.table.weight

        def forward(self, ids: Tensor) -> Tensor:
            return self.out(self.gru(self.table(ids))[0])

    export_model(Tied(), torch.randint(0, 10, (1, FRAMES)), tmp_path / "m.onnx")
    program = read_program(tmp_path / "m.onnx")
    assert sum(array.shape == (10, FEATURES) for array in program.parameters.values()) == 1


def test_parameters_keep_their_names(tmp_path: Path) -> None:
    module = Lambda(lambda m, x: m.out(m.gru(x)[0]), gru=nn.GRU(FEATURES, 4, batch_first=True), out=nn.Linear(4, 2))
    result = export_model(module, frames(), tmp_path / "m.onnx")
    assert result.program.parameters.keys() == module.state_dict().keys()
    for name, tensor in module.state_dict().items():
        np.testing.assert_array_equal(result.program.parameters[name], tensor.numpy())
