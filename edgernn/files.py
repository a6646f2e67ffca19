"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from edgernn.errors import EdgeRNNError


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` beside `path`, then give it that name. Raises `EdgeRNNError` when the folder can't be written."""
    draft = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        draft = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        draft.chmod(0o644)
        draft.replace(path)
    except OSError as error:
        raise EdgeRNNError(f"cannot be written ({error.strerror})", place=str(path)) from None
    finally:
        if draft is not None:
            with suppress(FileNotFoundError):
                draft.unlink()
