"""What tests of boards share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
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


def command(*words: object) -> subprocess.Popen[str]:
    """`edgernn` in a process of its own, which Ctrl-C ends even where this one was told to ignore it (nohup, `&`)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a process inherits what is ignored, no handler
    try:
        line = [sys.executable, "-m", "edgernn.cli", *map(str, words)]
        return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)


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


def write_clip(path: Path, samples: npt.NDArray[Any], rate: int) -> Path:
    """Samples within ±1 as a recording of 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((samples * np.float32(32767)).astype("<i2").tobytes())
    return path
