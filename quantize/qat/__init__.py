"""Quantization-aware training: the exact arithmetic inside an ordinary PyTorch module."""

from edgernn.quantize.qat.module import QATModule, prepare

__all__ = ["QATModule", "prepare"]
