"""Back end for `.tflite` files on machines that have the older tflite-runtime package."""

from __future__ import annotations

import numpy as np

from edgernn.errors import MissingExtraError
from edgernn.runtime.backends.litert import LiteRTEngine


def load_engine(data: bytes, place: str, threads: int) -> LiteRTEngine:
    """As in `litert`; raises `MissingExtraError` beside NumPy 2, with which tflite-runtime 2.14 fails obscurely."""
    try:
        from tflite_runtime.interpreter import Interpreter
    except ImportError:
        raise MissingExtraError(
            "tflite-runtime is not installed",
            place=place,
            hint="pip install tflite-runtime 'numpy<2', or ai-edge-litert",
        ) from None
    if int(np.__version__.split(".")[0]) >= 2:
        raise MissingExtraError(
            "tflite-runtime was built for NumPy 1", place=place, hint="pip install 'numpy<2', or ai-edge-litert"
        )

    def make(content: bytes) -> Interpreter:
        return Interpreter(model_content=content, num_threads=threads)

    return LiteRTEngine(data, place, make, "tflite-runtime")
