"""What docs/mobile.md promises: the C program compiles, runs, and streams what Python streams."""

from __future__ import annotations

import shutil
import subprocess
from importlib import util
from pathlib import Path

import numpy as np
import pytest
from test_stream import DELAYED, noise

import edgernn

from conftest import TFLiteMaker

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """examples/litert_stream.c, compiled; the library is the one in the Python package."""
    found = util.find_spec("ai_edge_litert")
    library = Path(str(found.origin)).parent / "libLiteRt.so" if found else Path()
    if shutil.which("cc") is None or not library.is_file():
        pytest.skip("no C compiler, or no libLiteRt.so beside ai_edge_litert")
    path = tmp_path_factory.mktemp("c") / "litert_stream"
    warnings = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    source = [str(ROOT / "examples" / "litert_stream.c"), f"-I{ROOT / 'tests' / 'litert'}"]
    linked = [f"-L{library.parent}", "-lLiteRt", f"-Wl,-rpath,{library.parent}"]
    subprocess.run(["cc", *warnings, *source, *linked, "-o", str(path)], check=True)
    return path


@pytest.mark.xdist_group(DELAYED)
@pytest.mark.parametrize("precision", ["float32", "hybrid8", "int8"])
def test_c_program(program: Path, tflite: TFLiteMaker, precision: str) -> None:
    """States of several element types, carried by name, and an input that knows the end."""
    model = edgernn.load(tflite(DELAYED, precision))
    assert len(model.spec.states) >= 4
    assert model.spec.frames_left == "frames_left"
    x = noise(model, 30)
    done = subprocess.run([program, model.path], input=x.tobytes(), capture_output=True, check=True)
    wanted = model.stream().step(x)
    np.testing.assert_array_equal(np.frombuffer(done.stdout, np.float32).reshape(wanted.shape), wanted)
    (missing,) = subprocess.run(
        [program, "none.tflite"], capture_output=True, text=True, check=False
    ).stderr.splitlines()[-1:]
    assert missing.startswith("litert_stream: none.tflite failed with status")
