"""What tests of boards share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

from edgernn.errors import MissingExtraError, TargetError

T = TypeVar("T")


def tool(call: Callable[[], T]) -> T:
    """What a call gives; skips where it misses a tool."""
    try:
        return call()
    except MissingExtraError as error:
        pytest.skip(str(error))
    except TargetError as error:
        if "is not installed" in str(error):
            pytest.skip(f"{error.cause} (make system-tools)")
        raise
