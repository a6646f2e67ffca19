"""Wheels for devices: what is in them, what they need of a system, and one in an empty environment."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
import wave
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgernn.cli import edgernn as command_line
from edgernn.errors import TargetError
from edgernn.targets import boards, find_board
from edgernn.targets.wheel import EXTENSION, PLATFORMS, platform_wheel, wheel_tag, write_wheel
from examples import keyword_spotting as example

from board_tools import tool
from engine_library import needs

ROOT = Path(__file__).parent.parent
LINUX = [tag for tag in PLATFORMS if "linux" in tag]
# what readelf says a 32-bit extension was compiled for, so that no later CPU's instructions are in it
ARCHITECTURES = {"manylinux_2_17_armv7l": "v7", "linux_armv6l": "v6KZ"}

pytestmark = pytest.mark.xdist_group("targets")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wheels")


def wheel_of(tag: str, folder: Path) -> Path:
    return tool(lambda: write_wheel(tag, folder))


@pytest.mark.parametrize("tag", LINUX)
def test_contents(tag: str, folder: Path) -> None:
    """A device's package and nothing of hosts, within its size; equal bytes again."""
    path = wheel_of(tag, folder)
    assert path.name == f"edgernn-0.1.0-cp311-abi3-{tag}.whl"
    assert path.stat().st_size <= 500_000
    assert platform_wheel(tag) == (path.name, path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        metadata = archive.read("edgernn-0.1.0.dist-info/METADATA").decode()
        record = archive.read("edgernn-0.1.0.dist-info/RECORD").decode()
    assert {f"edgernn/runtime/{EXTENSION}", "edgernn/commands/run.py", "edgernn/py.typed"} < names
    assert not [name for name in names if re.search(r"/(export|quantize|targets|ops|nn)\b|\.[ch]$", name)]
    assert re.findall(r"^Requires-Dist: (?!.*extra)(.*)$", metadata, re.M) == ["click>=8.1", "numpy>=1.24"]
    assert {line.partition(",")[0] for line in record.splitlines()} == names


@pytest.mark.parametrize("tag", [tag for tag in LINUX if tag.startswith("manylinux")])
def test_auditwheel_agrees(tag: str, folder: Path) -> None:
    """The extension needs no more of a system than its tag promises."""
    command = [sys.executable, "-m", "auditwheel", "show", str(wheel_of(tag, folder))]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.replace("\n", " ")
    found = re.search(r'consistent with the +following platform tag: +"(manylinux_2_(\d+)_\w+)"', said)
    assert found is not None, said
    assert int(found[2]) <= 17


@pytest.mark.parametrize("tag", ARCHITECTURES)
def test_compiled_for_the_least_cpu(tag: str, folder: Path, tmp_path: Path) -> None:
    needs("readelf")
    with zipfile.ZipFile(wheel_of(tag, folder)) as archive:
        library = archive.extract(f"edgernn/runtime/{EXTENSION}", tmp_path)
    said = subprocess.run(["readelf", "-A", library], capture_output=True, text=True, check=True).stdout
    assert f"Tag_CPU_arch: {ARCHITECTURES[tag]}\n" in said
    assert "Tag_ABI_VFP_args: VFP registers" in said


def test_boards_and_platforms() -> None:
    """Every tag that a board names is built; a board without one says so."""
    assert {board.build.wheel for board in boards() if board.build is not None} - {""} <= set(PLATFORMS)
    assert wheel_tag(find_board("pi-4")) == wheel_tag(find_board("pi-5")) == "manylinux_2_17_aarch64"
    with pytest.raises(TargetError, match="cortex-m4: there is no wheel"):
        wheel_tag(find_board("cortex-m4"))
    with pytest.raises(TargetError, match="no wheel is built for `abacus`"):
        platform_wheel("abacus")
    assert CliRunner().invoke(command_line, ["targets", "wheel"]).exit_code == 2


def test_in_an_empty_environment(folder: Path, keyword: Path, tmp_path: Path) -> None:
    """Installed without torch and onnx, a spoken digit gives this install's hash; what is left out is told."""
    wheel = wheel_of("manylinux_2_17_x86_64", folder)
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    pip = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-c",
        str(ROOT / "constraints.txt"),
    ]
    subprocess.run([*pip, str(wheel)], check=True)
    clip = tmp_path / "digit.wav"
    with wave.open(str(clip), "wb") as file:
        file.setparams((1, 2, example.RATE, 0, "NONE", ""))
        file.writeframes((example.load_clips(example.SYNTHETIC).audio[0] * 32767).astype("<i2").tobytes())
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        command = [python, "-m", "edgernn.cli", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)

    here = CliRunner().invoke(command_line, ["run", str(keyword), "--input", str(clip), "--hash"]).stdout
    assert run("run", keyword, "--input", clip, "--hash").stdout.splitlines()[-1] == here.splitlines()[-1]
    report = json.loads(run("bench", keyword, "--steps", 100, "--seconds", 0.1, "--json").stdout)
    assert report["rows"][0]["backend"].startswith("engine ")
    assert run("run", keyword, "--input", clip, "--state-out", "s.bin").returncode == 0
    assert run("run", keyword, "--input", clip, "--state-in", "s.bin").returncode == 0
    for words in (
        ("export", "a:b", "-o", "m.onnx"),
        ("quantize", "m.onnx", "--data", "d", "-o", "q.onnx"),
        ("targets", "list"),
        ("bench", keyword, "--target", "board"),
        ("inspect", keyword, "--board", "pi-4"),
        ("inspect", "w.pt"),
        ("verify", keyword, keyword, "--data", clip),
    ):
        refused = run(*words)
        assert (refused.returncode, "it takes an install for hosts" in refused.stderr) == (1, True), refused.stderr
    for name in ("torch", "onnx", "edgernn.export"):
        assert subprocess.run(
            [python, "-c", f"import {name}"], capture_output=True, env=environment, check=False
        ).returncode
