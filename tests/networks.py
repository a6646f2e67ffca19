"""Networks of the families in tests/families.py that take more than a line."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

FEATURES, HIDDEN = 8, 16


class CRNN2d(nn.Module):
    """Conv2d over time and features (strided, depthwise and dilated, pointwise), batch norm, GRU."""

    def __init__(self, *, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.first = nn.Conv2d(1, 6, (3, 5), (2, 2), padding=(0, 2) if causal else (1, 2))
        self.norm = nn.BatchNorm2d(6)
        self.depthwise = nn.Conv2d(6, 6, 3, padding=(0, 1) if causal else (2, 1), dilation=(2, 1), groups=6)
        self.pointwise = nn.Conv2d(6, 8, 1)
        self.gru = nn.GRU(8 * FEATURES // 2, HIDDEN, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(1)  # [batch, 1, time, features]
        x = torch.relu(self.norm(self.first(functional.pad(x, (0, 0, 2, 0)) if self.causal else x)))
        x = self.depthwise(functional.pad(x, (0, 0, 4, 0)) if self.causal else x)
        x = torch.relu(self.pointwise(x))
        return self.gru(x.permute(0, 2, 1, 3).flatten(2))[0]


class TimeLast2d(nn.Module):
    """Conv2d on [batch, channels, features, time], as spectrograms come; 'same' padding, pooling of both axes."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Conv2d(1, 4, 3, padding="same")
        self.pool = nn.MaxPool2d((2, 3), (2, 1), (0, 1))
        self.wide = nn.Conv2d(4, 2, (4, 2), stride=(2, 1), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(torch.relu(self.same(x.transpose(1, 2).unsqueeze(1))))
        return self.wide(functional.pad(x, (1, 0))).flatten(1, 2).transpose(1, 2)


class Video(nn.Module):
    """Convolutions and pooling of each frame's image, LSTM over the frames; [batch, time, channel, height, width]."""

    def __init__(self) -> None:
        super().__init__()
        self.images = nn.Sequential(
            nn.Conv2d(3, 4, 3, 2, 1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 6, 3, padding=1, groups=2),
            nn.AvgPool2d(2),
            nn.ConvTranspose2d(6, 4, 3, 2, 1, groups=2),
            nn.AdaptiveMaxPool2d(3),
        )
        self.lstm = nn.LSTM(4 * 9, HIDDEN, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.images(x.flatten(0, 1))
        return self.lstm(y.reshape(x.shape[0], x.shape[1], -1))[0]


class Pooled(nn.Module):
    """Maxima and means over windows of time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(FEATURES, 12, 3, padding="same")
        self.most = nn.MaxPool1d(3, 2, 1, dilation=1)
        self.mean = nn.AvgPool1d(4, 2, 1)
        self.gru = nn.GRU(12, HIDDEN, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mean(self.most(torch.relu(self.conv(x.transpose(1, 2)))))
        return self.gru(x.transpose(1, 2))[0]


class PooledBoth(nn.Module):
    """Means over time and features together, then over parts of the features."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.pool = nn.AvgPool2d((2, 2), (1, 2), (1, 0))
        self.parts = nn.AdaptiveAvgPool2d((None, 2))
        self.out = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.parts(self.pool(torch.relu(self.conv(x.unsqueeze(1)))))
        return self.out(x.transpose(1, 2).flatten(2))


class StatisticsPooling(nn.Module):
    """Mean and deviation over time since reset behind a convolution that is late (Snyder et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(FEATURES, 6, 5, stride=2, padding=2)
        self.out = nn.Linear(18, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.conv(x.transpose(1, 2)))
        return self.out(torch.cat([y.mean(2), y.std(2), y.var(2, unbiased=False)], -1))


class Extremes(nn.Module):
    """Largest, smallest and summed since reset, of every feature and of all."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(FEATURES, HIDDEN, batch_first=True)
        self.conv = nn.Conv1d(FEATURES, HIDDEN, 3, padding=1)
        self.out = nn.Linear(7 * HIDDEN, 4)

    def forward(self, x: Tensor) -> Tensor:
        y, z = self.gru(x)[0], self.conv(x.transpose(1, 2))
        parts = [y.amax(1), y.amin((0, 1)).unsqueeze(0), z.max(2).values, z.min(2)[0], y.sum(1), y.mean(1)]
        pooled = functional.adaptive_avg_pool1d(z, 1) + functional.adaptive_max_pool1d(z, 1)
        return self.out(torch.cat([*parts, pooled.squeeze(2)], 1)) + torch.stack([y.max(), y.min()]).sum() + z.mean()


class Vocoder(nn.Module):
    """GRU at frame rate, transposed convolutions up to many samples a frame (grouped, dilated, with output padding)."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(FEATURES, HIDDEN, batch_first=True)
        self.up1 = nn.ConvTranspose1d(HIDDEN, 8, 4, 2, 1, groups=2)
        self.up2 = nn.ConvTranspose1d(8, 6, 5, 3, 2, output_padding=1, dilation=2)
        self.out = nn.ConvTranspose1d(6, 1, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.gru(x)[0].transpose(1, 2)
        return torch.tanh(self.out(torch.relu(self.up2(torch.relu(self.up1(x)))))).squeeze(1)


class UpThenDown(nn.Module):
    """A layer with state between a doubled rate and its half; repetition; back to the rate of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose1d(FEATURES, 4, 4, 2, 1)
        self.gru = nn.GRU(4, 6, batch_first=True)
        self.down = nn.Conv1d(6, 5, 4, 2, 1)
        self.nearest = nn.Upsample(scale_factor=3)
        self.smooth = nn.Conv1d(5, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.gru(self.up(x.transpose(1, 2)).transpose(1, 2))[0]
        return self.smooth(self.nearest(self.down(x.transpose(1, 2)))).repeat_interleave(2, -1)[:, :, ::3]


class Transposed2d(nn.Module):
    """Autoencoder over time and features: Conv2d down, ConvTranspose2d up, as long as the input again."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 4, 3, 2, 1)
        self.up = nn.ConvTranspose2d(4, 6, (4, 3), (2, 2), (1, 1), (0, 1), groups=2)
        self.nearest = nn.UpsamplingNearest2d(scale_factor=2)
        self.out = nn.Conv2d(6, 1, (2, 3), (2, 2), (0, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.up(torch.relu(self.down(x.unsqueeze(1)))))
        return self.out(self.nearest(y[:, :, : x.shape[1]])).squeeze(1)


class Blocks(nn.Module):
    """Raw audio in blocks of 16 samples: GRU, and samples again; [batch, samples]."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(16, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.gru(x.reshape(1, -1, 16))[0]).reshape(1, -1)


class Enhancer(nn.Module):
    """STFT, a mask by a GRU, and the inverse STFT: `kind` says how the spectrum is masked."""

    window: Tensor

    def __init__(self, kind: str, n_fft: int = 64, hop: int = 16, *, length: bool = False, center: bool = True) -> None:
        super().__init__()
        self.kind, self.length, self.center, self.sizes = kind, length, center, (n_fft, hop)
        self.register_buffer("window", torch.hann_window(n_fft) if center else torch.hamming_window(n_fft))
        bins = n_fft // 2 + 1
        self.gru = nn.GRU(bins, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, 2 * bins if kind == "complex" else bins)

    def forward(self, x: Tensor) -> Tensor:
        sizes = {"n_fft": self.sizes[0], "hop_length": self.sizes[1], "window": self.window, "center": self.center}
        spectrum = torch.stft(x, **sizes, return_complex=True)
        size = spectrum.abs()
        mask = self.out(self.gru(torch.log(size + 1e-3).transpose(1, 2))[0]).transpose(1, 2)
        masked = self._masked(spectrum, size, mask)
        return torch.istft(masked, **sizes, length=x.shape[-1] if self.length else None)

    def _masked(self, spectrum: Tensor, size: Tensor, mask: Tensor) -> Tensor:
        if self.kind == "complex":
            return spectrum * torch.complex(*torch.tanh(mask).chunk(2, 1))
        gain = torch.sigmoid(mask)
        if self.kind == "angle":
            angle = spectrum.angle()
            rest = torch.view_as_complex(torch.stack([spectrum.real, spectrum.imag], -1)) - spectrum * (1 - gain)
            along = torch.polar(size * gain, angle) + size * gain * torch.exp(1j * angle)
            return (along + torch.complex(size * torch.cos(angle), size * torch.sin(angle)) * gain - rest) / 2
        return spectrum * gain


class Depth(nn.Module):
    """Deep stack: GRU, LSTM and RNN layers with dropout, a residual and LayerNorm between each."""

    def __init__(self) -> None:
        super().__init__()
        kinds = (nn.GRU, nn.LSTM, nn.GRU, nn.RNN)
        self.layers = nn.ModuleList(kind(FEATURES, FEATURES, 2, dropout=0.2, batch_first=True) for kind in kinds)
        self.norms = nn.ModuleList(nn.LayerNorm(FEATURES) for _ in kinds)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = norm(x + self.dropout(layer(x)[0]))
        return x
