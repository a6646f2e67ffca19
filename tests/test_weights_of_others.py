"""Networks whose weights others trained, rebuilt in PyTorch: their own numbers, streamed on every back end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import edgernn
from edgernn.export import export_model

SUFFIXES = (".onnx", ".ernn")


class Stack(nn.Module):
    """RTNeural's test network: a layer, a stack of three, a linear layer."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        layer = {"gru": nn.GRU, "lstm": nn.LSTM}[kind]
        self.add_module(kind, layer(1, 8, batch_first=True))
        self.add_module(f"{kind}2", layer(8, 8, num_layers=3, batch_first=True))
        self.dense = nn.Linear(8, 1)
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        """x `[batch, time, 1]`."""
        first = getattr(self, self.kind)(x)[0]
        y: Tensor = self.dense(getattr(self, f"{self.kind}2")(first)[0])
        return y


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_rtneural_stacks(shared_data: Path, tmp_path: Path, kind: str, suffix: str) -> None:
    folder = shared_data / "models" / "rtneural"
    module = Stack(kind)
    weights = json.loads((folder / f"{kind}_torch.json").read_text())
    module.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    x, wanted = (np.loadtxt(folder / f"{kind}_torch_{name}.csv", dtype=np.float32).reshape(-1, 1) for name in "xy")
    path = export_model(module, torch.randn(1, 40, 1), tmp_path / f"stack{suffix}").path
    assert np.abs(edgernn.load(path)(x) - wanted).max() <= 1e-5 * np.abs(wanted).max()


class Encoder(nn.Module):
    """The letters' half of Kyubyong's g2p: its newest frame is what the decoder starts from."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(29, 256)
        self.gru = nn.GRU(256, 256, batch_first=True)
        names = {"weight_ih_l0": "w_ih", "weight_hh_l0": "w_hh", "bias_ih_l0": "b_ih", "bias_hh_l0": "b_hh"}
        self.gru.load_state_dict({ours: torch.from_numpy(weights[f"enc_{name}"]) for ours, name in names.items()})
        self.embedding.load_state_dict({"weight": torch.from_numpy(weights["enc_emb"])})

    def forward(self, letters: Tensor) -> Tensor:
        """letters int64 `[batch, time]`."""
        y: Tensor = self.gru(self.embedding(letters))[0]
        return y


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_g2p_encoder(shared_data: Path, tmp_path: Path, suffix: str) -> None:
    folder = shared_data / "models" / "g2p_gru"
    golden = np.load(folder / "golden.npz")
    module = Encoder(dict(np.load(folder / "checkpoint20.npz")))
    model = edgernn.load(export_model(module, torch.zeros(1, 12, dtype=torch.int64), tmp_path / f"g2p{suffix}").path)
    index = {letter: place for place, letter in enumerate(golden["graphemes"].tolist())}
    for word, wanted in zip(golden["words"].tolist(), golden["encoder_final"], strict=True):
        ids = np.array([index[letter] for letter in (*word, "</s>")])
        assert np.abs(model(ids)[-1] - wanted).max() <= 1e-5 * np.abs(wanted).max()
