"""Wheels for devices: what is in them, what they need of a system, and one in an empty environment."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgernn.cli import edgernn as command_line
from edgernn.errors import TargetError
from edgernn.targets import boards, find_board
from edgernn.targets.wheel import PLATFORMS, platform_wheel, wheel_tag, write_wheel
from examples import keyword_spotting as example

from board_tools import tool, write_clip
from engine_library import needs

ROOT = Path(__file__).parent.parent
ALL = "EDGERNN_ALL_WHEELS"  # in the environment, as `make wheels` sets it: the slower half too
SLOW = pytest.mark.skipif(ALL not in os.environ, reason="builds more than every run should: make wheels")
TAGS = [pytest.param(tag, marks=() if re.match("manylinux.*_(x86_64|aarch64)", tag) else SLOW) for tag in PLATFORMS]
LINUX = [param for param in TAGS if "linux" in str(param.values[0])]
# what readelf says a 32-bit extension was compiled for, so that no later CPU's instructions are in it
ARCHITECTURES = {"manylinux_2_17_armv7l": "v7", "linux_armv6l": "v6"}

pytestmark = pytest.mark.xdist_group("targets")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wheels")


def wheel_of(tag: str, folder: Path) -> Path:
    return tool(lambda: write_wheel(tag, folder))


@pytest.mark.parametrize("tag", TAGS)
def test_contents(tag: str, folder: Path) -> None:
    """A device's package and nothing of hosts, within its size."""
    path = wheel_of(tag, folder)
    assert path.name == f"edgernn-0.1.0-cp311-abi3-{tag}.whl"
    assert path.stat().st_size <= 500_000
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        metadata = archive.read("edgernn-0.1.0.dist-info/METADATA").decode()
        record = archive.read("edgernn-0.1.0.dist-info/RECORD").decode()
    assert {f"edgernn/runtime/{PLATFORMS[tag].extension}", "edgernn/commands/run.py", "edgernn/py.typed"} < names
    assert not [name for name in names if re.search(r"/(export|quantize|targets|ops|nn)\b|\.[ch]$", name)]
    assert re.findall(r"^Requires-Dist: (?!.*extra)(.*)$", metadata, re.M) == ["click>=8.1", "numpy>=1.24"]
    assert {line.partition(",")[0] for line in record.splitlines()} == names


@SLOW
def test_equal_bytes(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a second build from nothing."""
    path = wheel_of("manylinux_2_17_x86_64", folder)
    monkeypatch.setenv("EDGERNN_CACHE", str(tmp_path))
    assert platform_wheel("manylinux_2_17_x86_64") == (path.name, path.read_bytes())


@pytest.mark.parametrize("tag", LINUX)
def test_auditwheel_agrees(tag: str, folder: Path) -> None:
    """The extension needs no more of a system than its tag promises."""
    command = [sys.executable, "-m", "auditwheel", "show", str(wheel_of(tag, folder))]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.replace("\n", " ")
    found = re.search(r'consistent with the +following platform tag: +"manylinux_2_(\d+)_\w+"', said)
    assert found is not None, said
    assert int(found[1]) <= 17


@SLOW
@pytest.mark.parametrize("tag", ARCHITECTURES)
def test_compiled_for_the_least_cpu(tag: str, folder: Path, tmp_path: Path) -> None:
    needs("readelf")
    with zipfile.ZipFile(wheel_of(tag, folder)) as archive:
        library = archive.extract(f"edgernn/runtime/{PLATFORMS[tag].extension}", tmp_path)
    said = subprocess.run(["readelf", "-A", library], capture_output=True, text=True, check=True).stdout
    assert f"Tag_CPU_arch: {ARCHITECTURES[tag]}\n" in said
    assert "Tag_ABI_VFP_args: VFP registers" in said


@SLOW
def test_windows_gives_what_is_taken(folder: Path, tmp_path: Path) -> None:
    """The module needs Python by its stable interface, and else only what Windows 10 brings."""
    needs("llvm-readobj")
    with zipfile.ZipFile(wheel_of("win_amd64", folder)) as archive:
        library = archive.extract("edgernn/runtime/_engine.pyd", tmp_path)
    command = ["llvm-readobj", "--coff-imports", "--coff-exports", library]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    libraries = {name.lower() for name in re.findall(r"^  Name: (\S+\.dll)$", said, re.M)}
    assert {name for name in libraries if not name.startswith("api-ms-win-crt-")} == {"python3.dll", "kernel32.dll"}
    assert re.findall(r"^  Name: (\w+)$", said, re.M) == ["PyInit__engine"]


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
    samples = example.load_clips(example.SYNTHETIC).audio[0]
    half = len(samples) // 2
    parts = {"clip": samples, "first": samples[:half], "second": samples[half:]}
    clip, first, second = (write_clip(tmp_path / f"{name}.wav", part, example.RATE) for name, part in parts.items())
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        command = [python, "-m", "edgernn.cli", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)

    here = CliRunner().invoke(command_line, ["run", str(keyword), "--input", str(clip), "--hash"]).stdout.splitlines()
    assert run("run", keyword, "--input", clip, "--hash").stdout.splitlines() == here
    halves = run("run", keyword, "--input", first, "--state-out", "s.bin").stdout.splitlines()
    halves += run("run", keyword, "--input", second, "--state-in", "s.bin").stdout.splitlines()
    assert halves == here[:-1]
    report = json.loads(run("bench", keyword, "--steps", 100, "--seconds", 0.1, "--json").stdout)
    assert report["rows"][0]["backend"].startswith("engine ")
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
