"""What several test files share."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import Tensor, nn

from edgernn.export import ExportResult, export_model

from families import BY_NAME

Exporter = Callable[[str], "Exported"]


@dataclass(frozen=True)
class Exported:
    """A family's module, its example, and what its export made."""

    module: nn.Module
    example: Tensor | tuple[Tensor, ...]
    result: ExportResult
    path: Path


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


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings; skips where it is not."""
    for folder in (os.environ.get("EDGERNN_TEST_DATA", ""), "../shared/data"):
        if folder and Path(folder).is_dir():
            return Path(folder)
    pytest.skip("no real recordings: neither EDGERNN_TEST_DATA nor ../shared/data is a folder")
