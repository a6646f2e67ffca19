"""Every code block of the README and of docs/ runs, in order; and the README's numbers are those that were measured."""

from __future__ import annotations

import re
import shutil
import wave
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgernn import DecodingSpec
from edgernn.export import convert_model, export_model, export_package
from edgernn.quantize import quantize_model
from edgernn.targets import find_board
from edgernn.targets.build import build_runner
from edgernn.targets.remote import SSH

import seq2seq
from board_tools import tool
from documents import ROOT, Block, Session, blocks
from engine_library import BUILD, ENGINE, cmake
from onnx_graphs import random

README = ROOT / "README.md"
DOCUMENTS = [README, *sorted((ROOT / "docs").glob("*.md"))]
PRINTS = {"README.md": "(7, 64)\n"}
FACTORY = """
import torch

def factory():
    return torch.nn.GRU(40, 64, batch_first=True)
"""
# the last word is the command: a board that is this machine
SSH_SCRIPT = """#!/bin/sh
for command; do :; done
exec sh -c "$command"
"""


@pytest.fixture(scope="session")
def room(keyword: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that documents name, small ones; a document that says how a file is made replaces it."""
    folder = tmp_path_factory.mktemp("documents")
    (folder / "package").mkdir()
    (folder / "package" / "module.py").write_text(FACTORY, "utf-8")
    torch.manual_seed(0)
    module = nn.GRU(40, 64, batch_first=True)
    torch.save(module.state_dict(), folder / "w.pt")
    frames = np.random.default_rng(0).standard_normal((400, 40)).astype(np.float32)
    np.savez(folder / "frames.npz", x=frames.reshape(4, 100, 40))
    np.savez(folder / "one.npz", x=frames)
    frames.tofile(folder / "frames.f32")
    model = folder / "model.onnx"
    export_model(module, torch.randn(1, 50, 40), model, rate_hz=100)
    quantize_model(model, folder / "frames.npz", model.with_suffix(".int8.onnx"))
    convert_model(model.with_suffix(".int8.onnx"), model.with_suffix(".ernn"))
    audio = (np.random.default_rng(1).uniform(-1, 1, 8000) * 9000).astype("<i2")
    with wave.open(str(folder / "clip.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(audio.tobytes())
    shutil.copy(keyword, folder / "digits.ernn")
    pair = (
        seq2seq.LastState(29, 8, 8),
        torch.randint(0, 29, (1, 9)),
        seq2seq.NextToken(20, 8, 8),
        torch.ones(1, 9).long(),
    )
    export_package(*pair, folder / "g2p.ernn", DecodingSpec(start_token=1, stop_token=2, max_length=10))
    onnx.save(_gru_step(), folder / "theirs.onnx")
    onnx.save(_voice_detector(), folder / "vad.onnx")
    onnx.save(_bidirectional(), folder / "bilstm.onnx")
    ssh = folder / "ssh"
    ssh.write_text(SSH_SCRIPT, "utf-8")
    ssh.chmod(0o755)
    return folder


def _model(nodes: list[onnx.NodeProto], inputs: dict[str, tuple[int, list[int | str]]], **constants: object) -> object:
    """A file of others: float outputs are those of its last node, of open shapes."""
    takes = [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()]
    gives = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("output", "stateN")]
    gives = [item for item in gives if any(item.name in node.output for node in nodes)]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    made = helper.make_graph(nodes, "g", takes, gives, tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _gru_step() -> object:
    node = helper.make_node("GRU", ["x", "w", "r", "", "", "state"], ["output", "stateN"], hidden_size=16)
    inputs = {"x": (TensorProto.FLOAT, [1, 1, 40]), "state": (TensorProto.FLOAT, [1, 1, 16])}
    return _model([node], inputs, w=random(1, 48, 40), r=random(1, 48, 16))


def _voice_detector() -> object:
    """512 samples behind 64 old ones; half the weights are those of another sampling rate."""
    nodes = [
        helper.make_node("Equal", ["sr", "low"], ["is_low"]),
        helper.make_node("Where", ["is_low", "w8", "w16"], ["w"]),
        helper.make_node("MatMul", ["input", "w"], ["a"]),
        helper.make_node("MatMul", ["state", "u"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Tanh", ["c"], ["stateN"]),
        helper.make_node("ReduceMean", ["stateN"], ["output"], axes=[1]),
    ]
    inputs = {
        "input": (TensorProto.FLOAT, [1, 576]),
        "state": (TensorProto.FLOAT, [1, 8]),
        "sr": (TensorProto.INT64, []),
    }
    weights = {"w8": random(576, 8, scale=0.05), "w16": random(576, 8, seed=1, scale=0.05), "u": random(8, 8)}
    return _model(nodes, inputs, low=np.int64(8000), **weights)


def _bidirectional() -> object:
    """Bytes to a score for each."""
    nodes = [
        helper.make_node("Cast", ["input"], ["ids"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "ids"], ["letters"]),
        helper.make_node("Transpose", ["letters"], ["first"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["first", "w", "r"], ["y"], hidden_size=6, direction="bidirectional"),
        helper.make_node("Transpose", ["y"], ["back"], perm=[2, 0, 1, 3]),
        helper.make_node("ReduceMean", ["back"], ["output"], axes=[2, 3], keepdims=0),
    ]
    inputs: dict[str, tuple[int, list[int | str]]] = {"input": (TensorProto.UINT8, [1, "length"])}
    return _model(nodes, inputs, table=random(256, 4), w=random(2, 24, 4), r=random(2, 24, 6))


@pytest.mark.xdist_group("targets")
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_blocks_run(document: Path, room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = list(blocks(document))
    folder = tmp_path / "room"
    shutil.copytree(room, folder)
    if document.name == "targets.md":  # its model takes sound
        shutil.copy(folder / "digits.ernn", folder / "model.ernn")
    if any("--target" in block.text for block in found):
        tool(lambda: build_runner(find_board("x86-64")))
        monkeypatch.setenv(SSH, str(folder / "ssh"))
    engine = cmake(ENGINE, BUILD) if any(block.language in ("c", "cpp") for block in found) else folder
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    session, printed = Session(folder, engine), ""
    for block in found:
        session.run(block)
        printed += session.printed if block.language == "python" else ""
    assert printed == PRINTS.get(document.name, printed)


BROKEN = {
    "python": "print(1 / 0)",
    "sh": "edgernn inspect nothing.ernn",
    "text": "not what was printed",
    "c": "int main(void) { return 3; }",
    "cpp": "int unused(int x) { return 0; }",
    "rust": "fn main() {}",
    "": "no language",
}


@pytest.mark.parametrize("language", BROKEN)
def test_broken_blocks_are_found(language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "frames.f32").touch()
    engine = cmake(ENGINE, BUILD) if language == "c" else tmp_path
    block = Block("page.md", 7, language, BROKEN[language], "")
    with pytest.raises(AssertionError, match=r"page\.md:7"):
        Session(tmp_path, engine).run(block)


def test_lines_of_a_file_are_lines_of_it(tmp_path: Path) -> None:
    session = Session(tmp_path, tmp_path)
    session.run(Block("page.md", 7, "c", "int main(int count, char **arguments) {\n", "from examples/c/stream_file.c"))
    with pytest.raises(AssertionError, match=r"page\.md:7"):
        session.run(Block("page.md", 7, "c", "int main(void) {\n", "from examples/c/stream_file.c"))
    with pytest.raises(AssertionError, match="says nothing"):
        session.run(Block("page.md", 7, "c", "", "not ran: a slip"))


def test_numbers_are_those_of_the_table() -> None:
    """Families, those that torch.onnx.export gets right at other lengths, and the largest error of a proof."""
    page = (ROOT / "docs" / "why-not-torch-onnx-export.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")][2:]
    readme = " ".join(README.read_text("utf-8").split())
    worst = max(float(row[-1]) for row in rows)
    right = sum(row[2] == "none" for row in rows)
    assert f"Of the {len(rows)} module families" in readme
    assert f"streams all {len(rows)}, equal to PyTorch within 4e-6" in readme
    assert worst <= 4e-6
    assert f"runs at other lengths for {right} of them" in readme
    assert all(row[4] in ("", "0") for row in rows), "exposed for none"


def test_step_is_that_of_the_table() -> None:
    """A GRU of 128 units from Python, and on the peers."""
    lines = (ROOT / "benchmarks" / "step.md").read_text("utf-8").splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| ")]
    names = next(row for row in rows if "engine in Python" in row)
    found = dict(zip(names, [row for row in rows if row[0] == "GRU 128"][-1], strict=True))
    readme = " ".join(README.read_text("utf-8").split())
    ours, plain, hybrid = (found[name] for name in ("engine in Python", "ORT f32", "LiteRT int8"))
    assert f"takes {ours} from Python, where onnxruntime takes {plain} in float and LiteRT {hybrid} with" in readme


def test_int8_numbers_are_those_of_the_tables() -> None:
    """Agreement of the keyword spotter, and the range of the long-memory networks."""
    readme = " ".join(README.read_text("utf-8").split())
    keyword = _rows("int8_keyword.md", "compensated")[0]
    assert f"agrees with float on {keyword[6]} of 5000 augmented clips" in readme
    ours = [float(row[2]) for row in _rows("int8_accuracy.md", "compensated")]
    theirs = [float(row[2]) for row in _rows("int8_accuracy.md", "onnxruntime") if row[0].startswith("lstm")]
    assert f"keep {min(ours):.0f} to {max(ours):.0f} dB" in readme
    assert f"LSTM keeps {min(theirs):.0f} to {max(theirs):.0f}" in readme


def test_litert_numbers_are_those_of_the_tables() -> None:
    """Time of a hybrid step as a share of litert-torch's, and the least SNR of hybrid files."""
    readme = " ".join(README.read_text("utf-8").split())
    cells = ("GRU 128", "GRU 256", "GRU 512", "LSTM 128", "LSTM 256", "LSTM 512")
    shares = [float(_rows("litert_step.md", cell)[0][3]) for cell in cells]
    assert f"takes {min(shares):.2f} to {max(shares):.2f} of the time of the same network by litert-torch" in readme
    hybrid = [float(row[3]) for row in _rows("tflite.md", "hybrid8") if row[0].startswith(("GRU", "LSTM"))]
    assert f"at {min(hybrid):.1f} dB and more" in readme


LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "examples" / "README.md"], ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in LINK.findall(document.read_text("utf-8")):
        assert target.startswith("https://") or (document.parent / target).exists(), target


@pytest.mark.parametrize("picture", sorted((ROOT / "docs" / "pictures").glob("*.*g")), ids=lambda path: path.name)
def test_pictures_stand_alone(picture: Path) -> None:
    """They are small, ask for nothing, have a title, and follow the reader's colours."""
    assert picture.stat().st_size <= (150_000 if picture.suffix == ".png" else 60_000)
    assert any(picture.name in path.read_text("utf-8") for path in DOCUMENTS), "nobody looks at it"
    if picture.suffix == ".svg":
        text = picture.read_text("utf-8")
        assert ElementTree.fromstring(text)[0].text, "a title"
        assert "prefers-color-scheme: dark" in text
        assert not [word for word in ("href", "url(", "@import") if word in text]


def _rows(name: str, way: str) -> list[list[str]]:
    """The rows of a benchmark's tables about one way of rounding."""
    lines = (ROOT / "benchmarks" / name).read_text("utf-8").splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| ")]
    return [row for row in cells if way in row[:2]]
