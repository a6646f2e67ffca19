"""N streams of a model that step together: the same bits as each by itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
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
    with pytest.raises(InputError, match="an integer; str came"):
        model.streams("a")


def test_a_sequence_of_streams(files: dict[str, Path]) -> None:
    streams = edgernn.load(files["int8.ernn"]).streams(COUNT)
    assert len(streams) == COUNT
    assert list(streams) == [streams[index] for index in range(COUNT)]
    assert len({id(stream) for stream in streams}) == COUNT
    assert streams[-1] is streams[COUNT - 1]
    assert streams[-COUNT] is streams[0]
    for bad in (COUNT, -COUNT - 1):
        with pytest.raises(IndexError):
            streams[bad]


def test_one_ends_while_others_go_on(files: dict[str, Path]) -> None:
    """Behind its flush the joint step is refused, until it is reset; by itself each other one goes on."""
    model = edgernn.load(files["int8.ernn"])
    x, streams, alone = frames_of(model, 2), model.streams(COUNT), model.stream()
    hop = model.spec.hop
    streams.step(x[:, :hop])
    alone.step(x[4, :hop])
    streams[3].flush()
    with pytest.raises(StateError, match="flushed"):
        streams.step(x[:, hop:])
    saved = alone.save()
    assert streams[4].save() == saved
    np.testing.assert_array_equal(streams[4].step(x[4, hop:]), alone.step(x[4, hop:]))
    streams[3].reset()
    streams[4].restore(saved)
    wanted = alone_of(model, x[3:4, :hop])
    np.testing.assert_array_equal(streams.step(np.repeat(x[3:4, :hop], COUNT, 0))[3], wanted[0])


def test_streams_in_two_threads(files: dict[str, Path]) -> None:
    model = edgernn.load(files["int8.ernn"])
    x = frames_of(model, 40)
    wanted = alone_of(model, x)
    with ThreadPoolExecutor(2) as pool:
        for result in pool.map(lambda _: model.streams(COUNT).step(x), range(2)):
            np.testing.assert_array_equal(result, wanted)


class Two(nn.Module):
    """Two inputs and two outputs, one of them ahead of the other: the model has a delay."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(5, 6, batch_first=True)
        self.conv = nn.Conv1d(6, 4, 5, padding=2)

    def forward(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        y = self.gru(torch.cat([x, z], 2))[0]
        return y, self.conv(y.transpose(1, 2)).transpose(1, 2)


def test_several_inputs_and_outputs_and_a_delay(tmp_path: Path) -> None:
    torch.manual_seed(1)
    export_model(Two().eval(), (torch.randn(1, 24, 3), torch.randn(1, 24, 2)), tmp_path / "two.ernn", name="two")
    model = edgernn.load(tmp_path / "two.ernn")
    assert max(port.delay for port in model.spec.outputs) == 2
    names = [port.name for port in model.spec.inputs]
    random = np.random.default_rng(2)
    given = {
        name: random.standard_normal((3, 9, size)).astype(np.float32) for name, size in zip(names, (3, 2), strict=True)
    }
    streams, alone = model.streams(3), [model.stream() for _ in range(3)]
    results = streams.step(given)
    assert isinstance(results, dict)
    for row, stream in enumerate(alone):
        wanted = stream.step({name: array[row] for name, array in given.items()})
        assert isinstance(wanted, dict)
        for name, array in wanted.items():
            np.testing.assert_array_equal(results[name][row], array)
    ends, wanted_ends = streams[1].flush(), alone[1].flush()  # what the delay holds back
    assert isinstance(ends, dict)
    assert isinstance(wanted_ends, dict)
    assert sorted(len(array) for array in ends.values()) == [0, 2]
    for name, array in wanted_ends.items():
        np.testing.assert_array_equal(ends[name], array)
    assert streams[0].save() == alone[0].save()
    with pytest.raises(InputError, match="single output"):
        model.streams(3).step(given, np.empty(3, np.float32))
