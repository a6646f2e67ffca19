"""Long streams of models trained on short sequences: warm-up, and fresh states that fade in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_stream import noise
from torch import Tensor, nn

import edgernn
from edgernn.errors import InputError, StateError
from edgernn.export import export_model

from conftest import Exporter, Loader
from families import FEATURES, Lambda, frames

STRIDED = "CRNN symmetric, strided"  # hop 6


class Forgetting(nn.Module):
    """y = 0.5 y + x: after n frames the state of before is 2^-n of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(FEATURES, FEATURES, nonlinearity="relu", bias=False, batch_first=True)
        self.rnn.weight_ih_l0.data = torch.eye(FEATURES)
        self.rnn.weight_hh_l0.data = torch.eye(FEATURES) / 2

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x.abs() + 1)[0]


def test_warmup_is_measured(tmp_path: Path) -> None:
    """Halved with every frame, a state is 40 dB below after 6 or 7; a sum never forgets; the length is kept."""
    made = export_model(Forgetting(), frames(), tmp_path / "m.onnx", train_length=100)
    spec = edgernn.load(made.path).spec
    assert spec.warmup in (6, 7)
    assert spec.train_length == 100
    export_model(Lambda(lambda m, x: torch.cumsum(x, 1)), frames(), tmp_path / "sum.onnx")
    total = edgernn.load(tmp_path / "sum.onnx")
    assert total.spec.warmup is None
    with pytest.raises(InputError, match="do not forget"):
        total.stream(reset_every=1000)


def test_fresh_states_take_over(exported: Exporter, load: Loader) -> None:
    """Before a turn the stream is the old one, behind it a stream that began there; between them it moves across."""
    model = load(STRIDED)
    hop, warmup = model.spec.hop, model.spec.warmup
    assert warmup is not None
    lead = -(-warmup // hop)
    every = (2 * lead + 3) * hop
    x = noise(model, 3 * every)
    got = model.stream(reset_every=every).step(x)
    old, fresh = model.stream().step(x), model.stream().step(x[every:])
    turn = every // hop
    start, end = turn + lead, turn + 2 * lead  # steps of one output frame
    np.testing.assert_array_equal(got[:start], old[:start])
    np.testing.assert_array_equal(got[end : 2 * turn], fresh[end - turn : turn])
    for index in range(start, end):
        share = np.float32((index - start + 1) / (lead + 1))
        mixed = old[index] + share * (fresh[index - turn] - old[index])
        np.testing.assert_allclose(got[index], mixed, atol=1e-6)
    assert not np.array_equal(old[end], fresh[end - turn])
    assert np.abs(got - old).max() <= 0.02 * np.sqrt(np.mean(old**2)) + 1e-6  # each step's is within 1 % of the RMS


def test_saved_in_the_middle_of_a_turn(load: Loader) -> None:
    model = load(STRIDED)
    assert model.spec.warmup is not None
    hop, lead = model.spec.hop, -(-model.spec.warmup // model.spec.hop)
    every = 2 * lead * hop
    x = noise(model, 4 * every)
    expected = model.stream(reset_every=every).push(x)
    stream, cut = model.stream(reset_every=every), every + lead * hop + 2
    head = stream.push(x[:cut])
    other = model.stream(reset_every=every)
    other.restore(stream.save())
    np.testing.assert_array_equal(np.concatenate([head, other.push(x[cut:])]), expected)
    with pytest.raises(StateError, match=f"reset_every={every}, not {2 * every}"):
        model.stream(reset_every=2 * every).restore(stream.save())
    with pytest.raises(StateError, match="another layout"):
        model.stream().restore(stream.save())
    stream.reset()
    np.testing.assert_array_equal(stream.push(x), expected)


def test_rhythms_that_do_not_fit(load: Loader) -> None:
    model = load(STRIDED)
    assert model.spec.warmup is not None
    with pytest.raises(InputError, match="not a multiple of the hop, 6"):
        model.stream(reset_every=6 * 100 + 1)
    with pytest.raises(InputError, match=f"take {2 * -(-model.spec.warmup // 6) * 6} or more"):
        model.stream(reset_every=6)
