"""What several test files share."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from torch import Tensor, nn

import edgernn
from edgernn.export import ExportResult, convert_model, export_model, read_program, streaming
from edgernn.export.rules import Rule, find_rule
from edgernn.export.to_tflite import to_tflite
from edgernn.nn import Recurrent
from edgernn.quantize import quantize_model

from families import ALL, BY_NAME

Exporter = Callable[[str], "Exported"]
Loader = Callable[[str], edgernn.Model]
TFLiteMaker = Callable[[str, str], Path]


@dataclass(frozen=True)
class Exported:
    """A family's module, its example, and what its export made."""

    module: nn.Module
    example: Tensor | tuple[Tensor, ...]
    result: ExportResult
    path: Path

    @cached_property
    def ernn(self) -> Path:
        """The same model for the engine."""
        return convert_model(self.path, self.path.with_suffix(".ernn")).path

    @cached_property
    def tflite(self) -> Path:
        """The same model for LiteRT."""
        path = self.path.with_suffix(".tflite")
        path.write_bytes(to_tflite(self.result.program))
        return path

    def of(self, backend: str) -> Path:
        """The file that a back end runs."""
        return {"engine": lambda: self.ernn, "litert": lambda: self.tflite}.get(backend, lambda: self.path)()


@pytest.fixture(scope="session")
def rules_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each export leaves the names of the rules that it used; all workers of a session share it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "rules"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, rules_folder: Path) -> Iterator[Exporter]:
    """Exports a family by name, once a session."""
    made: dict[str, Exported] = {}
    folder = tmp_path_factory.mktemp("families")
    used: set[str] = set()

    def find(name: str) -> Rule | None:
        used.add(name)
        return find_rule(name)

    def export(name: str) -> Exported:
        if name not in made:
            family = BY_NAME[name]
            used.clear()
            module, example = family.build()
            if type(module).forward is nn.Module.forward:  # a cell alone, of which this is the sequence module
                module = Recurrent(module)
            path = folder / f"family{len(made)}.onnx"
            result = export_model(module, example, path, family.time_axis, name="family", **family.options)
            made[name] = Exported(module, example, result, path)
            (rules_folder / f"{ALL.index(family)}.json").write_text(json.dumps(sorted(used)))
        return made[name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "find_rule", find)
        yield export


@pytest.fixture(scope="session")
def tflite(exported: Exporter, tmp_path_factory: pytest.TempPathFactory) -> TFLiteMaker:
    """A family's file by name and precision, once a session; `quantized` is the .onnx that int8 forms come from."""
    folder, made = tmp_path_factory.mktemp("tflite"), dict[tuple[str, str], Path]()

    def make(name: str, form: str) -> Path:
        if form == "float32":
            return exported(name).tflite
        if (name, form) not in made:
            path = folder / f"family{len(made)}{'.onnx' if form == 'quantized' else '.tflite'}"
            if form == "quantized":
                _quantize(exported(name).path, path)
            else:
                source = exported(name).path if form == "hybrid8" else make(name, "quantized")
                path.write_bytes(to_tflite(read_program(source), form))
            made[name, form] = path
        return made[name, form]

    return make


def _quantize(source: Path, path: Path) -> None:
    spec, random = read_program(source).spec, np.random.default_rng(1)
    frames = spec.hop * (200 if spec.hop < 64 else 40)
    given = {
        port.name: random.standard_normal((frames, *port.frame)).astype("f")
        if port.dtype == "float32"
        else random.integers(0, 5, (frames, *port.frame))
        for port in spec.inputs
    }
    quantize_model(source, [given], path)


@pytest.fixture(scope="session")
def next_frame() -> ModuleType:
    """The trained networks of 128 units, and the speech they predict."""
    path = Path(__file__).parent / "golden" / "next_frame" / "train.py"
    spec = util.spec_from_file_location("next_frame_train", path)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["onnxruntime", "engine", "litert"])
def load(request: pytest.FixtureRequest, exported: Exporter) -> Loader:
    """Loads a family by name, on one back end after the other."""
    return lambda name: edgernn.load(exported(name).of(request.param))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings; skips where it is not."""
    for folder in (os.environ.get("EDGERNN_TEST_DATA", ""), "../shared/data"):
        if folder and Path(folder).is_dir():
            return Path(folder)
    pytest.skip("no real recordings: neither EDGERNN_TEST_DATA nor ../shared/data is a folder")
