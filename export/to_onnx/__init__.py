"""Write a `Program` as a streaming ONNX file: one node per operation, cells as model-local functions."""

from edgernn.export.to_onnx.writer import to_onnx

__all__ = ["to_onnx"]
