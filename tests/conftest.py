"""What several test files share."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
from torch import Tensor, nn

import edgernn
from edgernn.export import ExportResult, convert_model, export_model

from families import BY_NAME

Exporter = Callable[[str], "Exported"]
Loader = Callable[[str], edgernn.Model]


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

    def of(self, backend: str) -> Path:
        """The file that a back end runs."""
        return self.ernn if backend == "engine" else self.path


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exporter:
    """Exports a family by name, once a session."""
    made: dict[str, Exported] = {}
    folder = tmp_path_factory.mktemp("families")

    def export(name: str) -> Exported:
        if name not in made:
            family = BY_NAME[name]
            module, example = family.build()
            path = folder / f"family{len(made)}.onnx"
            result = export_model(module, example, path, family.time_axis, name="family")
            made[name] = Exported(module, example, result, path)
        return made[name]

    return export


@pytest.fixture(params=["onnxruntime", "engine"])
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
