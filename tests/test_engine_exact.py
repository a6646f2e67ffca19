"""The engine gives the reference's integers, bit for bit, on every instruction set."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgernn.export.to_ernn import pack

from integer_nets import CELLS, LINEARS, Net

ROOT = Path(__file__).parent.parent
STEPS = 10_000
X86 = ("scalar", "sse41", "avx2", "avxvnni", "avx512vnni")


def build(folder: Path, *options: str) -> Path:
    """The runner of tests/engine/steps.c over an engine of its own."""
    cmake = ["cmake", "-S", str(ROOT / "tests/engine"), "-B", str(folder), *options]
    subprocess.run(cmake, check=True, capture_output=True)
    subprocess.run(["cmake", "--build", str(folder), "-j", "2"], check=True, capture_output=True)
    return folder / "steps"


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a user's build is."""
    return build(tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="session")
def emulated_runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Instructions that this CPU lacks are emulated in C."""
    if not Path("/usr/include/simde/x86/avx512.h").is_file():
        pytest.skip("SIMDe is not installed (make system-tools)")
    return build(tmp_path_factory.mktemp("emulated"), "-DERNN_PRETEND=ON")


def compare(net: Net, folder: Path, runners: dict[str, list[str]], steps: int) -> None:
    """`runners` are commands by instruction set. Exit 3 of one says that the CPU lacks it."""
    frames = net.frames(steps)
    expected = net.reference(frames)
    (folder / "net.ernn").write_bytes(pack(net.program))
    (folder / "x").write_bytes(np.ascontiguousarray(frames).tobytes())
    for isa, command in runners.items():
        words = [*command, *(str(folder / name) for name in ("net.ernn", "x", "y")), isa]
        subprocess.run(words, check=True, capture_output=True)
        got = np.frombuffer((folder / "y").read_bytes(), expected.dtype).reshape(expected.shape)
        wrong = np.argwhere(got != expected)
        assert not len(wrong), f"{net.name} on {isa}: first at {wrong[0]}"
    assert len(np.unique(expected)) > 1, "a constant output would prove nothing"


@pytest.fixture(scope="session")
def arm_runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by ziglang's clang, for qemu-aarch64."""
    pytest.importorskip("ziglang", reason="ziglang is not installed")
    if shutil.which("qemu-aarch64") is None:
        pytest.skip("qemu-aarch64 is not installed (make system-tools)")
    environment = {"ZIG_PYTHON": sys.executable, "ZIG_TARGET": "aarch64-linux-musl"}
    toolchain = f"-DCMAKE_TOOLCHAIN_FILE={ROOT / 'tests/engine/zig.cmake'}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return build(tmp_path_factory.mktemp("arm"), toolchain)


def steps_of(net: Net) -> int:
    """Enough to wander through the state; large layers take the reference a millisecond a step."""
    inputs, units = net.program.spec.inputs[0].shape[-1], max(len(p) for p in net.program.parameters.values())
    return 500 if inputs > 1000 else 2_000 if units > 120 else STEPS


each_net = pytest.mark.parametrize("make", [pytest.param(make, id=make().name) for make in (*CELLS, *LINEARS)])


@pytest.mark.xdist_group("engine exact")
@each_net
def test_x86(make: Callable[[], Net], runner: Path, emulated_runner: Path, tmp_path: Path) -> None:
    """All instruction sets, those that this CPU lacks emulated."""
    net = make()
    runners = {isa: [str(runner)] for isa in X86[:3]} | {isa: [str(emulated_runner)] for isa in X86[3:]}
    compare(net, tmp_path, runners, steps_of(net))


@pytest.mark.xdist_group("engine exact on arm")
@each_net
def test_arm(make: Callable[[], Net], arm_runner: Path, tmp_path: Path) -> None:
    """NEON on a Cortex-A53 and A72, its dot product on an A76."""
    cpus = {"cortex-a53": "neon", "cortex-a72": "neon", "cortex-a76": "dotprod"}
    net = make()
    for cpu, isa in cpus.items():
        compare(net, tmp_path, {isa: ["qemu-aarch64", "-cpu", cpu, str(arm_runner)]}, steps_of(net) // 10)
