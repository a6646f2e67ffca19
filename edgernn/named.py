"""Objects of the caller's own modules, named on the command line."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from edgernn.errors import EdgeRNNError


def named(text: str, kind: str, error: type[EdgeRNNError]) -> Any:
    """What `pkg.module:name` names, the working folder being on the path. Raises `error`, which calls it a `kind`."""
    module, _, attribute = text.partition(":")
    if not module or not attribute:
        raise error(f"`{text}` names no {kind}", hint=f"write `package.module:{kind}`")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        home = importlib.import_module(module)
    except Exception as reason:  # a module may fail in any way
        raise error(f"cannot be imported: {reason}", place=module, hint="run where `import` finds it") from reason
    if not hasattr(home, attribute):
        raise error(f"has no `{attribute}`", place=module)
    return getattr(home, attribute)
