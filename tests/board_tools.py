"""What tests of boards share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
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


def waited(happens: Callable[[], object], seconds: float) -> bool:
    """Whether something happens within some seconds."""
    end = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def programs_in(folder: Path) -> list[int]:
    """Processes that work in a folder, or below it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cwd"):
        try:
            where = os.readlink(path)
        except OSError:
            continue
        if where.startswith(str(folder)):
            found.append(int(path.parent.name))
    return found
