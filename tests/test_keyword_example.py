"""The keyword example: its trained network, streamed frame by frame over real recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import edgernn
from edgernn.export import export_model
from examples import keyword_spotting as example

WEIGHTS = Path(__file__).parent / "golden" / "keyword" / "digits.pt"


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    made = example.KeywordSpotter().eval()
    made.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    return made


@pytest.fixture(scope="module")
def path(model: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("keyword") / "digits.onnx"
    export_model(model, torch.randn(1, 8000) / 10, target, labels=example.LABELS, rate_hz=example.RATE)
    return target


def test_contract(path: Path) -> None:
    spec = edgernn.load(path).spec
    assert (spec.hop, spec.delay, spec.latency) == (example.HOP, 0, example.HOP - 1)
    assert spec.outputs[0].rate_hz == 50


def test_streamed_posteriors_are_pytorchs(model: torch.nn.Module, path: Path) -> None:
    clips = example.load_clips(example.SYNTHETIC)
    streamed = edgernn.load(path)
    for clip, _ in clips.take(clips.is_test)[::40]:
        with torch.no_grad():
            whole = model(torch.from_numpy(clip)[None])[0].numpy()
        np.testing.assert_allclose(streamed(clip), whole, atol=1e-3)


def test_real_recordings(path: Path, shared_data: Path) -> None:
    """At least 93 % of the held-back human recordings, streamed in odd pieces through the exported file."""
    clips = example.load_clips(shared_data / "fsdd" / "fsdd_5speakers.npz")
    test = clips.take(clips.is_test)
    assert len(test) == 250
    assert example.streamed_accuracy(path, test) >= 0.93


def test_table_of_the_demo(path: Path) -> None:
    """Quantized as the demo does, on a few clips: a line for each file, the engine's under half of the float one."""
    clips = example.load_clips(example.SYNTHETIC)
    int8, ernn = example.quantize(path, clips.take(~clips.is_test)[::20])
    header, *lines = example.compare(
        {"a": path, "b": int8, "c": ernn}, clips.take(clips.is_test)[::30], 0.3
    ).splitlines()
    for name in ("accuracy", "bytes", "p50 µs", "p99 µs", "paced p50", "paced p99"):
        assert name in header
    assert [line.split()[0] for line in lines] == [path.name, int8.name, ernn.name]
    assert ernn.stat().st_size < path.stat().st_size / 2
    model = edgernn.load(ernn)
    assert (model.backend, model.spec.labels, model.spec.name) == ("engine", example.LABELS, "digits")


def test_synthetic_set(path: Path) -> None:
    """The repository's own clips: their number, their split, their length."""
    clips = example.load_clips(example.SYNTHETIC)
    assert (len(clips.audio), int(clips.is_test.sum())) == (480, 120)
    assert example.SYNTHETIC.stat().st_size < 3e6
    assert not set(clips.speaker[clips.is_test]) & set(clips.speaker[~clips.is_test])
    assert all(0.1 < len(clip) / example.RATE < 2 for clip in clips.audio)


def test_augmented_batch() -> None:
    """Labels lie behind the word; everything before it is background."""
    clips = example.load_clips(example.SYNTHETIC)
    audio, labels = example.augment(clips.take(clips.is_test)[:8], np.random.default_rng(0))
    assert audio.shape == (8, labels.shape[1] * example.HOP)
    for row, digit in zip(labels, clips.digit[clips.is_test][:8], strict=True):
        assert set(row.tolist()) <= {example.IGNORED, example.BACKGROUND, int(digit)}
        assert int((row == int(digit)).sum()) >= int(example.TAIL * example.RATE) // example.HOP - 2
