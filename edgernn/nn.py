"""PyTorch modules that stream: a place for custom cells, and a log-mel front end."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["LogMel", "Recurrent"]


class Recurrent(nn.Module):
    """Runs a custom cell over time, and lets it export as a streaming layer.

    The cell is a module with `step(x_t, *state) -> (y_t, *state)`, or `forward` in its place, for one frame `x_t`
    `[batch, …]`, and `initial_state(batch) -> tuple of tensors [batch, …]`. The layer takes x `[batch, time, …]` and
    gives y `[batch, time, …]`; every sequence starts from the initial state. In eager mode it is a Python loop; under
    `torch.export` it is one `scan` node, which `edgernn.export` turns into the operations of a step.
    """

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        """x `[batch, time, …]` to y `[batch, time, …]`."""
        if torch.compiler.is_exporting():
            return scan_over_time(self.cell, x)
        step, state, rows = _step_of(self.cell), self.cell.initial_state(x.shape[0]), []  # type: ignore[operator]
        for frame in x.unbind(1):
            y, *state = step(frame, *state)
            rows.append(y)
        return torch.stack(rows, 1)


def _step_of(cell: nn.Module) -> Callable[..., Any]:
    return getattr(cell, "step", cell)


def scan_over_time(cell: nn.Module, x: Tensor) -> Tensor:
    """What `Recurrent` and a module with a `step` of its own are under `torch.export`: one `scan` node."""
    from torch._higher_order_ops.scan import scan

    def advance(carried: list[Tensor], frame: Tensor) -> tuple[list[Tensor], Tensor]:
        y, *new = _step_of(cell)(frame, *carried)
        # scan's outputs must not share memory with each other or with its inputs
        return [item.clone() for item in new], y.clone()

    _, rows = scan(advance, list(cell.initial_state(x.shape[0])), x.movedim(1, 0))  # type: ignore[operator]
    y: Tensor = rows.movedim(0, 1)
    return y


class LogMel(nn.Module):
    """Logarithmic mel spectrum: samples `[batch, time]` to `[batch, time / hop_length, n_mels]`, without delay.

    Frame `i` is of the `n_fft` samples that end with sample `(i + 1) * hop_length - 1`; there are zeros before the
    first sample. Mel filters are triangles of height 1 on the HTK scale, `2595 log10(1 + f / 700)` (O'Shaughnessy
    1987), between `f_min` and `f_max` Hz. The logarithm is natural, of the power plus `floor`.
    """

    window: Tensor
    filters: Tensor

    def __init__(
        self,
        sample_rate: int,
        n_fft: int,
        hop_length: int,
        n_mels: int,
        *,
        f_min: float = 20.0,
        f_max: float | None = None,
        floor: float = 1e-6,
    ) -> None:
        super().__init__()
        if not 0 < hop_length <= n_fft:
            raise ValueError(f"hop_length {hop_length} is not between 1 and n_fft {n_fft}")
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.floor = floor
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        filters = mel_filters(sample_rate, n_fft, n_mels, f_min, f_max or sample_rate / 2)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """samples `[batch, time]` to log-mel frames `[batch, time / hop_length, n_mels]`."""
        samples = functional.pad(samples, (self.n_fft - self.hop_length, 0))
        spectrum = torch.stft(
            samples, self.n_fft, self.hop_length, window=self.window, center=False, return_complex=True
        )
        power = spectrum.abs().pow(2).transpose(1, 2)
        return torch.log(power @ self.filters + self.floor)


def mel_filters(sample_rate: int, n_fft: int, n_mels: int, f_min: float, f_max: float) -> Tensor:
    """Triangular filters `[n_fft / 2 + 1, n_mels]` on the HTK mel scale."""
    low, high = (2595 * math.log10(1 + f / 700) for f in (f_min, f_max))
    edges = 700 * (10 ** (torch.linspace(low, high, n_mels + 2, dtype=torch.float64) / 2595) - 1)
    bins = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0).float()
