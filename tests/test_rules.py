"""No rule, operation or body stands alone: families use every rule, and every operation has all of its forms."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from edgernn.export.rules import attention_rule_names, rule_names
from edgernn.export.to_ernn import api  # noqa: F401  registers the packer's rows
from edgernn.export.to_ernn.rows import ROWS
from edgernn.export.to_onnx.body import _BODIES
from edgernn.export.to_onnx.writer import standard_name
from edgernn.ops import Binary, Unary, Where
from edgernn.program import Op
from edgernn.quantize.reference.registry import _EXACT, _MEANINGS

from conftest import Exporter
from families import ALL

REFUSING: set[str] = set()  # say only why: tests/test_refusals.py


@pytest.mark.xdist_group("rules")
def test_every_rule_is_used_by_a_family(exported: Exporter, families_folder: Path) -> None:
    """A rule that no exported and proved family needs is a rule without a test."""
    used = set()
    for index, family in enumerate(ALL):
        path = families_folder / f"{index}.json"
        if not path.exists():  # no other test of this session has exported it yet
            exported(family.name)
        used.update(json.loads(path.read_text()))
    rules = {*rule_names(), *(f"{name}, attention" for name in attention_rule_names())}
    assert rules - used == REFUSING


def test_rules_are_of_real_operations() -> None:
    """Their names are those of ATen's overloads, so none waits for a node that never comes."""
    for name in set(rule_names()) - {"getitem", "scan"}:
        kind, overload = name.split(".")
        assert overload in getattr(torch.ops.aten, kind).overloads(), name


@pytest.mark.parametrize("kind", [pytest.param(kind, id=name) for name, kind in sorted(Op.registry.items())])
def test_every_operation_has_all_its_forms(kind: type[Op]) -> None:
    """An ONNX form, an exact meaning, and a row of the packer for the engine."""
    assert kind.__doc__
    assert kind in (Unary, Binary, Where) or kind.__name__ in _BODIES
    assert kind in _EXACT or kind in _MEANINGS
    assert kind in ROWS or kind.__name__ in FOLDED
    assert standard_name  # the three above are standard nodes


# operations of parameters alone, which the packer computes
FOLDED = {"Int4"}
