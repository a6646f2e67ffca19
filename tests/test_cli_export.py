"""`edgernn export`: factories, saved programs, weights, and the errors a person will make."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

import edgernn
from edgernn.cli import edgernn as command_line
from edgernn.errors import EdgeRNNError

MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, size=8):
        super().__init__()
        self.conv = nn.Conv1d(40, 16, 3, padding=1)
        self.gru = nn.GRU(16, size, batch_first=True)
        self.out = nn.Linear(size, 3)

    def forward(self, x):
        y = self.conv(x.transpose(1, 2)).transpose(1, 2)
        y = y.reshape(x.shape[0], x.shape[1], 4, 4).flatten(2)
        return self.out(self.gru(y)[0])

def factory():
    torch.manual_seed(3)
    return Net()

def with_example():
    return factory(), torch.randn(1, 20, 40)

def sequential():
    return "no module"

instance = factory()
number = 3

class Backwards(nn.Module):
    def forward(self, x):
        return x.flip(1)

backwards = Backwards()
"""
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line in a folder with `user_model.py`; errors of ours come out as they are."""
    (tmp_path / "user_model.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "user_model", raising=False)

    def call(*arguments: str) -> Result:
        result = CliRunner().invoke(command_line, ["export", *arguments], catch_exceptions=False)
        return result

    return call


def test_factory_with_everything(run: Run) -> None:
    import user_model

    state = {f"module.{name}": item for name, item in user_model.Net().state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, "w.ckpt")
    options = ["--rate", "100", "--labels", "a,b,c", "--meta", "team=x", "--name", "kw", "--model-version", "7"]
    result = run("user_model:factory", "--weights", "w.ckpt", "--input", "float32[1,T,40]", "-o", "m.onnx", *options)
    assert result.exit_code == 0
    assert "under `state_dict`, without their prefix `module.`" in result.stderr
    assert "proved on" in result.stderr
    assert result.stdout == ""
    spec = edgernn.load("m.onnx").spec
    assert (spec.name, spec.model_version, spec.labels, dict(spec.meta)) == ("kw", "7", ("a", "b", "c"), {"team": "x"})
    assert spec.inputs[0].rate_hz == 100


def test_json_is_the_contract(run: Run) -> None:
    result = run("user_model:with_example", "-o", "m.onnx", "--json")
    assert json.loads(result.stdout)["outputs"][0]["delay"] == 1


CALIBRATION = """
import numpy as np

def clips():
    random = np.random.default_rng(0)
    return [random.standard_normal((60, 40)).astype("f") for _ in range(4)]
"""


def test_every_way_to_the_engine(run: Run) -> None:
    """Float or int8, from the module in one command or by the files between: the same model, and nothing else left."""
    Path("user_data.py").write_text(CALIBRATION)
    module, data = ["user_model:with_example", "--name", "m"], ["--calibration", "user_data:clips"]
    for words in (
        [*module, "-o", "m.onnx"],
        [*module, "-o", "float.ernn"],
        ["m.onnx", "-o", "converted.ernn"],
        [*module, *data, "-o", "m.int8.onnx"],
        [*module, *data, "-o", "int8.ernn"],
        ["m.onnx", *data, "-o", "quantized.ernn"],
        ["m.int8.onnx", "-o", "packed.ernn"],
    ):
        result = run(*words)
        assert (result.exit_code, result.stdout) == (0, "")
        assert f"wrote {words[-1]} " in result.stderr
        assert ("proved on" in result.stderr) == (words[0] == module[0])
        assert ("calibrated on" in result.stderr) == ("--calibration" in words)
    assert {p.name for p in Path().iterdir() if p.suffix in (".onnx", ".ernn") or p.name.startswith(".")} == {
        *("m.onnx", "float.ernn", "converted.ernn", "m.int8.onnx", "int8.ernn", "quantized.ernn", "packed.ernn"),
    }
    assert Path("int8.ernn").read_bytes() == Path("quantized.ernn").read_bytes() == Path("packed.ernn").read_bytes()
    assert edgernn.load("float.ernn").spec.proof["max_error"] < 1e-5
    x = np.random.default_rng(1).standard_normal((30, 40)).astype("f")
    exact = edgernn.load("m.int8.onnx", "reference")(x)
    np.testing.assert_array_equal(edgernn.load("int8.ernn")(x), exact)
    for name in ("float.ernn", "converted.ernn"):
        np.testing.assert_allclose(edgernn.load(name)(x), edgernn.load("m.onnx")(x), atol=1e-5)


def test_what_does_not_go_together(run: Run) -> None:
    run("user_model:with_example", "-o", "m.onnx")
    before = sorted(Path().iterdir())
    for words, text in (
        (["m.onnx", "-o", "n.onnx"], "is a .onnx file already"),
        (["m.onnx", "-o", "m.bin"], "no format"),
        (["none.onnx", "-o", "m.ernn"], "none.onnx"),
        (["m.onnx", "-o", "none/m.ernn"], "folder does not exist"),
        (["user_model:with_example", "--calibration", "none.npz", "-o", "m.ernn"], "none.npz"),
    ):
        with pytest.raises(EdgeRNNError, match=text):
            run(*words)
    for words, text in (
        (["m.onnx", "--name", "x", "-o", "m.ernn"], "--name goes with a module"),
        (["m.onnx", "--per-tensor", "-o", "m.ernn"], "--per-tensor goes with --calibration"),
    ):
        result = run(*words)
        assert (result.exit_code, text in result.stderr) == (2, True)
    assert sorted(Path().iterdir()) == before


def test_an_engine_that_is_wrong_leaves_no_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every .ernn is run on its test vectors before it gets its name."""
    from edgernn.export.to_ernn import api

    run("user_model:with_example", "-o", "m.onnx")
    monkeypatch.setattr(api, "vectors_hash", lambda *arguments: 1)
    before = sorted(Path().iterdir())
    for words in (["m.onnx"], ["user_model:with_example"]):
        with pytest.raises(EdgeRNNError, match="outputs are not the reference's on"):
            run(*words, "-o", "m.ernn")
    assert sorted(Path().iterdir()) == before


def test_an_instance_and_labels_from_a_file(run: Run) -> None:
    Path("labels.txt").write_text("one\ntwo\nthree\n")
    run("user_model:instance", "--input", "x=float32[1, T, 40]", "-o", "m.onnx", "--labels", "labels.txt")
    assert edgernn.load("m.onnx").spec.labels == ("one", "two", "three")


def test_saved_program(run: Run) -> None:
    """A `.pt2` has its example's length in its reshapes; it streams all the same."""
    import user_model

    module = user_model.factory().eval()
    with torch.no_grad():
        program = torch.export.export(module, (torch.randn(1, 32, 40),), strict=False)
    torch.export.save(program, "m.pt2")
    assert run("m.pt2", "-o", "m.onnx").exit_code == 0
    model = edgernn.load("m.onnx")
    x = torch.randn(1, 51, 40)
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(model(x[0].numpy())), module(x)[0], rtol=1e-4, atol=1e-5)
    assert model.spec.inputs[0].name == "x"


def test_saved_program_that_hard_wires_its_length(run: Run) -> None:
    class Index(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.arange(x.shape[1]).unsqueeze(-1)

    program = torch.export.export(Index(), (torch.randn(1, 32, 4),), strict=False)
    torch.export.save(program, "m.pt2")
    with pytest.raises(EdgeRNNError, match="example's length as a number"):
        run("m.pt2", "-o", "m.onnx")
    assert not Path("m.onnx").exists()


def test_dry_run(run: Run) -> None:
    """It writes nothing; its status says whether the module streams."""
    result = run("user_model:with_example", "--dry-run")
    assert result.exit_code == 0
    assert result.stdout.startswith("streams: hop 1, delay 1 ")
    assert "`conv`, `conv1d` is 1 input frames late" in result.stdout
    result = run("user_model:backwards", "--input", "float32[1,T,40]", "--dry-run", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["blockers"][0]["place"] == "`forward`, `flip`"
    assert [path.name for path in Path().iterdir() if path.suffix] == ["user_model.py"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["user_model:factory"], "without an example"),
        (["user_model"], "names no factory"),
        (["user_model:none"], "has no `none`"),
        (["no_such_module:f"], "cannot be imported"),
        (["user_model:sequential", "--input", "float32[1,T,4]"], "not a module"),
        (["user_model:factory", "--input", "float32[1,T,T]"], "describes no input"),
        (["user_model:factory", "--input", "float16[1,T,4]"], "describes no input"),
        (["user_model:factory", "--input", "float32[1,20,40]"], "no input has a time axis"),
        (["user_model:factory", "--input", "float32[1,T,40]", "--weights", "none.pt"], "no such file"),
        (["none.pt2"], "no such file"),
        (["user_model:number"], "is of type int, not a factory"),
        (["m.tflite"], "take `package.module:factory`"),
        (["scripted.pt"], "is no file that becomes a model"),
        (["user_model.py:factory", "--input", "float32[1,T,40]"], "cannot be imported"),
    ],
)
def test_mistakes(run: Run, arguments: list[str], text: str) -> None:
    with pytest.raises(EdgeRNNError) as caught:
        run(*arguments, "-o", "m.onnx")
    assert text in str(caught.value)
    assert not Path("m.onnx").exists()


def test_usage_errors(run: Run) -> None:
    for arguments in (["user_model:factory"], ["-o", "m.onnx"], ["user_model:with_example", "-o", "m", "--meta", "x"]):
        assert run(*arguments).exit_code == 2


@pytest.mark.parametrize("rate", ["-5", "0", "nan", "inf", "fast"])
def test_rate_that_is_none(run: Run, rate: str) -> None:
    for more in (["--dry-run"], ["-o", "m.onnx"]):
        result = run("user_model:with_example", *more, "--rate", rate)
        assert (result.exit_code, "a positive number of frames per second" in result.stderr) == (2, True), result.stderr
    assert not Path("m.onnx").exists()


def test_a_file_of_others(run: Run) -> None:
    """Found and told states, a held input, int8 in one; what goes with a module is refused."""
    import onnx
    from onnx import helper

    from onnx_graphs import graph, random

    constants = {"w": random(1, 24, 5), "r": random(1, 24, 8), "b": random(1, 48), "axis": np.array([1])}
    nodes = [
        helper.make_node("Mul", ["x", "gain"], ["louder"]),
        helper.make_node("GRU", ["louder", "w", "r", "b", "", "h"], ["y4", "hn"], hidden_size=8, linear_before_reset=1),
        helper.make_node("Squeeze", ["y4", "axis"], ["y"]),
    ]
    onnx.save(graph(nodes, {"x": (1, 1, 5), "gain": (1,), "h": (1, 1, 8)}, ["y", "hn"], constants), "theirs.onnx")
    made = run("theirs.onnx", "--set", "gain=2", "--rate", "100", "-o", "ours.ernn")
    assert "state `h` comes back as `hn` (by name)" in made.stderr
    assert edgernn.load("ours.ernn").spec.inputs[0].rate_hz == 100
    run("theirs.onnx", "--set", "gain=2", "--state", "h=hn", "-o", "ours.onnx")
    np.savez("data.npz", x=random(100, 5))
    report = run("theirs.onnx", "--set", "gain=2", "--calibration", "data.npz", "-o", "int8.ernn").stderr
    assert "GRU" in report
    assert "int8" in report
    for words, text in (
        (["theirs.onnx", "--weights", "w.pt"], "--weights goes with a module"),
        (["ours.onnx", "--state", "h=hn"], "--state goes with an .onnx file that others made"),
        (["theirs.onnx", "--state", "h"], "not of the form K=V"),
    ):
        result = run(*words, "-o", "none.ernn")
        assert (result.exit_code, text in result.stderr) == (2, True), result.stderr
    assert not Path("none.ernn").exists()
