"""Encoder-decoders as packages: token for token what PyTorch's loops give, in float; in int8 the reference's tokens."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

import edgernn
from edgernn import DecodingSpec
from edgernn.cli import edgernn as command_line
from edgernn.errors import CalibrationError, EdgeRNNError, ExportError, InputError, ModelFileError
from edgernn.export import export_package, read_program, write_package
from edgernn.quantize import QuantizedPackage, quantize_package
from edgernn.runtime.bench import Subject, bench

import seq2seq

LOOP = DecodingSpec(start_token=1, stop_token=2, max_length=20, max_beam=4)
SAMPLED = {"method": "sample", "temperature": 0.8, "top_k": 5}
WORDS = 95  # evenly spaced in cmudict: those of which PROVENANCE tells


class Case:
    """A package in both formats, an input, and the step of PyTorch's loop from what the encoder gives for it."""

    def __init__(
        self, folder: Path, x: np.ndarray, step: seq2seq.Step, start: tuple[torch.Tensor, ...], encoder: Any
    ) -> None:
        self.folder, self.ernn = folder, folder.with_suffix(".ernn")
        self.x, self.step, self.start, self.encoder = x, step, start, encoder


def _loud(decoder: nn.Module) -> nn.Module:
    """Weights that give sequences worth comparing: far apart, and seldom ending."""
    for parameter in decoder.parameters():
        parameter.data *= 2.5
    decoder.logits.bias.data[2] -= 3
    return decoder


@pytest.fixture(scope="module", params=["dot", "additive", "GRU", "LSTM"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("package") / request.param
    encoder: nn.Module
    decoder: Any
    if request.param in ("dot", "additive"):
        encoder, decoder = seq2seq.Frames(5, 8), _loud(seq2seq.Attending(11, 6, 8, request.param))
        x = torch.randn(1, 13, 5)
    else:
        kind = getattr(nn, request.param)
        encoder, decoder = seq2seq.LastState(7, 5, 8, kind, 2), _loud(seq2seq.NextToken(11, 8, 8, kind, 2, tied=True))
        x = torch.randint(0, 7, (1, 13))
    made = export_package(encoder, x, decoder, torch.randint(0, 11, (1, 12)), folder, LOOP, max_memory=24)
    write_package(made.programs, folder.with_suffix(".ernn"))
    with torch.no_grad():
        given = encoder(x)
    if request.param not in ("dot", "additive"):
        step = seq2seq.loop_step(decoder)
        return Case(folder, x[0].numpy(), step, given if isinstance(given, tuple) else (given,), encoder)
    memory, h = given

    def attending(token: int, state: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        logits, new = decoder.step(torch.tensor([token]), memory, torch.tensor([memory.shape[1]]), *state)
        return logits[0], (new,)

    return Case(folder, x[0].numpy(), attending, (h,), encoder)


@pytest.mark.parametrize("form", ["onnxruntime", "engine"])
@torch.no_grad()
def test_loops_give_pytorchs_tokens(case: Case, form: str) -> None:
    package = edgernn.load_package(case.folder if form == "onnxruntime" else case.ernn)
    memory = package.encode(case.x)
    wanted = seq2seq.greedy(case.step, case.start, 1, 2, 20)
    assert len(wanted) > 3
    assert package.generate(memory) == wanted
    assert list(package.tokens(memory, max_length=3)) == wanted[:3]
    for width in (2, 4):
        assert package.generate(memory, method="beam", beam=width) == seq2seq.beam(
            case.step, case.start, 1, 2, 20, width
        )
    for seed in range(5):
        sampled = seq2seq.sample(case.step, case.start, 1, 2, 20, 0.8, 5, seed)
        assert package.generate(memory, seed=seed, **SAMPLED) == sampled
    assert package.generate(case.x) == wanted  # a second decoding from the same model starts anew


@torch.no_grad()
def test_an_encoder_may_stream(case: Case) -> None:
    package = edgernn.load_package(case.ernn)
    stream = package.encoder.stream()
    names = [port.name for port in package.encoder.spec.outputs]
    pieces = [stream.push(case.x[:5]), stream.push(case.x[5:]), stream.flush()]
    named = [piece if isinstance(piece, dict) else {names[0]: piece} for piece in pieces]
    whole = {name: np.concatenate([piece[name] for piece in named]) for name in names}
    newest = {port.name: port.newest for port in package.encoder.spec.outputs}
    memory = package.collect({name: array[-1] if newest[name] else array for name, array in whole.items()})
    assert package.generate(memory) == seq2seq.greedy(case.step, case.start, 1, 2, 20)


def test_a_folder_is_written_whole_or_not_at_all(case: Case, tmp_path: Path) -> None:
    programs = {name: read_program(case.folder / f"{name}.onnx") for name in ("encoder", "decoder")}
    folder = tmp_path / "pair"
    write_package(programs, folder)
    write_package(programs, folder)  # in the place of the one before
    assert sorted(item.name for item in folder.iterdir()) == ["decoder.onnx", "encoder.onnx", "package.json"]
    (folder / "notes.txt").touch()
    with pytest.raises(EdgeRNNError, match="holds something else"):
        write_package(programs, folder)
    with pytest.raises(EdgeRNNError, match="cannot be written"):
        write_package(programs, tmp_path / "nowhere" / "pair")
    assert [item.name for item in tmp_path.iterdir()] == ["pair"]


def test_declared_maxima_hold(case: Case) -> None:
    package = edgernn.load_package(case.ernn)
    if package.loop.memory is not None:
        with pytest.raises(InputError, match="25 frames were encoded; the memory has room for 24"):
            package.encode(np.zeros((25, 5), np.float32))
    for options, message in (
        ({"max_length": 21}, "max_length=21 is not between 1 and 20"),
        ({"method": "beam", "beam": 5}, "beam=5 is not between 1 and 4"),
        ({"prompt": [11]}, "token 11 is not among 11"),
        ({"method": "best"}, "no method"),
        ({"method": "sample", "temperature": 0.0}, "a temperature of 0"),
        ({"method": "sample", "top_k": 0}, "top_k=0"),
    ):
        with pytest.raises(InputError, match=message):
            package.generate(case.x, **options)


def test_bench_measures_the_decoder(case: Case) -> None:
    """Of both forms, as of the decoder's own file; a memory is filled before the steps, not in them."""
    report = bench([case.folder, case.ernn, case.folder / "decoder.onnx"], steps=100, seconds=0)
    assert [(row.file, row.backend.split()[0]) for row in report.rows] == [
        (case.folder.name, "onnxruntime"),
        (case.ernn.name, "engine"),
        ("decoder.onnx", "onnxruntime"),
    ]
    subject = Subject(case.ernn, None, "auto", 1)
    loop = edgernn.load_package(case.ernn).loop
    assert subject.model.spec.name == "decoder"
    if loop.memory is not None and loop.length is not None:
        before = subject.stream.inputs[loop.memory].copy()
        subject.step()
        assert before.any()
        np.testing.assert_array_equal(subject.stream.inputs[loop.memory], before)
        assert subject.stream.inputs[loop.length].item() == 24


def test_what_is_no_package(case: Case, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="is a folder"):
        edgernn.load(case.folder)
    with pytest.raises(ModelFileError, match="no program `encoder`"):
        edgernn.load_package(case.folder / "decoder.onnx")
    with pytest.raises(ModelFileError, match="is no index of a package"):
        edgernn.load_package(tmp_path)
    index = json.loads((case.folder / "package.json").read_text())
    (tmp_path / "package.json").write_text(json.dumps(index | {"package_version": 2}))
    with pytest.raises(ModelFileError, match="has version 2"):
        edgernn.load_package(tmp_path)
    with pytest.raises(ModelFileError, match="has no program `middle`"):
        edgernn.load(case.ernn, program="middle")
    assert edgernn.load(case.ernn, program="decoder").spec.decoding == edgernn.load_package(case.folder).loop


def test_a_decoder_must_take_what_the_encoder_gives(tmp_path: Path) -> None:
    encoder, decoder = seq2seq.LastState(7, 5, 8), seq2seq.NextToken(11, 8, 8)
    decoder.forward = lambda tokens, *_: seq2seq.NextToken.forward(decoder, tokens)
    ids, tokens = torch.randint(0, 7, (1, 13)), torch.randint(0, 11, (1, 12))
    with pytest.raises(ExportError, match="does not start from all"):
        export_package(encoder, ids, decoder, tokens, tmp_path / "p", LOOP)
    with pytest.raises(ExportError, match="a package is"):
        export_package(encoder, ids, decoder, tokens, tmp_path / "p.onnx", LOOP)
    assert not list(tmp_path.iterdir())


# --- the trained grapheme-to-phoneme model -------------------------------------------------------------------------


class G2P:
    """The package in its forms, and how words and phonemes are numbered."""

    def __init__(self, folder: Path) -> None:
        encoder, decoder, self.graphemes, self.phonemes = seq2seq.g2p()
        tokens = torch.randint(0, 74, (1, 24), generator=torch.Generator().manual_seed(0))
        loop = DecodingSpec(start_token=2, stop_token=3, max_length=20, max_beam=8)
        self.folder, self.ernn = folder / "g2p", folder / "g2p.ernn"
        ids = torch.from_numpy(self.ids("streamingmodels"))[None]
        made = export_package(encoder, ids, decoder, tokens, self.folder, loop, labels=self.phonemes)
        write_package(made.programs, self.ernn)
        with gzip.open(seq2seq.DATA / "text" / "cmudict.dict.gz", "rt", encoding="utf-8") as file:
            lines = [line.split("#")[0].split() for line in file]
        self.dictionary = [(line[0], line[1:]) for line in lines if line[0].isalpha()]

    def ids(self, word: str) -> np.ndarray:
        return np.array([self.graphemes.index(letter) for letter in word] + [2], np.int64)

    def pairs(self) -> list[tuple[np.ndarray, list[int]]]:
        """Some 40 words to calibrate with, and how they are spoken."""
        words = self.dictionary[7 :: len(self.dictionary) // 40]
        return [
            (self.ids(word), [self.phonemes.index(item) for item in said]) for word, said in words if word.isalpha()
        ]

    def spoken(self, tokens: list[int]) -> str:
        return " ".join(self.phonemes[token] for token in tokens)


@pytest.fixture(scope="module")
def g2p(tmp_path_factory: pytest.TempPathFactory) -> G2P:
    return G2P(tmp_path_factory.mktemp("g2p"))


@pytest.fixture(scope="module")
def integer(g2p: G2P) -> QuantizedPackage:
    made = quantize_package(g2p.folder, g2p.pairs(), g2p.folder.with_name("int8"))
    write_package(made.programs, g2p.folder.with_name("int8.ernn"))
    return made


@pytest.mark.parametrize("form", ["onnxruntime", "engine"])
def test_golden_words(g2p: G2P, form: str) -> None:
    golden = np.load(seq2seq.G2P / "golden.npz")
    package = edgernn.load_package(g2p.folder if form == "onnxruntime" else g2p.ernn)
    for word, phonemes, final in zip(golden["words"], golden["phonemes"], golden["encoder_final"], strict=True):
        memory = package.encode(g2p.ids(word))
        (state,) = memory.outputs.values()
        np.testing.assert_allclose(state.reshape(-1), final, atol=1e-5)
        assert g2p.spoken(package.generate(memory)) == phonemes


def test_an_empty_word(g2p: G2P) -> None:
    """An empty list is of no element type that could be wrong."""
    for nothing in ([], np.zeros(0, np.int64)):
        with pytest.raises(InputError, match="too short"):
            edgernn.load_package(g2p.ernn).encode(nothing)


def test_int8_words(g2p: G2P, integer: QuantizedPackage) -> None:
    """Nearly all words come out as in float, in a quarter of the bytes; the engine gives the reference's tokens."""
    floats, package = (edgernn.load_package(g2p.folder.with_name(name)) for name in ("g2p.ernn", "int8.ernn"))
    every = len(g2p.dictionary) // WORDS
    words = [g2p.ids(word) for word, _ in g2p.dictionary[::every] if word.isalpha()]
    same = sum(floats.generate(word) == package.generate(word) for word in words)
    assert same >= 0.93 * len(words), f"{same} of {len(words)}"
    assert {name: min(item.snr_db for item in report.outputs.values()) > 30 for name, report in
            integer.reports.items()} == {"encoder": True, "decoder": True}  # fmt: skip
    assert g2p.folder.with_name("int8.ernn").stat().st_size < 0.27 * g2p.ernn.stat().st_size
    exact = edgernn.load_package(integer.path, "reference")
    for seed, word in enumerate(words[::24]):
        for options in ({}, {"method": "beam"}, {"method": "sample", "seed": seed}):
            assert package.generate(word, **options) == exact.generate(word, **options)


def test_both_programs_pass_their_vectors(g2p: G2P) -> None:
    assert set(edgernn.load_package(g2p.ernn).selftest().values()) == {True}


def test_attention_in_int8(case: Case, tmp_path: Path) -> None:
    """Products become integers, the attention between them is float: near the float logits, on both back ends."""
    random = np.random.default_rng(0)
    draw: Callable[[], np.ndarray] = (
        (lambda: random.standard_normal((13, 5)).astype(np.float32))
        if case.x.ndim == 2
        else (lambda: random.integers(0, 7, 13))
    )
    pairs = [(draw(), random.integers(0, 11, 12).tolist()) for _ in range(12)]
    made = quantize_package(case.folder, pairs, tmp_path / "int8")
    write_package(made.programs, tmp_path / "int8.ernn")
    assert min(item.snr_db for item in made.reports["decoder"].outputs.values()) > 20
    assert {node.form for node in made.reports["decoder"].nodes if node.op in ("Linear", "GRU", "LSTM")} == {"int8"}
    package, exact = edgernn.load_package(tmp_path / "int8.ernn"), edgernn.load_package(tmp_path / "int8", "reference")
    for x, _ in pairs[:2]:
        assert package.generate(x) == exact.generate(x)


def test_from_the_command_line(g2p: G2P, integer: QuantizedPackage, tmp_path: Path, monkeypatch: Any) -> None:
    """A folder becomes a file, in float and in int8: the bytes that Python's functions give."""
    one = call("export", g2p.folder, "-o", tmp_path / "one.ernn", "--json")
    assert one.exit_code == 0, one.output
    assert list(json.loads(one.stdout)) == ["encoder", "decoder"]
    assert (tmp_path / "one.ernn").read_bytes() == g2p.ernn.read_bytes()
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "spoken.py").write_text(f"pairs = {[(word.tolist(), said) for word, said in g2p.pairs()]!r}\n")
    for words in (("quantize",), ("export", "--json")):
        made = call(words[0], g2p.folder, "--calibration", "spoken:pairs", "-o", tmp_path / "int8.ernn", *words[1:])
        assert made.exit_code == 0, made.output
        assert "near form in onnxruntime" not in made.output
        assert (tmp_path / "int8.ernn").read_bytes() == integer.path.with_suffix(".ernn").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("export", "{folder}"), "Missing option '-o'"),
        (("export", "{folder}", "-o", "{room}/a.ernn", "--name", "x"), "--name does not go with a package"),
        (("export", "{folder}", "-o", "{room}/a.ernn", "--dry-run"), "--dry-run does not go with a package"),
        (("export", "{folder}", "-o", "{room}/a.ernn", "--strict"), "--strict goes with --calibration"),
        (("export", "{folder}", "-o", "{room}/a.onnx"), "a package is a .ernn file, or a folder of .onnx files"),
        (("export", "{room}", "-o", "{room}/a.ernn"), "is no folder of a package"),
        (("quantize", "{folder}", "--calibration", "m:n", "-o", "{room}/a.ernn", "--metric", "m:n"), "a single model"),
        (
            ("quantize", "{folder}", "--calibration", "m:n", "-o", "{room}/a.ernn", "--exclude", "x"),
            "`x` excludes nothing",
        ),
        (("quantize", "{folder}", "--calibration", "os:sep", "-o", "{room}/a.ernn"), "something else than pairs"),
        (("quantize", "{folder}", "--calibration", "a.npz", "-o", "{room}/a.ernn"), "`a.npz` names no iterable"),
    ],
)
def test_refused_on_the_command_line(words: tuple[str, ...], said: str, g2p: G2P, tmp_path: Path) -> None:
    result = call(*(word.format(folder=g2p.folder, room=tmp_path) for word in words))
    assert said in result.output + str(result.exception)
    assert result.exit_code
    assert not list(tmp_path.iterdir())


def call(*words: object) -> Result:
    return CliRunner().invoke(command_line, [str(word) for word in words])


def test_calibration_that_does_not_fit(g2p: G2P, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="is no folder of a package"):
        quantize_package(tmp_path, [], tmp_path / "q")
    with pytest.raises(CalibrationError, match="has no sequences"):
        quantize_package(g2p.folder, [], tmp_path / "q")
