"""Run a model file one frame at a time. This side never imports torch or onnx."""

from typing import TYPE_CHECKING, Any

from edgernn.runtime.frames import by_name as check_frames
from edgernn.runtime.model import Model, load, load_programs
from edgernn.runtime.package import Memory, Package, load_package
from edgernn.runtime.stream import Stream
from edgernn.runtime.whole import in_turn, run_long, run_whole, take_and_give_alike

if TYPE_CHECKING:
    from edgernn.runtime.recording import read as read_recording

__all__ = [
    "Memory",
    "Model",
    "Package",
    "Stream",
    "check_frames",
    "in_turn",
    "load",
    "load_package",
    "load_programs",
    "read_recording",
    "run_long",
    "run_whole",
    "take_and_give_alike",
]


def __getattr__(name: str) -> Any:
    if name == "read_recording":  # not at the top: with csv, wave and zipfile it takes as long as all the rest
        from edgernn.runtime.recording import read

        return read
    raise AttributeError(f"module 'edgernn.runtime' has no attribute {name!r}")
