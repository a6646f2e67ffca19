"""edgernn: recurrent networks trained in PyTorch, run one frame at a time on small machines."""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgernn.errors import EdgeRNNError
    from edgernn.runtime.model import Model, load
    from edgernn.runtime.package import Memory, Package, load_package
    from edgernn.runtime.stream import Stream
    from edgernn.spec import DecodingSpec, StreamSpec

__all__ = [
    "DecodingSpec",
    "EdgeRNNError",
    "Memory",
    "Model",
    "Package",
    "Stream",
    "StreamSpec",
    "__version__",
    "load",
    "load_package",
]

_HOMES = {
    "DecodingSpec": "edgernn.spec",
    "EdgeRNNError": "edgernn.errors",
    "Memory": "edgernn.runtime.package",
    "Model": "edgernn.runtime.model",
    "Package": "edgernn.runtime.package",
    "Stream": "edgernn.runtime.stream",
    "StreamSpec": "edgernn.spec",
    "load": "edgernn.runtime.model",
    "load_package": "edgernn.runtime.package",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("edgernn")
    if name not in _HOMES:
        raise AttributeError(f"module 'edgernn' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
