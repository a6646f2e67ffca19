"""Run a model file one frame at a time. This side never imports torch or onnx."""

from edgernn.runtime.frames import by_name as check_frames
from edgernn.runtime.model import Model, load
from edgernn.runtime.recording import read as read_recording
from edgernn.runtime.stream import Stream

__all__ = ["Model", "Stream", "check_frames", "load", "read_recording"]
