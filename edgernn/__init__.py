"""edgernn: recurrent networks trained in PyTorch, run one frame at a time on small machines."""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgernn.errors import EdgeRNNError
    from edgernn.runtime.model import Model, load
    from edgernn.runtime.stream import Stream
    from edgernn.spec import StreamSpec

__all__ = ["EdgeRNNError", "Model", "Stream", "StreamSpec", "__version__", "load"]

_HOMES = {
    "EdgeRNNError": "edgernn.errors",
    "Model": "edgernn.runtime.model",
    "Stream": "edgernn.runtime.stream",
    "StreamSpec": "edgernn.spec",
    "load": "edgernn.runtime.model",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("edgernn")
    if name not in _HOMES:
        raise AttributeError(f"module 'edgernn' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
