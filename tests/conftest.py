"""What several test files share."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
from torch import Tensor, nn

import edgernn
from edgernn.export import ExportResult, convert_model, export_model, streaming
from edgernn.export.rules import Rule, find_rule
from edgernn.nn import Recurrent

from families import ALL, BY_NAME

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
            result = export_model(module, example, path, family.time_axis, name="family")
            made[name] = Exported(module, example, result, path)
            (rules_folder / f"{ALL.index(family)}.json").write_text(json.dumps(sorted(used)))
        return made[name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "find_rule", find)
        yield export


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
