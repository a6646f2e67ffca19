"""Networks of the families in tests/families.py that take more than a line."""

from __future__ import annotations

import math

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
            nn.GroupNorm(3, 6),
            nn.AvgPool2d(2),
            nn.ConvTranspose2d(6, 4, 3, 2, 1, groups=2),
            nn.AdaptiveMaxPool2d(3),
        )
        self.lstm = nn.LSTM(4 * 9, HIDDEN, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.images(x.flatten(0, 1))
        return functional.normalize(self.lstm(y.reshape(x.shape[0], x.shape[1], -1))[0], dim=-1)


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
        total = torch.relu(z).sum(2) / 50
        parts = [y.amax(1), y.amin((0, 1)).unsqueeze(0), z.max(2).values, z.min(2)[0], total, y.mean(1)]
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
        x = self.smooth(self.nearest(self.down(x.transpose(1, 2)))).repeat_interleave(2, -1)[:, :, ::3]
        return x.transpose(1, 2)


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
        self.register_buffer("window", torch.hann_window(n_fft) if center else torch.ones(n_fft))
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


class FrequencyLSTM(nn.Module):
    """Bidirectional layers over the frequencies of each frame, a GRU over time; [batch, time, frequency * 2]."""

    def __init__(self, kind: type[nn.RNNBase] = nn.LSTM, *, final: bool = False, **options: object) -> None:
        super().__init__()
        self.final = final
        self.over_frequency = kind(2, 5, batch_first=True, **options)
        wide = 10 if options.get("bidirectional") else 5
        self.over_time = nn.GRU(wide * (1 if final else FEATURES // 2), HIDDEN, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, size = x.shape
        y, h = self.over_frequency(x.reshape(batch * time, size // 2, 2))
        h = h[0] if isinstance(h, tuple) else h
        y = h.transpose(0, 1).reshape(batch, time, -1) if self.final else y.reshape(batch, time, -1)
        return self.over_time(y)[0]


class DualPath(nn.Module):
    """Conv2d, a bidirectional GRU over frequency, an LSTM over time for each frequency (Luo et al. 2020, Le 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding=1)
        self.intra = nn.GRU(6, 4, bidirectional=True, batch_first=True)
        self.intra_out, self.intra_norm = nn.Linear(8, 6), nn.LayerNorm([FEATURES, 6])
        self.inter = nn.LSTM(6, 6, batch_first=True)
        self.inter_out, self.inter_norm = nn.Linear(6, 6), nn.LayerNorm([FEATURES, 6])

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x.unsqueeze(1)).permute(0, 2, 3, 1)  # [batch, time, frequency, channel]
        batch, time, size, channels = x.shape
        y = self.intra_out(self.intra(x.reshape(batch * time, size, channels))[0])
        x = x + self.intra_norm(y.reshape(batch, time, size, channels))
        y = self.inter_out(self.inter(x.permute(0, 2, 1, 3).reshape(batch * size, time, channels))[0])
        return x + self.inter_norm(y.reshape(batch, size, time, channels).permute(0, 2, 1, 3))


class Sensors(nn.Module):
    """Every feature through the same convolutions over time, folded into the batch; the first one is quiet."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("level", torch.tensor([0.05] + [1.0] * (FEATURES - 1)))
        self.first, self.second = nn.Conv1d(1, 8, 5), nn.Conv1d(8, 8, 3, dilation=2)
        self.up = nn.ConvTranspose1d(8, 4, 2, 2)
        self.out = nn.Linear(4 * FEATURES, 5)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, size = x.shape
        y = (x * self.level).transpose(1, 2).reshape(batch * size, 1, time)
        y = torch.relu(self.first(functional.pad(y, (4, 0))))
        y = y + torch.relu(self.second(functional.pad(y, (4, 0))))
        y = self.up(y).reshape(batch, size * 4, 2 * time)
        return torch.as_tensor(self.out(y.transpose(1, 2)))


class UNet(nn.Module):
    """Strided convolutions down, GRU, transposed ones up, skips joined or added; [batch, time, features]."""

    def __init__(self, *, crop: bool, join: bool) -> None:
        super().__init__()
        self.crop, self.join = crop, join
        self.down = nn.ModuleList((nn.Conv1d(FEATURES, 8, 5, 2, 2), nn.Conv1d(8, 12, 4, 2, 1)))
        self.gru = nn.GRU(12, 12, batch_first=True)
        skipped = 16 if join else 8
        self.up = nn.ModuleList((nn.ConvTranspose1d(12, 8, 4, 2, 1), nn.ConvTranspose1d(skipped, 8, 4, 2, 1)))
        self.out = nn.Conv1d(skipped, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        skips = []
        for layer in self.down:
            skips.append(x)
            x = torch.relu(layer(x))
        x = self.gru(x.transpose(1, 2))[0].transpose(1, 2)
        for layer in self.up:
            x, skip = torch.relu(layer(x)), skips.pop()
            x = x[:, :, : skip.shape[-1]] if self.crop else x
            x = torch.cat([x, skip], 1) if self.join else x + skip
        return self.out(x).transpose(1, 2)


class UNet2d(nn.Module):
    """U-Net over time and frequency with a GRU in the middle; gives a mask for its input."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(1, 4, 3, 2, 1), nn.Conv2d(4, 6, (4, 3), 2, 1)
        self.norm = nn.BatchNorm2d(6)
        self.gru = nn.GRU(12, 12, batch_first=True)
        self.up2, self.up1 = nn.ConvTranspose2d(6, 4, 4, 2, 1), nn.ConvTranspose2d(8, 1, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(1)
        a = torch.relu(self.down1(x))
        b = torch.relu(self.norm(self.down2(a)))
        y = self.gru(b.permute(0, 2, 1, 3).flatten(2))[0].unflatten(2, (6, 2)).permute(0, 2, 1, 3)
        return torch.sigmoid(self.up1(torch.cat([torch.relu(self.up2(b + y)), a], 1))) * x


class MFCC(nn.Module):
    """Mel cepstrum as torchaudio writes it (Spectrogram, MelScale, AmplitudeToDB, MFCC of 2.5), GRU behind it."""

    window: Tensor
    fb: Tensor
    dct: Tensor

    def __init__(self, n_fft: int = 64, hop: int = 16, mels: int = 20, *, log_mels: bool, top_db: float | None) -> None:
        super().__init__()
        self.n_fft, self.hop, self.log_mels, self.top_db = n_fft, hop, log_mels, top_db
        self.register_buffer("window", torch.hann_window(n_fft))
        edges = 700 * (10 ** (torch.linspace(0, 2595 * math.log10(1 + 4000 / 700), mels + 2) / 2595) - 1)
        slopes = edges - torch.linspace(0, 4000, n_fft // 2 + 1).unsqueeze(1)
        falling, rising = -slopes[:, :-2] / edges.diff()[:-1], slopes[:, 2:] / edges.diff()[1:]
        self.register_buffer("fb", torch.minimum(falling, rising).clamp(min=0))
        angles = math.pi / mels * (torch.arange(float(mels)) + 0.5) * torch.arange(13.0).unsqueeze(1)
        self.register_buffer("dct", (torch.cos(angles) * math.sqrt(2 / mels)).T.contiguous())
        self.gru = nn.GRU(13, HIDDEN, batch_first=True)

    def forward(self, waveform: Tensor) -> Tensor:
        shape = waveform.size()
        waveform = waveform.reshape(-1, shape[-1])
        spectrum = torch.stft(
            waveform, self.n_fft, self.hop, window=self.window, center=True, normalized=False, return_complex=True
        )
        spectrum = spectrum.reshape(shape[:-1] + spectrum.shape[-2:])
        spectrum /= self.window.pow(2.0).sum().sqrt()
        mel = torch.matmul(spectrum.abs().pow(2.0).transpose(-1, -2), self.fb).transpose(-1, -2)
        mel = torch.log(mel + 1e-6) if self.log_mels else self._decibels(mel)
        cepstrum = torch.matmul(mel.transpose(-1, -2), self.dct).transpose(-1, -2)
        return self.gru(cepstrum.transpose(1, 2))[0]

    def _decibels(self, mel: Tensor) -> Tensor:
        db = 10.0 * torch.log10(torch.clamp(mel, min=1e-10))
        db -= 10.0 * math.log10(max(1e-10, 1.0))
        if self.top_db is not None:
            packed = db.reshape(-1, 1, *db.shape[-2:])
            db = torch.max(packed, (packed.amax(dim=(-3, -2, -1)) - self.top_db).view(-1, 1, 1, 1)).reshape(db.shape)
        return db


class WeightNormTCN(nn.Module):
    """Temporal blocks as Bai et al. (2018) publish them: weight norm, chopped ends, 1x1 where channels change."""

    def __init__(self) -> None:
        super().__init__()
        sizes = ((FEATURES, 12, 1), (12, 12, 2), (12, 8, 4))
        norm = nn.utils.parametrizations.weight_norm
        self.first = nn.ModuleList(norm(nn.Conv1d(a, b, 3, padding=2 * d, dilation=d)) for a, b, d in sizes)
        self.second = nn.ModuleList(norm(nn.Conv1d(b, b, 3, padding=2 * d, dilation=d)) for _, b, d in sizes)
        self.rest = nn.ModuleList(nn.Conv1d(a, b, 1) if a != b else nn.Identity() for a, b, _ in sizes)
        self.relu, self.dropout = nn.ReLU(inplace=True), nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        for first, second, rest in zip(self.first, self.second, self.rest, strict=True):
            y = x
            for conv in (first, second):
                y = self.dropout(self.relu(conv(y)[:, :, : -conv.padding[0]].contiguous()))
            x = self.relu(y + rest(x))
        return x.transpose(1, 2)


class Conditioned(nn.Module):
    """A GRU that sees one learned vector beside every frame."""

    def __init__(self) -> None:
        super().__init__()
        self.voice = nn.Parameter(torch.randn(4))
        self.gru = nn.GRU(FEATURES + 4, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, 4)

    def forward(self, x: Tensor) -> Tensor:
        time = x.shape[1]
        y = self.out(self.gru(torch.cat([x, self.voice.expand(1, time, -1)], -1))[0])
        return torch.cat([y, self.voice.view(1, 1, 4).repeat(1, time, 1)], -1).repeat(1, 1, 2)


class InPlace(nn.Module):
    """Activations, sums and scales that change their operand."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(FEATURES, 4, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv1d(4, 4, 1),
            *(kind(inplace=True) for kind in (nn.Hardtanh, nn.SiLU, nn.Mish, nn.SELU, nn.CELU, nn.Dropout)),
            nn.LogSigmoid(),
            nn.AlphaDropout(),
            nn.Dropout1d(),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x.transpose(1, 2)).transpose(1, 2)
        y += x[:, :, :4]
        z = y
        y -= 1.0
        z *= 2.0
        return y + z


class WholeSequence(nn.Module):
    """Convolution with time last, statistics of all frames, and attention with a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(FEATURES, 6, 3, padding=1)
        self.norm = nn.BatchNorm1d(6)
        self.gru = nn.GRU(6, 6, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm(self.conv(x.transpose(1, 2))))
        y = y / (y.amax(2, keepdim=True) + y.std(2, keepdim=True) + 1)
        y = self.gru(y.transpose(1, 2))[0].flip(1)
        return functional.scaled_dot_product_attention(y, y, y, is_causal=True)


class BothWaysBehindStride(nn.Module):
    """Two bidirectional layers, one behind the other, at half the rate of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(FEATURES, FEATURES, 3, 2, 1)
        self.gru = nn.GRU(FEATURES, 6, batch_first=True, bidirectional=True)
        self.rnn = nn.RNN(12, 4, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.gru(self.conv(x.transpose(1, 2)).transpose(1, 2))[0]
        return self.rnn(y.transpose(0, 1))[0].transpose(0, 1)


class Convolutions(nn.Module):
    """Convolutions of every kind over images of many axes; the last one has weights enough for int8."""

    def __init__(self) -> None:
        super().__init__()
        conv, relu = nn.Conv2d, nn.ReLU
        self.levels = nn.Parameter(torch.rand(2, 1, 2, 1) - 0.5)
        self.layers = nn.Sequential(
            conv(1, 16, 3, padding=(0, 1)),
            relu(),
            conv(16, 16, (3, 2), (1, 2), dilation=(2, 3), groups=16),
            relu(),
            conv(16, 24, (1, 3), groups=2),
            relu(),
            conv(24, 16, (3, 1), (2, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        high = torch.maximum(x.unflatten(-1, (2, 2, 2, 2)), self.levels)  # one broadcast of six axes
        return self.layers(high.flatten(2).unsqueeze(1)).transpose(1, 2).flatten(2)
