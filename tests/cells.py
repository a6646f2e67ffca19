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


class NormedLeak(nn.Module):
    """A leaky average of normalised frames, of operations that PyTorch takes apart (`rms_norm`, `lerp`)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.norm = nn.RMSNorm(size)

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        return (torch.zeros(batch, self.size),)

    def forward(self, x: Tensor, mean: Tensor) -> tuple[Tensor, ...]:
        mean = torch.lerp(mean, self.norm(x), 0.2)
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


class ResetBeforeGRU(nn.Module):
    """GRU that resets its state before the product (Cho et al. 2014), as Keras had it first."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.weight_x = nn.Linear(inputs, 3 * hidden)
        self.gates_h = nn.Linear(hidden, 2 * hidden, bias=False)
        self.new_h = nn.Linear(hidden, hidden, bias=False)

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        return (torch.zeros(batch, self.hidden),)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        r_x, z_x, n_x = self.weight_x(x).chunk(3, -1)
        r_h, z_h = self.gates_h(h).chunk(2, -1)
        r, z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
        n = torch.tanh(n_x + self.new_h(r * h))
        h = (1 - z) * n + z * h
        return h, h


class PeepholeLSTM(nn.Module):
    """LSTM whose gates see the cell (Gers and Schmidhuber 2000)."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.weight = nn.Linear(inputs + hidden, 4 * hidden)
        self.peepholes = nn.Parameter(torch.randn(3, hidden) / 2)

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        return torch.zeros(batch, self.hidden), torch.zeros(batch, self.hidden)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        i, f, g, o = self.weight(torch.cat([x, h], -1)).chunk(4, -1)
        i = torch.sigmoid(i + self.peepholes[0] * c)
        c = torch.sigmoid(f + self.peepholes[1] * c) * c + i * torch.tanh(g)
        h = torch.sigmoid(o + self.peepholes[2] * c) * torch.tanh(c)
        return h, h, c


class ConvLSTM(nn.Module):
    """LSTM over images, with convolutions in the place of its products (Shi et al. 2015)."""

    def __init__(self, inputs: int, hidden: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.state = (hidden, *size)
        self.conv = nn.Conv2d(inputs + hidden, 4 * hidden, 3, padding=1)

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        return torch.zeros(batch, *self.state), torch.zeros(batch, *self.state)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        i, f, g, o = self.conv(torch.cat([x, h], 1)).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, h, c


class ConvRNN(nn.Module):
    """A plain recurrence whose state meets its neighbours among the features, coarser and fine again."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.near = nn.Conv1d(2, 3, 3, stride=2, padding=1)
        self.back = nn.ConvTranspose2d(3, 1, (1, 4), stride=(1, 2), padding=(0, 1))

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        return (torch.zeros(batch, self.size),)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        near = torch.relu(self.near(torch.stack([x, h], 1)))
        h = torch.tanh(self.back(near.unsqueeze(2))[:, 0, 0])
        return h, h


class FastGRNN(nn.Module):
    """One matrix for both gates, of low rank (Kusupati et al. 2018)."""

    def __init__(self, inputs: int, hidden: int, rank: int = 4) -> None:
        super().__init__()
        self.hidden = hidden
        self.weight_x = nn.Linear(inputs, hidden, bias=False)
        self.down, self.up = nn.Linear(hidden, rank, bias=False), nn.Linear(rank, hidden, bias=False)
        self.bias_z, self.bias_h = nn.Parameter(torch.randn(hidden)), nn.Parameter(torch.randn(hidden))
        self.zeta, self.nu = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(-4.0))

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        return (torch.zeros(batch, self.hidden),)

    def step(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        total = self.weight_x(x) + self.up(self.down(h))
        z, new = torch.sigmoid(total + self.bias_z), torch.tanh(total + self.bias_h)
        h = (torch.sigmoid(self.zeta) * (1 - z) + torch.sigmoid(self.nu)) * new + z * h
        return h, h


class CellStep(nn.Module):
    """PyTorch's own cell as a step."""

    def __init__(self, cell: nn.GRUCell | nn.LSTMCell) -> None:
        super().__init__()
        self.cell = cell

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        zeros = torch.zeros(batch, self.cell.hidden_size)
        return (zeros, zeros.clone()) if isinstance(self.cell, nn.LSTMCell) else (zeros,)

    def step(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        new = self.cell(x, state if len(state) > 1 else state[0])
        return (new[0], *new) if isinstance(new, tuple) else (new, new)


class MinGRU(nn.Module):
    """A GRU whose gate and candidate see the input alone (Feng et al. 2024); its own loop over time."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.weight = nn.Linear(inputs, 2 * hidden)

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        return (torch.zeros(batch, self.hidden),)

    def step(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        z, new = self.weight(x).chunk(2, -1)
        h = h + torch.sigmoid(z) * (new - h)
        return h, h

    def forward(self, x: Tensor) -> Tensor:
        (h,), rows = self.initial_state(x.shape[0]), []
        for frame in x.unbind(1):
            y, h = self.step(frame, h)
            rows.append(y)
        return torch.stack(rows, 1)


class DiagonalSSM(nn.Module):
    """A diagonal state-space layer: complex poles for each feature, discretised once (Gu et al. 2022, S4D)."""

    def __init__(self, features: int, order: int = 4) -> None:
        super().__init__()
        self.features, self.order = features, order
        self.decay = nn.Parameter(torch.rand(features, order).log())
        self.frequency = nn.Parameter(torch.pi * torch.arange(order).expand(features, order).clone())
        self.log_step = nn.Parameter(torch.full((features, 1), -2.0))
        self.into, self.out = (nn.Parameter(torch.randn(features, order, 2)) for _ in range(2))
        self.skip = nn.Parameter(torch.randn(features))

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        return torch.zeros(batch, self.features, self.order), torch.zeros(batch, self.features, self.order)

    def step(self, x: Tensor, re: Tensor, im: Tensor) -> tuple[Tensor, ...]:
        pole = torch.complex(-torch.exp(self.decay), self.frequency)
        turn = torch.exp(pole * torch.exp(self.log_step))  # zero-order hold
        into = (turn - 1) / pole * torch.view_as_complex(self.into)
        given = x.unsqueeze(-1)
        re, im = (
            turn.real * re - turn.imag * im + into.real * given,
            turn.real * im + turn.imag * re + into.imag * given,
        )
        y = 2 * (self.out[..., 0] * re - self.out[..., 1] * im).sum(-1) + self.skip * x
        return y, re, im
