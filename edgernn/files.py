"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgernn.errors import EdgeRNNError


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` as the file `path`. Raises `EdgeRNNError` when it can't be written."""
    with draft(path) as file:
        file.write_bytes(data)


@contextmanager
def draft(path: Path) -> Iterator[Path]:
    """An empty file beside `path`, with its suffix, that takes its name when the block ends.

    It is gone when the block raises. Raises `EdgeRNNError` when it can't be written.
    """
    file = None
    try:
        handle, name = tempfile.mkstemp(suffix=path.suffix, prefix=f".{path.stem}-", dir=path.parent)
        os.close(handle)
        file = Path(name)
        yield file
        file.chmod(0o644)
        file.replace(path)
    except OSError as error:
        raise EdgeRNNError(f"cannot be written ({error.strerror})", place=str(path)) from error
    finally:
        if file is not None:
            with suppress(FileNotFoundError):
                file.unlink()
