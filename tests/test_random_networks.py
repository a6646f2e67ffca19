"""Random stacks of convolutions, paddings, cuts, norms and recurrent layers: each exports and proves itself.

The proof compares every frame at both ends, so a wrong delay, mask or hold anywhere in a stack fails here. A few run
in every test run; `make fuzz` runs many.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgernn.export import export_model, read_program
from edgernn.nn import Recurrent

from cells import EMA

COUNT = int(os.environ.get("EDGERNN_RANDOM_NETWORKS", "24"))
CHANNELS = 3


class Pad(nn.Module):
    """Zeros around a sequence, or frames cut off; [batch, channels, time]."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.before, self.after = before, after

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x, (self.before, self.after))

    def extra_repr(self) -> str:
        return f"{self.before}, {self.after}"


class Cut(nn.Module):
    """The frames from `start` up to `end` before the last."""

    def __init__(self, start: int, end: int) -> None:
        super().__init__()
        self.start, self.end = start, end

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, self.start : -self.end or None]

    def extra_repr(self) -> str:
        return f"{self.start}, {self.end}"


class OverTime(nn.Module):
    """A layer on [batch, time, features] in a network on [batch, channels, time]."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x.transpose(1, 2))
        return (y[0] if isinstance(y, tuple) else y).transpose(1, 2)


class Skip(nn.Module):
    """Two branches of equal length, of other delays, added."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.a = nn.Conv1d(CHANNELS, CHANNELS, 2 * a + 1, padding=a)
        self.b = nn.Conv1d(CHANNELS, CHANNELS, 2 * b + 1, padding=b)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.a(x)) + self.b(x)


class RunningSum(nn.Module):
    """Sum since the start, scaled by the index of the frame."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cumsum(x, -1) / (torch.arange(x.shape[-1]) + 1)


def random_network(seed: int) -> nn.Sequential:
    """Three to six random layers."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)

    def draw(low: int, high: int) -> int:
        return int(random.integers(low, high + 1))

    def conv() -> nn.Module:
        taps, stride, dilation = draw(1, 5), draw(1, 3), draw(1, 3)
        padding = "same" if stride == 1 and random.random() < 0.3 else draw(0, taps + 2)
        return nn.Conv1d(CHANNELS, CHANNELS, taps, stride, padding, dilation)

    def norm() -> nn.Module:
        made = nn.BatchNorm1d(CHANNELS)
        made.bias.data.normal_()
        return made

    layers = (
        conv,
        conv,
        conv,
        lambda: Pad(draw(-3, 6), draw(-3, 6)),
        lambda: Cut(draw(0, 3), draw(0, 3)),
        norm,
        nn.ReLU,
        lambda: Skip(draw(0, 3), draw(0, 3)),
        lambda: OverTime(nn.GRU(CHANNELS, CHANNELS, batch_first=True)),
        lambda: OverTime(nn.LSTM(CHANNELS, CHANNELS, batch_first=True)),
        lambda: OverTime(nn.LayerNorm(CHANNELS)),
        lambda: OverTime(Recurrent(EMA(CHANNELS))),
        RunningSum,
    )
    return nn.Sequential(*(layers[draw(0, len(layers) - 1)]() for _ in range(draw(3, 6)))).eval()


@pytest.mark.parametrize("seed", range(COUNT))
def test_random_network(tmp_path: Path, seed: int) -> None:
    network = random_network(seed)
    path = tmp_path / "m.onnx"
    result = export_model(network, torch.randn(1, CHANNELS, 200), path, time_axis=2)
    assert result.proof.max_error < 2e-5, network
    assert read_program(path) == result.program, network
