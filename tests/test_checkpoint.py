"""Checkpoints: where the tensors are found, which prefixes go, which keys do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgernn.errors import WeightsError
from edgernn.export.checkpoint import describe, fit_weights, load_state_dict


class Net(nn.Module):
    """One of each layer that `inspect` recognises."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 4)
        self.conv = nn.Conv1d(4, 6, 3)
        self.bn = nn.BatchNorm1d(6)
        self.norm = nn.LayerNorm(6)
        self.rnn = nn.RNN(6, 5)
        self.gru = nn.GRU(5, 5, 2)
        self.lstm = nn.LSTM(5, 8, proj_size=3)
        self.both = nn.LSTM(3, 4, bidirectional=True)
        self.out = nn.Linear(8, 2)


def prefixed(prefix: str) -> dict[str, Any]:
    return {prefix + name: item for name, item in Net().state_dict().items()}


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        (prefixed(""), ""),
        ({"state_dict": prefixed("model.")}, "under `state_dict`, without their prefix `model.`"),
        ({"model": prefixed("module.")}, "under `model`, without their prefix `module.`"),
        ({"model_state_dict": prefixed("module._orig_mod."), "epoch": 3}, "prefix `module._orig_mod.`"),
    ],
)
def test_found_and_stripped(tmp_path: Path, saved: Any, said: str) -> None:
    path = tmp_path / "w.pt"
    torch.save(saved, path)
    module = Net()
    assert said in fit_weights(module, path)
    flat = saved if "table.weight" in saved else next(item for item in saved.values() if isinstance(item, dict))
    for name, item in module.state_dict().items():
        assert torch.equal(item, next(tensor for key, tensor in flat.items() if key.endswith(name)))


def test_named_entry_and_safetensors(tmp_path: Path) -> None:
    torch.save({"ema": prefixed("")}, tmp_path / "w.pt")
    assert "under `ema`" in fit_weights(Net(), tmp_path / "w.pt", "ema")
    with pytest.raises(WeightsError, match="has no entry `raw`"):
        load_state_dict(tmp_path / "w.pt", "raw")
    with pytest.raises(WeightsError, match="holds no state dict") as caught:
        load_state_dict(tmp_path / "w.pt")
    assert "ema" in caught.value.hint
    save_file(prefixed(""), tmp_path / "w.safetensors")
    fit_weights(Net(), tmp_path / "w.safetensors")


def test_keys_that_do_not_fit(tmp_path: Path) -> None:
    state = prefixed("module.")
    state["module.outt.weight"] = state.pop("module.out.weight")
    torch.save(state, tmp_path / "w.pt")
    module = Net()
    before = module.out.weight.clone()
    with pytest.raises(WeightsError, match=r"missing `out.weight` \(is it `outt.weight`\?\), unexpected `outt.weight`"):
        fit_weights(module, tmp_path / "w.pt")
    state["module.out.weight"] = torch.zeros(2, 9)
    del state["module.outt.weight"]
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"`out.weight` is \[2, 9\]; the module has \[2, 8\]"):
        fit_weights(module, tmp_path / "w.pt")
    assert torch.equal(module.out.weight, before)


class Evil:
    """An object that a careless load would run."""

    def __reduce__(self) -> Any:
        return (print, ("ran",))


def test_files_that_are_no_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"x": Evil()}, tmp_path / "evil.pt")
    (tmp_path / "text.pt").write_text("no weights")
    (tmp_path / "empty.pt").touch()
    (tmp_path / "text.safetensors").write_text("no weights")
    for name in ("evil.pt", "text.pt", "empty.pt", "text.safetensors", "none.pt"):
        with pytest.raises(WeightsError) as caught:
            load_state_dict(tmp_path / name)
        assert name in str(caught.value)
    assert "ran" not in capsys.readouterr().out


def test_layers_are_recognised(tmp_path: Path) -> None:
    torch.save(Net().state_dict(), tmp_path / "w.pt")
    rows = {row["layer"]: (row["kind"], row["shape"]) for row in describe(tmp_path / "w.pt")}
    assert rows == {
        "table": ("Linear or Embedding", "4 → 10"),
        "conv": ("Conv1d", "4 → 6, kernel [3]"),
        "bn": ("BatchNorm", "6"),
        "norm": ("norm", "6"),
        "rnn": ("RNN", "6 → 5, 1 layers"),
        "gru": ("GRU", "5 → 5, 2 layers"),
        "lstm": ("LSTM", "5 → 8, 1 layers, projected to 3"),
        "both": ("LSTM", "3 → 4, 1 layers, bidirectional"),
        "out": ("Linear", "8 → 2"),
    }
