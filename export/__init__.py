"""Export a PyTorch sequence module as a stream."""

from edgernn.export.api import ExportResult, export_model
from edgernn.export.formats import ConvertResult, check_path, convert_model, encode, write_model
from edgernn.export.onnx_in import parse_program, read_program
from edgernn.export.other import StepResult, export_onnx
from edgernn.export.package import (
    PackageResult,
    convert_package,
    export_decoder,
    export_package,
    read_package,
    write_package,
)
from edgernn.export.plan import Plan, plan_export
from edgernn.export.proof import Proof
from edgernn.export.summary import summarize
from edgernn.export.to_onnx import to_onnx
from edgernn.export.whole import WholeSequence

__all__ = [
    "ConvertResult",
    "ExportResult",
    "PackageResult",
    "Plan",
    "Proof",
    "StepResult",
    "WholeSequence",
    "check_path",
    "convert_model",
    "convert_package",
    "encode",
    "export_decoder",
    "export_model",
    "export_onnx",
    "export_package",
    "parse_program",
    "plan_export",
    "read_package",
    "read_program",
    "summarize",
    "to_onnx",
    "write_model",
    "write_package",
]
