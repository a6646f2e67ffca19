"""Ten modules as users bring them that do not stream, and what each is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import attentive
import torch
from torch import Tensor, nn

FEATURES, HIDDEN = 8, 16


@dataclass(frozen=True)
class Refused:
    """A module that is refused: where, for what, and what to do."""

    name: str
    make: Callable[[], nn.Module]
    place: str
    cause: str
    hint: str


class Tagger(nn.Module):
    """BiLSTM tagger."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(FEATURES, HIDDEN, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * HIDDEN, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x)[0])


class Packed(nn.Module):
    """A classifier that packs its batch."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(FEATURES, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 5)

    def forward(self, x: Tensor) -> Tensor:
        lengths = torch.full((x.shape[0],), x.shape[1])
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.head(self.rnn(packed)[1][-1])


class CellLoop(nn.Module):
    """A loop over nn.LSTMCell."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(FEATURES, HIDDEN)
        self.head = nn.Linear(HIDDEN, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(x.shape[0], HIDDEN)
        rows = []
        for frame in x.unbind(1):
            h, c = self.cell(frame, (h, c))
            rows.append(self.head(h))
        return torch.stack(rows, 1)


class OwnCell(nn.Module):
    """A loop over a cell of one's own."""

    class Decay(nn.Module):
        """An exponential mean with a learned rate."""

        def __init__(self) -> None:
            super().__init__()
            self.rate = nn.Parameter(torch.zeros(FEATURES))

        def forward(self, x: Tensor, mean: Tensor) -> Tensor:
            return mean + torch.sigmoid(self.rate) * (x - mean)

    def __init__(self) -> None:
        super().__init__()
        self.decay = self.Decay()
        self.rnn = nn.GRU(FEATURES, HIDDEN, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        mean, rows = x[:, 0], []
        for frame in x.unbind(1):
            mean = self.decay(frame, mean)
            rows.append(frame - mean)
        return self.rnn(torch.stack(rows, 1))[0]


class Autoencoder(nn.Module):
    """LSTM autoencoder: the last state, repeated, is decoded."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(FEATURES, HIDDEN, batch_first=True)
        self.decoder = nn.LSTM(HIDDEN, FEATURES, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        h = self.encoder(x)[1][0][-1]
        return self.decoder(h.unsqueeze(1).repeat(1, x.shape[1], 1))[0]


class Normalized(nn.Module):
    """Each utterance less its mean, over its deviation, before the GRU."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm1d(FEATURES)
        self.rnn = nn.GRU(FEATURES, HIDDEN, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(self.norm(x.transpose(1, 2)).transpose(1, 2))[0]


class Transformer(nn.Module):
    """Self-attention over all frames behind a GRU."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(FEATURES, HIDDEN, batch_first=True)
        self.attention = nn.MultiheadAttention(HIDDEN, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.rnn(x)[0]
        return self.attention(y, y, y, need_weights=False)[0]


class BothWays(nn.Module):
    """Two GRUs, one of them on the reversed sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.there = nn.GRU(FEATURES, HIDDEN, batch_first=True)
        self.back = nn.GRU(FEATURES, HIDDEN, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.there(x)[0], self.back(x.flip(1))[0].flip(1)], -1)


class Seq2Seq(nn.Module):
    """A learned position for each of the frames it was built for."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(1, 512, FEATURES))
        self.rnn = nn.GRU(FEATURES, HIDDEN, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x + self.positions[:, : x.shape[1]])[0]


def example() -> Tensor:
    """`[batch, time, features]`."""
    return torch.randn(1, 24, FEATURES)


WINDOW = "--mode window:N"
REFUSED = (
    Refused("BiLSTM tagger", Tagger, "`encoder`, `lstm`", "bidirectional", "--lookahead N"),
    Refused("packed batch", Packed, "`rnn`, `pack_padded_sequence`", "PackedSequence", "without packing"),
    Refused("loop over nn.LSTMCell", CellLoop, "`cell`, `lstm_cell`", "Python loop over time", "`nn.LSTM`"),
    Refused("loop over a cell of one's own", OwnCell, "`decay`, `sigmoid`", "Python loop over time", "Recurrent(cell)"),
    Refused("LSTM autoencoder", Autoencoder, "`forward`, `repeat`", "newest frame", WINDOW),
    Refused("normalized utterances", Normalized, "`norm`, `instance_norm`", "all frames", "cumsum"),
    Refused(
        "self-attention", Transformer, "`attention`, `scaled_dot_product_attention`", "all frames", "is_causal=True"
    ),
    Refused(
        "causal self-attention",
        lambda: attentive.Attention(attentive.causal),
        "`forward`, `scaled_dot_product_attention`",
        "all frames so far",
        "--attention-window N",
    ),
    Refused("GRU on the reversed sequence", BothWays, "`forward`, `flip`", "time backwards", WINDOW),
    Refused("learned positions", Seq2Seq, "`forward`, `slice`", "`positions`", "torch.arange"),
)
