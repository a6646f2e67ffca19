"""Export a PyTorch sequence module as a stream."""

from edgernn.export.api import ExportResult, export_model
from edgernn.export.onnx_in import parse_program, read_program
from edgernn.export.summary import summarize
from edgernn.export.to_onnx import to_onnx

__all__ = ["ExportResult", "export_model", "parse_program", "read_program", "summarize", "to_onnx"]
