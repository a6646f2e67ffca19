"""Custom cells as users write them, for `edgernn.nn.Recurrent`."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class EMA(nn.Module):
    """Takes an exponential moving average off each feature; its decay is learned."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.decay = nn.Parameter(torch.rand(size))

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        return (torch.zeros(batch, self.size),)

    def forward(self, x: Tensor, mean: Tensor) -> tuple[Tensor, ...]:
        mean = self.decay * mean + (1 - self.decay) * x
        return x - mean, mean


class LayerNormLSTM(nn.Module):
    """LSTM with layer normalisation (Ba et al. 2016)."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.weight_x = nn.Linear(inputs, 4 * hidden, bias=False)
        self.weight_h = nn.Linear(hidden, 4 * hidden, bias=False)
        self.norm = nn.LayerNorm(4 * hidden)
        self.norm_c = nn.LayerNorm(hidden)

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        return torch.zeros(batch, self.hidden), torch.zeros(batch, self.hidden)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        i, f, g, o = self.norm(self.weight_x(x) + self.weight_h(h)).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(self.norm_c(c))
        return h, h, c
