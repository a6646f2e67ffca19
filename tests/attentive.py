"""Modules whose frames attend to frames, in the spellings that people use."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

FEATURES, HIDDEN = 8, 16


def distance(x: Tensor, axis: int = 1) -> Tensor:
    """`[T, T]`: how far frame j lies behind frame i."""
    index = torch.arange(x.shape[axis])
    return index[:, None] - index


class Attention(nn.Module):
    """Self-attention of two heads beside a GRU; `attend` takes the module, q, k and v `[batch, heads, T, features]`."""

    def __init__(self, attend: Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.attend = attend
        self.rnn = nn.GRU(FEATURES, HIDDEN, batch_first=True)
        self.project = nn.Linear(HIDDEN, 3 * HIDDEN)
        self.bias = nn.Parameter(torch.randn(2, 7))

    def forward(self, x: Tensor) -> Tensor:
        y = self.rnn(x)[0]
        batch, length, _ = y.shape
        q, k, v = (part.reshape(batch, length, 2, -1).transpose(1, 2) for part in self.project(y).chunk(3, -1))
        return y + self.attend(self, q, k, v).transpose(1, 2).reshape(batch, length, HIDDEN)


def windowed(m: nn.Module, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The newest five frames."""
    behind = distance(q, 2)
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=(behind >= 0) & (behind < 5))


def causal(m: nn.Module, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """All frames so far."""
    return functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def everywhere(m: nn.Module, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """All frames."""
    return torch.softmax(q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5, -1) @ v


def alibi(m: nn.Module, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """A slope for each head over the distance (Press et al. 2022), of seven frames."""
    behind = distance(q, 2)
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 - torch.tensor([0.5, 0.25])[:, None, None] * behind
    return scores.masked_fill((behind < 0) | (behind > 6), float("-inf")).softmax(-1) @ v


def learned(m: nn.Module, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """A learned bias for each distance (Raffel et al. 2020), below a smooth limit; one frame of the future."""
    behind = distance(q, 2)
    full = torch.full((q.shape[2], q.shape[2]), float("-inf"))
    scores = 4 * torch.tanh(torch.matmul(q, k.mT) * 0.3)
    scores = scores + m.bias[:, behind.clamp(0, 6)] + full.triu(2) + full.tril(-7)
    return torch.matmul(functional.softmax(scores, dim=-1), v)


def grouped(m: nn.Module, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One head of keys and values for both of the queries (Ainslie et al. 2023)."""
    behind = distance(q, 2)
    band = ((behind < 0) | (behind > 3)).float() * -1e9
    return functional.scaled_dot_product_attention(q, k[:, :1], v[:, :1], attn_mask=band, enable_gqa=True)


def rotary(m: nn.Module, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Queries and keys turned by their position (Su et al. 2021), in halves."""
    angles = torch.outer(torch.arange(q.shape[2]).float(), 10.0 ** -torch.arange(4))
    cos, sin = (wave(torch.cat([angles, angles], -1)) for wave in (torch.cos, torch.sin))

    def turned(x: Tensor) -> Tensor:
        return x * cos + torch.cat([-x[..., 4:], x[..., :4]], -1) * sin

    return windowed(m, turned(q), turned(k), v)


def rotary_pairs(m: nn.Module, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same, of neighbouring features."""
    angles = torch.arange(q.shape[2])[:, None] * 10.0 ** -torch.arange(4)
    cos, sin = angles.cos(), angles.sin()

    def turned(x: Tensor) -> Tensor:
        even, odd = x[..., ::2], x[..., 1::2]
        return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)

    return windowed(m, turned(q), turned(k), v)


class Conformer(nn.Module):
    """Convolution, attention that sees two frames of the future, a stride, and attention that sees one."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv1d(FEATURES, HIDDEN, 5, padding=2)
        self.first = nn.MultiheadAttention(HIDDEN, 2, batch_first=True)
        self.rnn = nn.GRU(HIDDEN, HIDDEN, batch_first=True)
        self.coarse = nn.Conv1d(HIDDEN, HIDDEN, 3, stride=2, padding=1)
        self.second = nn.MultiheadAttention(HIDDEN, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.wide(x.transpose(1, 2)).transpose(1, 2)
        behind = distance(y)
        y = y + self.first(y, y, y, attn_mask=(behind > 5) | (behind < -2))[0]
        y = self.coarse(self.rnn(y)[0].transpose(1, 2)).transpose(1, 2)
        behind = distance(y)
        return y + self.second(y, y, y, attn_mask=(behind > 3) | (behind < -1), need_weights=False)[0]


class Encoder(nn.Module):
    """Two layers of a causal transformer behind a GRU, sines of positions added in front."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(FEATURES, HIDDEN, batch_first=True)
        layer = nn.TransformerEncoderLayer(HIDDEN, 2, 24, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        angles = torch.arange(x.shape[1])[:, None] * 10.0 ** -torch.arange(HIDDEN // 2)
        y = self.rnn(x)[0] + torch.cat([angles.sin(), angles.cos()], -1)
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.layers(y, mask=mask, is_causal=True)


class Pooling(nn.Module):
    """GRU, and a softmax over time that weighs its frames."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(FEATURES, HIDDEN, batch_first=True)
        self.score = nn.Linear(HIDDEN, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.rnn(x)[0]
        return (torch.softmax(self.score(y), 1) * y).sum(1)


class HeadPooling(nn.Module):
    """Three heads of weights, by a matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(FEATURES, HIDDEN, batch_first=True)
        self.score, self.out = nn.Linear(HIDDEN, 3), nn.Linear(3 * HIDDEN, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.rnn(x)[0]
        weights = torch.softmax(self.score(torch.tanh(y)), dim=1).transpose(1, 2)
        return self.out((weights @ y).flatten(1))


class StatisticsPooling(nn.Module):
    """Weighted mean and deviation of each channel, time last, behind a delay and a stride (Okabe et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(FEATURES, 12, 5, stride=2, padding=2)
        self.squeeze, self.score = nn.Conv1d(12, 6, 1), nn.Conv1d(6, 12, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x.transpose(1, 2))
        weights = torch.softmax(self.score(torch.tanh(self.squeeze(y))), dim=2)
        mean = torch.sum(y * weights, dim=2)
        variance = torch.sum(y**2 * weights, dim=2) - mean**2
        return torch.cat([mean, variance.clamp(1e-4).sqrt()], 1)
