"""N streams of a model that step together: the same bits as each by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

import edgernn
from edgernn.errors import InputError, StateError
from edgernn.export import convert_model, export_model
from edgernn.quantize import quantize_model
from edgernn.runtime.backends.engine import usable_isas
from edgernn.runtime.model import Model

Array = npt.NDArray[Any]
FEATURES, COUNT = 20, 19  # more streams than the engine joins at once


class Net(nn.Module):
    """A strided convolution, each recurrent layer, a projection, and a dense layer; sizes that fill no panel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(FEATURES, 40, 5, stride=2)
        self.gru = nn.GRU(40, 37, batch_first=True)
        self.lstm = nn.LSTM(37, 70, proj_size=21, batch_first=True)
        self.rnn = nn.RNN(21, 83, batch_first=True)
        self.dense = nn.Linear(83, 90)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.conv(nn.functional.pad(x.transpose(1, 2), (3, 0)))).transpose(1, 2)
        return torch.as_tensor(self.dense(self.rnn(self.lstm(self.gru(y)[0])[0])[0]))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The net as float and int8, for onnxruntime and the engine."""
    folder = tmp_path_factory.mktemp("streams")
    torch.manual_seed(3)
    export_model(Net().eval(), torch.randn(1, 24, FEATURES), folder / "float.onnx", name="net")
    data = [np.random.default_rng(3).standard_normal((60, FEATURES)).astype(np.float32)]
    quantize_model(folder / "float.onnx", data, folder / "int8.onnx", rounding="plain")
    for name in ("float", "int8"):
        convert_model(folder / f"{name}.onnx", folder / f"{name}.ernn")
    return {
        f"{name}{suffix}": folder / f"{name}{suffix}" for name in ("float", "int8") for suffix in (".onnx", ".ernn")
    }


def frames_of(model: Model, steps: int) -> Array:
    shape = (COUNT, steps * model.spec.hop, FEATURES)
    return np.random.default_rng(4).standard_normal(shape).astype(np.float32)


def alone_of(model: Model, x: Array) -> Array:
    """Each row through a stream of its own."""
    return np.stack([np.asarray(model.stream().step(row)) for row in x])


@pytest.mark.parametrize("isa", usable_isas())
@pytest.mark.parametrize("name", ["float.ernn", "int8.ernn"])
def test_each_has_its_own_bits(files: dict[str, Path], name: str, isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERNN_ISA", isa)
    model = edgernn.load(files[name])
    x, streams = frames_of(model, 9), model.streams(COUNT)
    alone = alone_of(model, x)
    assert alone[0].any()
    assert not np.array_equal(alone[0], alone[1])
    np.testing.assert_array_equal(streams.step(x), alone)


def test_a_stream_goes_its_own_way_between_joint_steps(files: dict[str, Path]) -> None:
    model = edgernn.load(files["int8.ernn"])
    hop, x, streams = model.spec.hop, frames_of(model, 3), model.streams(COUNT)
    alone = [model.stream() for _ in range(COUNT)]
    for index in range(3):
        part = x[:, index * hop : (index + 1) * hop]
        wanted = np.stack([np.asarray(stream.step(row)) for stream, row in zip(alone, part, strict=True)])
        np.testing.assert_array_equal(streams.step(part), wanted)
        for group in (alone, streams):
            group[2].reset()
            group[3].restore(group[5].save())
            group[17].step(x[0, :hop])


@pytest.mark.parametrize("name", ["int8.onnx", "int8.ernn"])
def test_results_in_place_and_in_out(files: dict[str, Path], name: str) -> None:
    model = edgernn.load(files[name])
    streams, other = model.streams(COUNT), model.streams(COUNT)
    x = frames_of(model, 1)
    wanted = alone_of(model, x)
    out = np.empty_like(wanted)
    assert streams.step(x, out) is out
    np.testing.assert_array_equal(out, wanted)
    for stream, row in zip(other, x, strict=True):
        stream.x[...] = row
    other.advance()
    np.testing.assert_array_equal(np.stack([stream.y for stream in other]), wanted)


def test_refusals_change_nothing(files: dict[str, Path]) -> None:
    model = edgernn.load(files["int8.ernn"])
    x, streams = frames_of(model, 1), model.streams(COUNT)
    saved = [stream.save() for stream in streams]
    with pytest.raises(InputError, match="19 streams take"):
        streams.step(x[:-1])
    with pytest.raises(InputError, match="0 frames came"):
        streams.step(x[:, :0])
    with pytest.raises(InputError, match="`out` does not fit"):
        streams.step(x, np.empty(3, np.float32))
    assert saved == [stream.save() for stream in streams]
    streams[7].push(x[7, : model.spec.hop - 1])
    saved = [stream.save() for stream in streams]
    with pytest.raises(StateError, match="wait"):
        streams.step(x)
    with pytest.raises(StateError, match="wait"):
        streams.advance()
    assert saved == [stream.save() for stream in streams]
    with pytest.raises(InputError, match="0 streams"):
        model.streams(0)
