"""The devices' wheels in Debian's Python on emulated CPUs.

`make emulated-python` makes the filesystems that this needs, and runs it.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgernn.cli import edgernn as command_line
from edgernn.targets.wheel import write_wheel
from examples import keyword_spotting as example

from board_tools import tool, write_clip
from emulated_python import CPUS, python_of, root_of
from engine_library import needs

WHEELS = {"arm64": "manylinux_2_17_aarch64", "armhf": "manylinux_2_17_armv7l"}
ISAS = {"cortex-a53": "neon", "cortex-a72": "neon", "cortex-a76": "dotprod", "cortex-a7": "neon"}
# in one process, as importing numpy takes an emulated CPU longer than all else
DEVICE = """
import importlib.util, json, sys
from click.testing import CliRunner
from edgernn.cli import edgernn

def call(*words):
    result = CliRunner().invoke(edgernn, [*words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output

model, whole, first, second = sys.argv[1:]
print(json.dumps({
    "run": call("run", model, "--input", whole, "--hash").splitlines(),
    "first": call("run", model, "--input", first, "--state-out", "state").splitlines(),
    "second": call("run", model, "--input", second, "--state-in", "state").splitlines(),
    "bench": json.JSONDecoder().raw_decode(call("bench", model, "--steps", "100", "--seconds", "0.1", "--json"))[0],
    "lacking": [name for name in ("torch", "onnx", "onnxruntime") if importlib.util.find_spec(name) is None],
}))
"""


def site(architecture: str, folder: Path) -> Path:
    """Where the emulated Python's own pip installed the wheel; what it depends on is in the filesystem."""
    wheel = tool(lambda: write_wheel(WHEELS[architecture], folder))
    command, environment = python_of(architecture, CPUS[architecture][1][0], folder)
    words = ["install", "--no-index", "--no-compile", "--break-system-packages", "--prefix", str(folder / "prefix")]
    done = subprocess.run(
        [*command, "-m", "pip", *words, str(wheel)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return next((folder / "prefix").rglob("edgernn/cli.py")).parents[1]


def here(*words: object) -> list[str]:
    result = CliRunner().invoke(command_line, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


@pytest.mark.parametrize("architecture", CPUS)
def test_a_device(architecture: str, keyword: Path, tmp_path: Path) -> None:
    """A spoken digit gives this machine's outputs, in one go and behind a saved state, without torch and onnx."""
    needs(CPUS[architecture][0])
    if not root_of(architecture).is_dir():
        pytest.skip(f"there is no filesystem for {architecture} (make emulated-python)")
    samples = example.load_clips(None).audio[0]
    half = len(samples) // 2
    parts = {"whole": samples, "first": samples[:half], "second": samples[half:]}
    clips = [write_clip(tmp_path / f"{name}.wav", part, example.RATE) for name, part in parts.items()]
    expected = here("run", keyword, "--input", clips[0], "--hash")
    installed = site(architecture, tmp_path)
    for cpu in CPUS[architecture][1]:
        command, environment = python_of(architecture, cpu, installed)
        done = subprocess.run(
            [*command, "-c", DEVICE, str(keyword), *map(str, clips)],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["run"] == expected, cpu
        assert found["first"] + found["second"] == expected[:-1], cpu
        assert {row["backend"] for row in found["bench"]["rows"]} == {f"engine {ISAS[cpu]}"}, cpu
        assert found["lacking"] == ["torch", "onnx", "onnxruntime"]
