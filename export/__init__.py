"""Export a PyTorch sequence module as a stream."""

from edgernn.export.api import ExportResult, export_model
from edgernn.export.onnx_in import read_program

__all__ = ["ExportResult", "export_model", "read_program"]
