"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from edgernn.errors import EdgeRNNError


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` as the file `path`. Raises `EdgeRNNError` when it can't be written."""
    with draft(path) as file:
        file.write_bytes(data)


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write `files` by name as the folder `path`, all or none; one that holds no others is replaced.

    Raises `EdgeRNNError` when something else lies there, or it can't be written.
    """
    if path.exists() and not (path.is_dir() and {item.name for item in path.iterdir()} <= files.keys()):
        raise EdgeRNNError("holds something else already", place=str(path), hint="name a new folder")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as room:
            made, before = Path(room) / "made", Path(room) / "before"
            made.mkdir()
            for name, data in files.items():
                (made / name).write_bytes(data)
            if path.exists():
                path.rename(before)
            made.rename(path)
    except OSError as error:
        raise EdgeRNNError(f"cannot be written ({error.strerror})", place=str(path)) from error


@contextmanager
def draft(path: Path) -> Iterator[Path]:
    """An empty file beside `path`, with its suffix, that takes its name when the block ends.

    It is gone when the block raises, and errors of ours about it name `path`. Raises `EdgeRNNError` when it can't be
    written.
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
    except EdgeRNNError as error:
        if file is None or str(file) not in error.place:
            raise
        place = error.place.replace(str(file), str(path))
        raise type(error)(error.cause, place=place, hint=error.hint) from error
    finally:
        if file is not None:
            with suppress(FileNotFoundError):
                file.unlink()
