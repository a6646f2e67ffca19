"""Read ONNX files into a `Program`: those that edgernn wrote, and streaming steps that others exported."""

from edgernn.export.onnx_in.foreign import Step, StepOptions, has_contract, read_model, read_step
from edgernn.export.onnx_in.ours import parse_program, read_program

__all__ = [
    "Step",
    "StepOptions",
    "has_contract",
    "parse_program",
    "read_model",
    "read_program",
    "read_step",
]
