"""What a device's install leaves out, where a command of its own asks for it."""

from __future__ import annotations

import importlib
from typing import Any

from edgernn.errors import HOST_INSTALL, MissingExtraError


def of_host(module: str, place: str) -> Any:
    """A module of the package that only hosts have. Raises `MissingExtraError` on a device."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if not (error.name or "").startswith("edgernn."):
            raise
        raise MissingExtraError("is not in this install, which is a device's", place=place, hint=HOST_INSTALL) from None
