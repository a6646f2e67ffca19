"""Masks and biases of an attention as functions of the distance between two frames."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgernn.errors import UnsupportedError

MASKED = -1e4  # what is added to a score so low masks it: exp of it is 0
NO_DISTANCE = "its mask or bias is no function of how far apart two frames are"


@dataclass(frozen=True)
class ByDistance:
    """`table[..., d + known]` for frame i that attends to frame i - d, `-known <= d <= known`."""

    table: Tensor

    @property
    def known(self) -> int:
        """The largest distance that the captured lengths tell of."""
        return self.table.shape[-1] // 2

    def at(self, distances: Tensor) -> Tensor:
        """`[..., *distances]`. Raises `UnsupportedError` beyond what is known."""
        if int(distances.abs().max()) > self.known:
            raise UnsupportedError(
                f"the example's frames tell of {self.known + 1} frames that a frame attends to, not"
                f" {int(distances.abs().max()) + 1}",
                hint="give a longer example, or a shorter attention window",
            )
        return self.table[..., distances + self.known]

    def limits(self) -> tuple[int | None, int | None]:
        """Smallest and largest distance that is not masked, None where it grows with the sequence."""
        masked = self.table if self.table.dtype == torch.bool else self.table <= MASKED
        open_ = torch.nonzero(~masked.reshape(-1, masked.shape[-1]).all(0))[:, 0] - self.known
        if not len(open_):
            raise UnsupportedError("its mask leaves no frame to attend to")
        low, high = int(open_[0]), int(open_[-1])
        return (None if low == -self.known else low), (None if high == self.known else high)


def by_distance(first: Tensor, second: Tensor) -> ByDistance:
    """What `[..., T, T]` at two lengths have in common. Raises `UnsupportedError` where that is no function of it."""
    length = second.shape[-1]
    behind = second[..., :, 0]
    ahead = second[..., 0, 1:].flip(-1)
    found = ByDistance(torch.cat([ahead, behind], -1))
    for tensor in (first, second):
        index = torch.arange(tensor.shape[-1])
        if tensor.shape[-2:] != (len(index), len(index)) or not _same(tensor, found.at(index[:, None] - index)):
            raise UnsupportedError(
                NO_DISTANCE,
                hint=f"mask frames by their distance: `i - j < {max(2, length // 4)}`; or use a window mode",
            )
    return found


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a, b) if a.dtype == torch.bool else torch.allclose(a, b, rtol=1e-5, atol=1e-6)
