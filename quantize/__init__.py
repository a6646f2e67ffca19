"""Quantize an exported stream to exact integers."""

from edgernn.compare import Difference
from edgernn.quantize.api import QuantizeResult, quantize_model
from edgernn.quantize.module import quantize_module, quantize_onnx
from edgernn.quantize.package import QuantizedPackage, quantize_package
from edgernn.quantize.report import NodeReport, Report
from edgernn.quantize.verify import Comparison, verify_models

__all__ = [
    "Comparison",
    "Difference",
    "NodeReport",
    "QuantizeResult",
    "QuantizedPackage",
    "Report",
    "quantize_model",
    "quantize_module",
    "quantize_onnx",
    "quantize_package",
    "verify_models",
]
