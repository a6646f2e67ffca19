"""Which function writes which operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgernn.export.to_tflite.builder import Builder
from edgernn.program import Op

Row = Callable[[Builder, Any], None]
ROWS: dict[type[Op], Row] = {}


def row(kind: type[Op]) -> Callable[[Row], Row]:
    """Register the writer of an operation: it takes operands from the builder and leaves results there."""

    def register(function: Row) -> Row:
        ROWS[kind] = function
        return function

    return register
