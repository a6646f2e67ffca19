"""What several test files share."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib import util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import edgernn
from edgernn.export import ExportResult, convert_model, export_model, read_program, streaming
from edgernn.export.rules import Rule, find_attention_rule, find_rule
from edgernn.export.to_ernn import pack
from edgernn.export.to_tflite import to_tflite
from edgernn.nn import Recurrent
from edgernn.quantize import quantize_model

import networks
from families import ALL, BY_NAME

GOLDEN_KEYWORD = Path(__file__).parent / "golden" / "keyword" / "digits.int8.onnx"
Exporter = Callable[[str], "Exported"]
Loader = Callable[[str], edgernn.Model]
TFLiteMaker = Callable[[str, str], Path]
FamilyFile = Callable[[str], Path]


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


@dataclass(frozen=True)
class Images:
    """The convolutions' file, and what is made of it by precision."""

    source: Path

    def of(self, form: str) -> Path:
        """The file of a precision, or the quantized one that the integer precisions come from."""
        quantized = self.source.with_suffix(".int8.onnx")
        if form == "quantized":
            return quantized
        path = self.source.with_suffix(f".{form}.tflite")
        source = self.source if form in ("float32", "hybrid8") else quantized
        path.write_bytes(to_tflite(read_program(source), form))
        return path


@pytest.fixture(scope="session")
def families_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each export leaves its file and the names of the rules that it used; all workers of a session share it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "all_families"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, families_folder: Path) -> Iterator[Exporter]:
    """Exports a family by name, once a session."""
    made: dict[str, Exported] = {}
    folder = tmp_path_factory.mktemp("families")
    used: set[str] = set()

    def find(name: str) -> Rule | None:
        used.add(name)
        return find_rule(name)

    def find_of_attention(name: str) -> Rule | None:
        used.add(f"{name}, attention")
        return find_attention_rule(name)

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
            (families_folder / f"{ALL.index(family)}.json").write_text(json.dumps(sorted(used)))
            _share(path, families_folder / f"{ALL.index(family)}.onnx")
        return made[name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "find_rule", find)
        patch.setattr(streaming, "find_attention_rule", find_of_attention)
        yield export


@pytest.fixture(scope="session")
def family_file(exported: Exporter, families_folder: Path) -> FamilyFile:
    """A family's .onnx by name, which any worker may have exported."""

    def find(name: str) -> Path:
        path = families_folder / f"{ALL.index(BY_NAME[name])}.onnx"
        return path if path.exists() else exported(name).path

    return find


@pytest.fixture(scope="session")
def tflite(family_file: FamilyFile, families_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> TFLiteMaker:
    """A family's file by name and precision, once a session; `quantized` is the .onnx that int8 forms come from."""
    folder, made = tmp_path_factory.mktemp("tflite"), dict[tuple[str, str], Path]()

    def quantized(name: str) -> Path:
        shared = families_folder / f"{ALL.index(BY_NAME[name])}.int8.onnx"
        if not shared.exists():
            quantize(family_file(name), folder / shared.name)
            _share(folder / shared.name, shared)
        return shared

    def make(name: str, form: str) -> Path:
        if form == "quantized":
            return quantized(name)
        if (name, form) not in made:
            path = folder / f"family{len(made)}.tflite"
            source = family_file(name) if form in ("float32", "hybrid8") else quantized(name)
            path.write_bytes(to_tflite(read_program(source), form))
            made[name, form] = path
        return made[name, form]

    return make


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Made once a session."""
    torch.manual_seed(2)
    path = tmp_path_factory.mktemp("images") / "m.onnx"
    export_model(networks.Convolutions().eval(), torch.randn(1, 24, 16), path)
    made = Images(path)
    quantize(path, made.of("quantized"))
    return made


def _share(path: Path, shared: Path) -> None:
    with suppress(FileExistsError):  # another worker was faster: equal bytes
        shared.hardlink_to(path)


def quantize(source: Path, path: Path) -> None:
    """Calibrated with normal input."""
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
def keyword(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The int8 keyword spotter, packed."""
    path = tmp_path_factory.mktemp("keyword") / "digits.ernn"
    path.write_bytes(pack(read_program(GOLDEN_KEYWORD)))
    return path


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
