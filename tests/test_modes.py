"""Windows, whole sequences and lookahead: the contract, and what is refused; proofs are in tests/test_families.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import edgernn
from edgernn.errors import EdgeRNNError, InputError
from edgernn.export import export_model, plan_export
from edgernn.nn import lookahead

import refused
from families import FEATURES, WithState, frames


def test_offline_takes_its_own_length(tmp_path: Path) -> None:
    """A sequence as long as the example, as a whole; the error for another says what to do."""
    module = refused.BothWays().eval()
    export_model(module, frames(), tmp_path / "m.onnx", mode="offline")
    model = edgernn.load(tmp_path / "m.onnx")
    assert (model.spec.mode, model.spec.hop, model.spec.warmup) == ("offline", 24, 0)
    x = torch.randn(1, 24, FEATURES)
    with torch.no_grad():
        np.testing.assert_allclose(model(x[0].numpy()), module(x)[0].numpy(), atol=1e-5)
    for length in (23, 25, 48):
        with pytest.raises(InputError, match=f"{length} frames came; the model was made for sequences of 24"):
            model(np.zeros((length, FEATURES), np.float32))


def test_windows_of_a_tensor_with_time_last(tmp_path: Path) -> None:
    """`[batch, features, time]`, and a bare module that returns its state, one a window."""
    module = nn.Sequential(nn.Conv1d(FEATURES, 4, 3), nn.Softmax(2)).eval()
    export_model(module, torch.randn(1, FEATURES, 24), tmp_path / "m.onnx", 2, mode="window:8")
    x = torch.randn(1, FEATURES, 17)
    got = edgernn.load(tmp_path / "m.onnx")(x[0].T.numpy())
    with torch.no_grad():
        expected = torch.cat([module(x[..., :8]), module(x[..., 8:16])], 2)
    np.testing.assert_allclose(got, expected[0].T.numpy(), atol=1e-6)
    both = nn.GRU(FEATURES, 4, bidirectional=True)
    export_model(both, torch.randn(24, 1, FEATURES), tmp_path / "s.onnx", 0, mode="window:8")
    y, h = edgernn.load(tmp_path / "s.onnx")(x[0].T.numpy()).values()
    with torch.no_grad():
        expected_y, expected_h = both(x.permute(2, 0, 1)[8:16])
    np.testing.assert_allclose(y[8:], expected_y[:, 0].numpy(), atol=1e-6)
    np.testing.assert_allclose(h[1], expected_h[:, 0].numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("make", "options", "text"),
    [
        (refused.Tagger, {"mode": "windows:8"}, "is no mode"),
        (refused.Tagger, {"mode": "window:0"}, "is no mode"),
        (refused.Tagger, {"mode": "window:8", "lookahead": 4}, "windows take no lookahead"),
        (refused.Tagger, {"lookahead": "4.5"}, "is no lookahead"),
        (refused.Tagger, {"lookahead": "4/0"}, "is no lookahead"),
        (refused.Tagger, {"lookahead": "320ms"}, "unknown rate"),
        (lambda: nn.GRU(FEATURES, 4, batch_first=True), {"lookahead": 4}, "no bidirectional layer"),
        (
            lambda: nn.LSTM(FEATURES, 4, batch_first=True, bidirectional=True, proj_size=2),
            {"lookahead": 4},
            "proj_size",
        ),
        (refused.Packed, {"mode": "window:8"}, "PackedSequence"),
    ],
)
def test_refused(tmp_path: Path, make: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises(EdgeRNNError, match=text) as caught:
        export_model(make(), frames(), tmp_path / "m.onnx", **options)
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_windows_without_a_state_argument(tmp_path: Path) -> None:
    example = (frames(), torch.zeros(1, 1, 4))
    with pytest.raises(EdgeRNNError, match="initial state, which windows don't have"):
        export_model(
            WithState(nn.GRU(FEATURES, 4, batch_first=True)), example, tmp_path / "m.onnx", [1, None], mode="window:8"
        )


def test_lookahead_of_a_time(tmp_path: Path) -> None:
    """In frames of the layer: 80 ms at 100 Hz behind a stride of 2 are 4."""
    module = nn.Sequential(nn.Conv1d(FEATURES, FEATURES, 2, 2), _Turned(nn.GRU(FEATURES, 4, bidirectional=True)))
    made = export_model(module, torch.randn(1, FEATURES, 24), tmp_path / "m.onnx", 2, rate_hz=100, lookahead="80ms")
    assert made.program.spec.provenance["options"] == {"lookahead": {"1.rnn": [4, 1]}}
    assert (made.program.spec.hop, made.program.spec.latency) == (2, 9)


def test_plans_of_modes() -> None:
    """A dry run in a mode; what blocks there too is found."""
    assert plan_export(refused.Tagger(), frames(), mode="window:12/4").report().startswith("streams: hop 4, delay 2 ")
    plan = plan_export(refused.Tagger(), frames(), lookahead="8/4")
    assert plan.spec is not None
    assert sum(step.delay for step in plan.steps) == plan.spec.delay == 16
    cumulative = plan_export(_Summed(), frames(), mode="window:12")
    assert [item.place for item in cumulative.blockers] == ["`forward`, `cumsum`"]


def test_all_the_future_is_the_whole_layer() -> None:
    """With as much lookahead as there are frames, what is left of the difference is the end."""
    layer = nn.GRU(FEATURES, 4, batch_first=True, bidirectional=True, num_layers=1)
    x = torch.randn(1, 200, FEATURES)
    with torch.no_grad():
        whole, state = layer(x)
        with lookahead(layer, {"": (200, 1)}):
            near, zeros = layer(x)
    assert zeros.shape == state.shape
    torch.testing.assert_close(near[:, :100], whole[:, :100], rtol=0, atol=1e-4)


class _Turned(nn.Module):
    """Time first, and last again."""

    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.rnn(x.permute(2, 0, 1))[0].permute(1, 2, 0)
        return y


class _Summed(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cumsum(x, 1)
