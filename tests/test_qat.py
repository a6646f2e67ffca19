"""Quantization-aware training: the module is the file, gradients reach every master, and DDP trains it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import edgernn
from edgernn.errors import QuantizeError
from edgernn.export import export_model
from edgernn.quantize import qat

from families import BY_NAME

FAMILIES = ("RNN tanh", "RNN relu", "GRU 2 layers, no bias", "LSTM", "LSTM proj_size", "newest state of GRU")
FAMILIES += ("CRNN symmetric", "TCN with cut ends", "residual GRUs, LayerNorm", "STFT centred, reflect")


@pytest.mark.parametrize("name", FAMILIES)
def test_the_file_is_the_module(name: str, tmp_path: Path) -> None:
    """In eval mode, in training mode and in the file: the same bits, also after a step of an optimizer."""
    module, example = BY_NAME[name].build()
    assert isinstance(example, Tensor)
    torch.manual_seed(0)
    frames = 8000 if example.ndim == 2 else 200
    model = qat.prepare(module, [torch.randn(2, frames, *example.shape[2:])])
    x = torch.randn(2, frames // 2, *example.shape[2:])
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    model(x).pow(2).mean().backward()
    reached = [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.parameters()]
    assert all(reached)
    optimizer.step()
    model.eval()
    with torch.no_grad():
        y = model(x)
    assert torch.equal(y, model.train()(x))
    model.save(tmp_path / "q.onnx")
    found = edgernn.load(tmp_path / "q.onnx", "reference")
    for row, wanted in zip(x, y, strict=True):
        assert np.array_equal(found(row.numpy()), wanted.numpy())


class Tagger(nn.Module):
    """A GRU and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(4, 12, batch_first=True)
        self.out = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.gru(x)[0])
        return y


def batch(seed: int) -> tuple[Tensor, Tensor]:
    """Input, and a slow running mean to learn."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((8, 40, 4)).astype(np.float32)
    y, state = np.empty((8, 40, 3), np.float32), np.zeros((8, 3))
    for t in range(40):
        state = 0.9 * state + 0.3 * x[:, t, :3]
        y[:, t] = state
    return torch.from_numpy(x), torch.from_numpy(y)


def test_an_ordinary_loop_trains_it() -> None:
    """Adam over BPTT lowers the loss of the integers."""
    torch.manual_seed(1)
    model = qat.prepare(Tagger(), [batch(i)[0] for i in range(4)])
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for step in range(80):
        x, y = batch(10 + step)
        loss = (model(x) - y).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.4 * np.mean(losses[:5])


def _worker(rank: int, port: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    torch.manual_seed(1)
    model = qat.prepare(Tagger(), [batch(0)[0]])
    parallel = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(parallel.parameters(), 0.1)
    for step in range(3):
        x, y = batch(2 * step + rank)
        optimizer.zero_grad()
        (parallel(x) - y).pow(2).mean().backward()
        optimizer.step()
    model.save(Path(folder) / f"{rank}.onnx")
    torch.distributed.destroy_process_group()


def test_two_processes(tmp_path: Path) -> None:
    """DistributedDataParallel over gloo: both processes end with the same file, that of the averaged gradients."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_worker, (port, str(tmp_path)), nprocs=2)
    assert (tmp_path / "0.onnx").read_bytes() == (tmp_path / "1.onnx").read_bytes()
    torch.manual_seed(1)
    model = qat.prepare(Tagger(), [batch(0)[0]])
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for step in range(3):
        optimizer.zero_grad()
        losses = [(model(x) - y).pow(2).mean() for x, y in (batch(2 * step), batch(2 * step + 1))]
        torch.stack(losses).mean().backward()
        optimizer.step()
    for name, array in qat_codes(tmp_path / "0.onnx").items():
        assert np.abs(array.astype(int) - model.program().parameters[name].astype(int)).max() <= 1


def qat_codes(path: Path) -> dict[str, np.ndarray]:
    """The int8 weights of a file."""
    from edgernn.export import read_program

    return {name: array for name, array in read_program(path).parameters.items() if array.dtype == np.int8}


def test_what_cannot_be_trained_says_so(tmp_path: Path) -> None:
    """Gradients through a cell of many operations, an export of what is integers, and no calibration at all."""
    module, _ = BY_NAME["Recurrent(LayerNormLSTM)"].build()
    model = qat.prepare(module, [torch.randn(2, 200, 8)])
    with pytest.raises(QuantizeError, match="a cell made of several operations"):
        model(torch.randn(1, 50, 8))
    with pytest.raises(QuantizeError, match=r"module\.save\(path\)"):
        export_model(model, torch.randn(1, 50, 8), tmp_path / "q.onnx")
    assert not list(tmp_path.iterdir())
    with pytest.raises(QuantizeError, match="no calibration data"):
        qat.prepare(Tagger(), [])
