"""The README's Python runs as it stands, and its numbers are those that were measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    assert blocks
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out == "(4, 64)\n" * 3


def test_numbers_are_those_of_the_table() -> None:
    """Families, those that torch.onnx.export gets right at other lengths, and the largest error of a proof."""
    page = (ROOT / "docs" / "why-not-torch-onnx-export.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")][2:]
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
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
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    ours, plain, hybrid = (found[name] for name in ("engine in Python", "ORT f32", "LiteRT int8"))
    assert f"takes {ours} from Python, where onnxruntime takes {plain} in float and LiteRT {hybrid} with" in readme


def test_int8_numbers_are_those_of_the_tables() -> None:
    """Agreement of the keyword spotter, and the range of the long-memory networks."""
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    keyword = _rows("int8_keyword.md", "compensated")[0]
    assert f"agrees with float on {keyword[6]} of 5000 augmented clips" in readme
    ours = [float(row[2]) for row in _rows("int8_accuracy.md", "compensated")]
    theirs = [float(row[2]) for row in _rows("int8_accuracy.md", "onnxruntime") if row[0].startswith("lstm")]
    assert f"keep {min(ours):.0f} to {max(ours):.0f} dB" in readme
    assert f"LSTM keeps {min(theirs):.0f} to {max(theirs):.0f}" in readme


def _rows(name: str, way: str) -> list[list[str]]:
    """The rows of a benchmark's tables about one way of rounding."""
    lines = (ROOT / "benchmarks" / name).read_text("utf-8").splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| ")]
    return [row for row in cells if way in row[:2]]
