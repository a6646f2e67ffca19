"""The public modules: the log-mel front end against its definition, `Recurrent` in its two forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from edgernn.nn import LogMel, Recurrent, mel_filters

from cells import EMA, LayerNormLSTM


def test_log_mel_by_its_definition() -> None:
    """Frame i is of the n_fft samples that end with sample (i + 1) * hop - 1."""
    module = LogMel(8000, 64, 20, 5, floor=1e-3)
    x = torch.randn(1, 210)
    got = module(x)
    assert got.shape == (1, 10, 5)
    padded = torch.cat([torch.zeros(44), x[0]])
    for index in range(10):
        piece = padded[index * 20 : index * 20 + 64] * torch.hann_window(64)
        power = torch.fft.rfft(piece).abs() ** 2
        expected = torch.log(power @ module.filters + 1e-3)
        torch.testing.assert_close(got[0, index], expected, rtol=1e-4, atol=1e-4)


def test_log_mel_is_causal() -> None:
    module, x = LogMel(8000, 64, 20, 5), torch.randn(1, 200)
    changed = x.clone()
    changed[0, 120:] = 0
    torch.testing.assert_close(module(changed)[:, :6], module(x)[:, :6])
    with pytest.raises(ValueError, match="hop_length"):
        LogMel(8000, 64, 80, 5)


def test_mel_filters_are_triangles_on_the_htk_scale() -> None:
    filters = mel_filters(16000, 512, 20, 0, 8000)
    assert filters.shape == (257, 20)
    assert float(filters.min()) == 0
    assert float(filters.max()) <= 1
    centre = (filters * torch.linspace(0, 8000, 257)[:, None]).sum(0) / filters.sum(0)
    mels = [2595 * math.log10(1 + float(f) / 700) for f in centre[4:]]
    steps = torch.tensor(mels).diff()
    assert float((steps - steps.mean()).abs().max() / steps.mean()) < 0.15


@pytest.mark.parametrize("cell", [EMA(6), LayerNormLSTM(6, 9)], ids=["EMA", "LayerNormLSTM"])
def test_recurrent_is_one_node_under_export_and_a_loop_in_eager(cell: nn.Module) -> None:
    module, x = Recurrent(cell).eval(), torch.randn(2, 11, 6)
    with torch.no_grad():
        program = torch.export.export(module, (x,), strict=False)
        targets = [str(node.target) for node in program.graph.nodes]
        assert targets.count("scan") == 1
        torch.testing.assert_close(program.module()(x), module(x))
    assert sum("sigmoid" in target for target in targets) == 0


def test_recurrent_trains() -> None:
    module, x = Recurrent(LayerNormLSTM(6, 9)), torch.randn(2, 5, 6)
    module(x).square().mean().backward()
    assert all(item.grad is not None and bool(item.grad.abs().sum() > 0) for item in module.parameters())
