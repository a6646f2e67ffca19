"""Which function reads which ONNX operation."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from edgernn.export.onnx_in.symbols import Node, Symbol

if TYPE_CHECKING:
    from edgernn.export.onnx_in.reader import Reader

Reading = Callable[["Reader", Node], "Symbol | Sequence[Symbol | None]"]
F = TypeVar("F", bound=Reading)

FAMILIES = (
    "control",
    "conv",
    "elementwise",
    "layout",
    "norm",
    "pool",
    "products",
    "recurrent",
    "reduce",
    "scatter",
)

_READINGS: dict[str, Reading] = {}
_FOLDING: set[str] = set()


def reads(*op_types: str, folds: bool = False) -> Callable[[F], F]:
    """Register a function as what reads these ONNX operations; one that `folds` gives what is known of what is."""

    def register(function: F) -> F:
        for op_type in op_types:
            if op_type in _READINGS:
                raise ValueError(f"two readings of {op_type}")
            _READINGS[op_type] = function
            if folds:
                _FOLDING.add(op_type)
        return function

    return register


def find_reading(op_type: str) -> Reading | None:
    """What reads an operation, by its ONNX name; None for one that nothing reads."""
    return _all().get(op_type)


def folds(op_type: str) -> bool:
    """Whether the reading of an operation also computes what is known."""
    return op_type in _FOLDING


def read_names() -> tuple[str, ...]:
    """Every ONNX operation that is read."""
    return tuple(sorted(_all()))


@cache
def _all() -> dict[str, Reading]:
    for family in FAMILIES:
        importlib.import_module(f"edgernn.export.onnx_in.{family}")
    return _READINGS
