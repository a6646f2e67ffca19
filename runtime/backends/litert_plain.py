"""Back end for `.tflite` files without XNNPACK: the built-in kernels that other delegates fall back to."""

from __future__ import annotations

from edgernn.errors import MissingExtraError
from edgernn.runtime.backends.litert import LiteRTEngine


def load_engine(data: bytes, place: str, threads: int) -> LiteRTEngine:
    """As in `litert`."""
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError:
        raise MissingExtraError(
            "ai-edge-litert is not installed", place=place, hint="pip install 'edgernn[litert]'"
        ) from None
    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES

    def make(content: bytes) -> Interpreter:
        return Interpreter(model_content=content, num_threads=threads, experimental_op_resolver_type=kernels)

    return LiteRTEngine(data, place, make, "ai-edge-litert")
