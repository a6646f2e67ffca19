"""TFLite files on tflite-runtime 2.14, the last of its name, in an environment of its own with NumPy 1."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
import venv
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_tflite import QUANTIZED, random_input, streamed

import edgernn
from edgernn.compare import snr_db
from edgernn.errors import MissingExtraError
from edgernn.export import convert_model

from conftest import FamilyFile, Images, TFLiteMaker
from families import ALL

ROOT = Path(__file__).parent.parent
PACKAGES = ("click==8.5.1", "numpy==1.26.4", "tflite-runtime==2.14.0")
SCRIPT = """
import json, sys
import numpy as np
import edgernn
for name, (model, given, found) in json.loads(sys.stdin.read()).items():
    try:
        loaded = edgernn.load(model)
        assert loaded.backend == "tflite-runtime"
        stream, x = loaded.stream(), dict(np.load(given))
        parts = [stream.push(x), stream.flush()]
        names = [port.name for port in loaded.spec.outputs]
        joined = {n: np.concatenate([p[n] if isinstance(p, dict) else p for p in parts]) for n in names}
        np.savez(found, **joined)
    except edgernn.EdgeRNNError as error:
        print(json.dumps([name, str(error)]))
"""


@pytest.fixture(scope="session")
def old_python(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The interpreter of that environment, and where it finds this checkout's package."""
    if sys.version_info[:2] != (3, 11):
        pytest.skip("tflite-runtime has wheels for Python 3.11 and older")
    folder = tmp_path_factory.mktemp("old")
    venv.create(folder / "venv", with_pip=True)
    python = str(folder / "venv" / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES], check=True)
    package = folder / "package" / "edgernn"
    package.mkdir(parents=True)
    for item in [*(ROOT / "edgernn").iterdir(), ROOT / "runtime"]:
        (package / item.name).symlink_to(item)
    return {"python": python, "path": str(package.parent)}


@pytest.mark.xdist_group("tflite-runtime")
def test_every_family(
    old_python: dict[str, str], family_file: FamilyFile, tflite: TFLiteMaker, images: Images, tmp_path: Path
) -> None:
    """Float is what onnxruntime gives, int8 near the exact integers; scales by row in the file are refused."""
    sources = {family.name: (family_file(family.name), partial(tflite, family.name)) for family in ALL}
    sources["images"] = (images.source, images.of)
    jobs: dict[str, tuple[str, str, str]] = {}
    inputs: dict[str, Any] = {}
    for index, (name, (source, of)) in enumerate(sources.items()):
        spec = edgernn.load(source).spec
        inputs[name] = random_input(spec, 30 * spec.hop)
        np.savez(tmp_path / f"{index}.npz", **inputs[name])
        for form in ("float32", "hybrid8", *(("int8", "int16x8") if name in (*QUANTIZED, "images") else ())):
            found = str(tmp_path / f"{index}.{form}.npz")
            jobs[f"{name}/{form}"] = (str(of(form)), str(tmp_path / f"{index}.npz"), found)
    tagged = tmp_path / "tagged.tflite"
    convert_model(family_file("LSTM"), tagged, precision="hybrid8", per_channel=True)
    jobs["tagged/hybrid8"] = (str(tagged), jobs["LSTM/hybrid8"][1], "")

    environment = {**os.environ, "PYTHONPATH": old_python["path"]}
    command, text = [old_python["python"], "-c", SCRIPT], json.dumps(jobs)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True, env=environment)
    failures = [json.loads(line) for line in done.stdout.splitlines()]
    assert [name for name, _ in failures] == ["tagged/hybrid8"]
    assert "version '12'" in failures[0][1]
    assert "TFLite 2.17.0 or later" in failures[0][1]

    for job, (_, _, path) in jobs.items():
        name, form = job.split("/")
        if name == "tagged":
            continue
        found, x = dict(np.load(path)), inputs[name]
        integer = form in ("int8", "int16x8")
        source, of = sources[name]
        wanted = streamed(edgernn.load(source), x)
        exact = streamed(edgernn.load(of("quantized"), "reference"), x) if integer else wanted
        for output, array in wanted.items():
            if form == "float32":
                np.testing.assert_allclose(found[output], array, rtol=1e-4, atol=1e-4 * np.abs(array).max())
            elif form == "int8":
                assert snr_db(exact[output], found[output]) > 35, job
            else:
                assert snr_db(array, found[output]) > 35, job


@pytest.mark.xdist_group("GRU")
def test_beside_numpy_2(tflite: TFLiteMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """With which it fails obscurely."""
    fake = types.ModuleType("tflite_runtime.interpreter")
    fake.Interpreter = object
    monkeypatch.setitem(sys.modules, "tflite_runtime", types.ModuleType("tflite_runtime"))
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", fake)
    monkeypatch.setattr(np, "__version__", "2.4.6")
    with pytest.raises(MissingExtraError, match="built for NumPy 1"):
        edgernn.load(tflite("GRU", "float32"), "tflite-runtime")


@pytest.mark.xdist_group("GRU")
def test_without_either(tflite: TFLiteMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint is the extra that brings the newer one."""
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", None)
    with pytest.raises(MissingExtraError, match=r"edgernn\[litert\]"):
        edgernn.load(tflite("GRU", "float32"))
