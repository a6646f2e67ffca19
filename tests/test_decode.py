"""Language models token by token: PyTorch's tokens, a state that outlives a restart, tied weights kept once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import edgernn
from edgernn import DecodingSpec
from edgernn.cli import edgernn as cli
from edgernn.errors import ExportError, InputError, SpecError
from edgernn.export import export_decoder, read_program
from edgernn.export.to_ernn import pack
from edgernn.quantize import quantize_model
from edgernn.runtime import decode
from edgernn.spec import StreamSpec

import seq2seq

VOCABULARY, FEATURES = 40, 24
LOOP = DecodingSpec(start_token=1, stop_token=2, max_length=30, max_beam=4)
LABELS = [f"w{index}" for index in range(VOCABULARY)]


@pytest.fixture(scope="module")
def model() -> seq2seq.NextToken:
    torch.manual_seed(5)
    made = seq2seq.NextToken(VOCABULARY, FEATURES, FEATURES, nn.GRU, 1, tied=True)
    for parameter in made.rnn.parameters():
        parameter.data *= 3
    made.logits.bias.data[2] -= 4
    return made


@pytest.fixture(scope="module")
def files(model: seq2seq.NextToken, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The language model as `.onnx` and `.ernn`, in float and in int8."""
    folder = tmp_path_factory.mktemp("lm")
    tokens = torch.randint(0, VOCABULARY, (1, 24))
    found = {name: folder / name for name in ("lm.onnx", "lm.ernn", "int8.onnx", "int8.ernn")}
    export_decoder(model, tokens, found["lm.onnx"], LOOP, labels=LABELS)
    found["lm.ernn"].write_bytes(pack(read_program(found["lm.onnx"])))
    data = [np.random.default_rng(seed).integers(0, VOCABULARY, 40) for seed in range(6)]
    made = quantize_model(found["lm.onnx"], data, found["int8.onnx"])
    found["int8.ernn"].write_bytes(pack(made.program))
    return found


def _prompted(model: seq2seq.NextToken, prompt: list[int]) -> tuple[seq2seq.Step, tuple[torch.Tensor, ...], int]:
    """PyTorch's step, and its state and token behind a prompt."""
    step, state = seq2seq.loop_step(model), ()
    line = [1, *prompt]
    for token in line[:-1]:
        _, state = step(token, state)
    return step, state, line[-1]


@pytest.mark.parametrize("name", ["lm.onnx", "lm.ernn"])
@torch.no_grad()
def test_prompts_go_on_as_in_pytorch(model: seq2seq.NextToken, files: dict[str, Path], name: str) -> None:
    loaded = edgernn.load(files[name])
    for prompt in ([], [7, 3, 9]):
        step, state, token = _prompted(model, prompt)
        wanted = seq2seq.greedy(step, state, token, 2, 30)
        assert loaded.generate(prompt) == wanted
        assert len(wanted) > 3
        assert loaded.generate(prompt, method="beam", beam=3) == seq2seq.beam(step, state, token, 2, 30, 3)
        for seed in range(4):
            sampled = seq2seq.sample(step, state, token, 2, 30, 1.3, 10, seed)
            assert loaded.generate(prompt, method="sample", temperature=1.3, top_k=10, seed=seed) == sampled


def test_a_conversation_outlives_a_restart(files: dict[str, Path]) -> None:
    whole = edgernn.load(files["int8.ernn"]).generate([5], max_length=12)
    first = edgernn.load(files["int8.ernn"])
    stream = first.stream()
    begun = first.generate([5], stream=stream, max_length=5)
    saved = stream.save()
    later = edgernn.load(files["int8.ernn"])
    stream = later.stream()
    stream.restore(saved)
    assert begun + later.generate(begun[-1:], stream=stream, max_length=7) == whole
    with pytest.raises(InputError, match="no token to go on from"):
        later.generate(stream=stream)


def test_int8_tokens_are_the_references(files: dict[str, Path]) -> None:
    engine, exact = edgernn.load(files["int8.ernn"]), edgernn.load(files["int8.onnx"], "reference")
    for options in ({}, {"method": "beam"}, {"method": "sample", "seed": 3}, {"method": "sample", "top_k": 4}):
        assert engine.generate([4, 8], **options) == exact.generate([4, 8], **options)


def test_tied_weights(model: seq2seq.NextToken, files: dict[str, Path]) -> None:
    """The ONNX file keeps the table once; a `.ernn` keeps rows for the embedding and panels for the product."""
    parameters = read_program(files["lm.onnx"]).parameters
    assert sum(array.shape == (VOCABULARY, FEATURES) for array in parameters.values()) == 1


def test_a_finished_beam_is_not_lost(files: dict[str, Path]) -> None:
    loaded = edgernn.load(files["lm.ernn"])
    stream = loaded.stream()
    found = decode.beam_search(stream, beam=4, max_length=6)
    assert len(found) == 4
    assert [item.score for item in found] == sorted((item.score for item in found), reverse=True)
    again = decode.beam_search(loaded.stream(), beam=4, max_length=6)
    assert found == again


def test_sampling_is_that_of_the_distribution() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05]))
    choose = decode.sampler(seed=1)
    counts = np.bincount([choose(logits) for _ in range(4000)], minlength=4) / 4000
    np.testing.assert_allclose(counts, [0.5, 0.3, 0.15, 0.05], atol=0.03)
    choose = decode.sampler(temperature=0.5, top_k=2, seed=1)
    counts = np.bincount([choose(logits) for _ in range(4000)], minlength=4) / 4000
    np.testing.assert_allclose(counts, [0.25 / 0.34, 0.09 / 0.34, 0, 0], atol=0.03)


def test_labels_are_of_tokens(model: seq2seq.NextToken, tmp_path: Path) -> None:
    """Padding at the vocabulary's end may go without."""
    tokens = torch.randint(0, VOCABULARY, (1, 24))
    with pytest.raises(ExportError, match="41 labels for 40 tokens"):
        export_decoder(model, tokens, tmp_path / "lm.onnx", LOOP, labels=[*LABELS, "one more"])
    assert list(tmp_path.iterdir()) == []
    export_decoder(model, tokens, tmp_path / "lm.onnx", LOOP, labels=LABELS[:-2])


def test_exp_is_exp() -> None:
    x = -np.geomspace(1e-12, 600, 5000)
    np.testing.assert_allclose(decode._exp(x), np.exp(x), rtol=1e-13)
    assert decode._exp(np.array([-1e6]))[0] < 1e-300  # which no sum of probabilities sees


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stop_token": VOCABULARY}, "token 40"),
        ({"max_beam": 0}, "max_beam"),
        ({"logits": "other"}, "outputs"),
        ({"memory": "token"}, "inputs"),
        ({"starts": [{"state": "x", "output": "y"}]}, "start of `x`"),
    ],
)
def test_contracts_that_contradict_themselves(files: dict[str, Path], change: dict[str, object], message: str) -> None:
    contract = json.loads(edgernn.load(files["lm.onnx"]).spec.to_json())
    contract["decoding"] |= change
    with pytest.raises(SpecError, match=message):
        StreamSpec.from_json(json.dumps(contract))


def test_command(files: dict[str, Path]) -> None:
    words = ["generate", str(files["lm.ernn"]), "--prompt", "7,3", "--max-length", "4"]
    result = CliRunner().invoke(cli, words)
    lines = [json.loads(line) for line in result.output.splitlines()]
    wanted = edgernn.load(files["lm.ernn"]).generate([7, 3], max_length=4)
    assert [line["token"] for line in lines] == wanted
    assert [line["label"] for line in lines] == [LABELS[token] for token in wanted]
    assert "decodes at most 30 tokens" in CliRunner().invoke(cli, ["inspect", str(files["lm.ernn"])]).output
    with pytest.raises(InputError, match="is no list"):
        CliRunner().invoke(cli, [*words, "--prompt", "a"], catch_exceptions=False)
