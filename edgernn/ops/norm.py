"""Normalisation over the features of a frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgernn.program import Array, Op, Operand, Type, present


@dataclass(frozen=True, kw_only=True)
class LayerNorm(Op):
    """`torch.nn.LayerNorm` over the last `axes` axes: x `[frames, …]`, weight and bias of their shape or absent."""

    x: Operand
    weight: Operand = ""
    bias: Operand = ""
    axes: int = 1
    eps: float = 1e-5

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        return (present(operands[0]),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        x, weight, bias = present(operands[0]), operands[1], operands[2]
        axes = tuple(range(-self.axes, 0))
        mean = x.mean(axes, keepdims=True)
        y = (x - mean) / np.sqrt(x.var(axes, keepdims=True) + np.float32(self.eps))
        y = y if weight is None else y * weight
        return (y if bias is None else y + bias,)


@dataclass(frozen=True, kw_only=True)
class BatchNorm(Op):
    """`torch.nn.BatchNorm` in eval mode over channel axis `axis` of x `[frames, …]`; parameters `[channels]`."""

    x: Operand
    mean: Operand
    variance: Operand
    weight: Operand = ""
    bias: Operand = ""
    axis: int
    eps: float = 1e-5

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        return (present(operands[0]),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        x, mean, variance = (present(operand) for operand in operands[:3])
        weight, bias = operands[3:]
        shape = (-1, *[1] * (x.ndim - 1 - self.axis))
        scale = 1 / np.sqrt(variance + np.float32(self.eps))
        scale = scale if weight is None else scale * weight
        y = (x - mean.reshape(shape)) * scale.reshape(shape)
        return (y if bias is None else y + bias.reshape(shape),)
