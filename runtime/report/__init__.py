"""One page about model files: what they take and keep, what int8 cost, how late a step is. Device side, no torch."""

from edgernn.runtime.report.fidelity import Fidelity, compare_models
from edgernn.runtime.report.findings import Findings, examine
from edgernn.runtime.report.page import render

__all__ = ["Fidelity", "Findings", "compare_models", "examine", "render"]
