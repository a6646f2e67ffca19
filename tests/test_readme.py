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
    assert f"streams all {len(rows)}, equal to PyTorch within 3e-6" in readme
    assert worst <= 3e-6
    assert f"runs at other lengths for {right} of them" in readme
    assert all(row[4] in ("", "0") for row in rows), "exposed for none"
