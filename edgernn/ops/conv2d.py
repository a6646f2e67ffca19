"""Convolution over time and a feature axis, or over two feature axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgernn.program import Array, Op, Operand, Type, present, volume


@dataclass(frozen=True, kw_only=True)
class Patches:
    """The geometry that `Conv2d` and `QConv2d` share: which elements each output reads.

    The window's rows are its frames, `[kept + frames, batch, in, width]`, and row `j` of the result is output frame
    `j`; where `over_time` is false they are those of each frame's own image, `[frames, in, height, width]`. Result
    row `j` (of `count`) reads rows `first + j * stride + tap * dilation`, column `k` reads columns
    `k * width_stride + tap * width_dilation`.
    """

    count: int
    first: int = 0
    stride: int = 1
    dilation: int = 1
    width_stride: int = 1
    width_dilation: int = 1
    groups: int = 1
    over_time: bool = True

    def shape(self, window: tuple[int, ...], weight: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the result for a window and a weight `[out, in / groups, taps, width taps]`."""
        columns = (window[3] - (weight[3] - 1) * self.width_dilation - 1) // self.width_stride + 1
        if self.over_time:
            return (self.count, window[1], weight[0], columns)
        return (window[0], weight[0], self.count, columns)

    def take(self, window: Array, weight: tuple[int, ...]) -> Array:
        """What each output reads: `[images, groups, rows, columns, in / groups * taps * width taps]`."""
        images = window.transpose(1, 2, 0, 3) if self.over_time else window
        _, inputs, taps, width_taps = weight
        columns = self.shape(window.shape, weight)[3]
        rows = self.first + self.stride * np.arange(self.count)[:, None] + self.dilation * np.arange(taps)
        places = self.width_stride * np.arange(columns)[:, None] + self.width_dilation * np.arange(width_taps)
        found = images[:, :, rows[:, None, :, None], places[None, :, None, :]]
        found = found.reshape(len(images), self.groups, inputs, self.count, columns, taps, width_taps)
        return found.transpose(0, 1, 3, 4, 2, 5, 6).reshape(*found.shape[:2], self.count, columns, -1)

    def give(self, sums: Array) -> Array:
        """The result, of sums `[images, groups, rows, columns, out / groups]`."""
        images = sums.transpose(0, 1, 4, 2, 3).reshape(len(sums), -1, *sums.shape[2:4])
        return images.transpose(2, 0, 1, 3) if self.over_time else images

    def by_group(self, weight: Array) -> Array:
        """Weights `[groups, out / groups, in / groups * taps * width taps]`."""
        return weight.reshape(self.groups, len(weight) // self.groups, -1)


@dataclass(frozen=True, kw_only=True)
class Conv2d(Patches, Op):
    """`torch.nn.Conv2d` without padding: weight `[out, in / groups, taps, width taps]`, bias `[out]` or absent."""

    window: Operand
    weight: Operand
    bias: Operand = ""

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        window, weight = present(operands[0]), present(operands[1])
        return (Type(window.dtype, self.shape(window.shape, weight.shape)),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        window, weight, bias = present(operands[0]), present(operands[1]), operands[2]
        sums = self.take(window, weight.shape) @ self.by_group(weight)[:, None].swapaxes(-1, -2)
        return (self.give(sums if bias is None else sums + bias.reshape(self.groups, 1, 1, -1)),)

    def macs(self, *operands: Type | None) -> int:
        window, weight = present(operands[0]), present(operands[1])
        return volume(self.shape(window.shape, weight.shape)) * volume(weight.shape[1:])
