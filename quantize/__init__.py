"""Quantize an exported stream to exact integers."""

from edgernn.compare import Difference
from edgernn.quantize.api import QuantizeResult, quantize_model
from edgernn.quantize.module import quantize_module, quantize_onnx
from edgernn.quantize.report import NodeReport, Report
from edgernn.quantize.verify import Comparison, verify_models

__all__ = [
    "Comparison",
    "Difference",
    "NodeReport",
    "QuantizeResult",
    "Report",
    "quantize_model",
    "quantize_module",
    "quantize_onnx",
    "verify_models",
]
