"""The module families that export, and what is known of each: hop, delay, and how its frames are counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import attentive
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgernn.nn import LogMel, Recurrent, limited_attention, lookahead

import networks
import refused
import spellings
from cells import (
    EMA,
    CellStep,
    ConvLSTM,
    ConvRNN,
    DiagonalSSM,
    FastGRNN,
    LayerNormLSTM,
    MinGRU,
    NormedLeak,
    PeepholeLSTM,
    ResetBeforeGRU,
)

FEATURES, HIDDEN, FRAMES = networks.FEATURES, networks.HIDDEN, 24


@dataclass(frozen=True)
class Family:
    """A module to export: what makes it and its example, and the contract that must come out."""

    name: str
    make: Callable[[], nn.Module]
    example: Callable[[], Tensor | tuple[Tensor, ...]]
    time_axis: int = 1
    hop: int = 1
    delay: int = 0
    whole_hops: bool = False  # the module takes no other lengths
    options: Mapping[str, Any] = field(default_factory=dict)  # of the export
    whole: Callable[[nn.Module, Tensor], object] | None = None  # what the module means in a mode, on `[1, T, …]`

    def build(self) -> tuple[nn.Module, Tensor | tuple[Tensor, ...]]:
        """The module in eval mode, with weights and running statistics that are not trivial, and its example."""
        torch.manual_seed(len(self.name))
        module = self.make().eval()
        for item in module.modules():
            if isinstance(item, (nn.BatchNorm1d, nn.BatchNorm2d)):
                assert item.running_mean is not None
                assert item.running_var is not None
                item.running_mean.normal_()
                item.running_var.uniform_(0.5, 2)
                item.bias.data.normal_()
        return module, self.example()


class Lambda(nn.Module):
    """A forward made of a function, for modules with few or no parameters."""

    def __init__(self, function: Callable[..., object], **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> object:
        return self.function(self, x)


class WithState(nn.Module):
    """`forward(x, h=None) -> (y, h)`."""

    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, h = self.rnn(x, h)
        return y, h


class LearnedState(nn.Module):
    """A GRU whose initial state is a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.h0 = nn.Parameter(torch.randn(2, 1, HIDDEN))
        self.gru = nn.GRU(FEATURES, HIDDEN, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.gru(x, self.h0.expand(-1, x.shape[0], -1).contiguous())[0]


class CRNN(nn.Module):
    """Convolutions over time, batch norm, GRU, head."""

    def __init__(self, *, causal: bool, strides: tuple[int, int] = (1, 1), dilation: int = 1) -> None:
        super().__init__()
        padding = 0 if causal else 2 * dilation
        self.left = 4 * dilation if causal else 0
        self.conv1 = nn.Conv1d(FEATURES, 12, 5, stride=strides[0], padding=padding, dilation=dilation)
        self.conv2 = nn.Conv1d(12, 12, 3, stride=strides[1], padding=0 if causal else 1, groups=3)
        self.bn1, self.bn2 = nn.BatchNorm1d(12), nn.BatchNorm1d(12)
        self.gru = nn.GRU(12, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.pad(x.transpose(1, 2), (self.left, 0))
        x = torch.relu(self.bn1(self.conv1(x)))
        x = functional.pad(x, (2, 0)) if self.left else x
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.out(self.gru(x.transpose(1, 2))[0])


class TCN(nn.Module):
    """Dilated causal blocks that pad on both sides and cut the end off, with residuals (Bai et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(FEATURES, FEATURES, 3, padding=2 * d, dilation=d) for d in (1, 2, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        for conv in self.convs:
            x = x + torch.relu(conv(x)[:, :, : -conv.padding[0]])
        return x.transpose(1, 2)


class Residual(nn.Module):
    """Layers of GRU with layer norm, dropout and a residual around each."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(FEATURES) for _ in range(2))
        self.grus = nn.ModuleList(nn.GRU(FEATURES, FEATURES, batch_first=True) for _ in range(2))
        self.dropout = nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        for norm, gru in zip(self.norms, self.grus, strict=True):
            x = x + self.dropout(gru(norm(x))[0])
        return x


class Spectral(nn.Module):
    """Power spectrum, logarithm, cumulative mean normalisation, GRU."""

    def __init__(self, *, center: bool, pad_mode: str = "reflect") -> None:
        super().__init__()
        self.center, self.pad_mode = center, pad_mode
        self.register_buffer("window", torch.hann_window(64))
        self.gru = nn.GRU(33, HIDDEN, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.stft(
            x, 64, 16, window=self.window, center=self.center, pad_mode=self.pad_mode, return_complex=True
        )
        mel = torch.log(spectrum.abs() ** 2 + 1e-3)
        mean = torch.cumsum(mel, -1) / torch.arange(1, mel.shape[-1] + 1)
        return self.gru((mel - mean).transpose(1, 2))[0]


class KeywordNet(nn.Module):
    """Raw audio to log-posteriors, as in the example."""

    def __init__(self) -> None:
        super().__init__()
        self.mel = LogMel(8000, 256, 80, 20)
        self.norm = Recurrent(EMA(20))
        self.conv = nn.Conv1d(20, 16, 3, stride=2)
        self.gru = nn.GRU(16, HIDDEN, 2, batch_first=True)
        self.out = nn.Linear(HIDDEN, 11)

    def forward(self, audio: Tensor) -> Tensor:
        x = self.norm(self.mel(audio)).transpose(1, 2)
        x = torch.relu(self.conv(functional.pad(x, (2, 0)))).transpose(1, 2)
        return torch.log_softmax(self.out(self.gru(x)[0]), -1)


def frames() -> Tensor:
    """`[batch, time, features]`."""
    return torch.randn(1, FRAMES, FEATURES)


def time_major() -> Tensor:
    """`[time, batch, features]`."""
    return torch.randn(FRAMES, 1, FEATURES)


def ids() -> Tensor:
    """`[batch, time]`."""
    return torch.randint(0, 10, (1, FRAMES))


def audio() -> Tensor:
    """`[batch, samples]`."""
    return torch.randn(1, 640)


def _gated(m: nn.Module, x: Tensor) -> Tensor:
    a, b = m.proj(x).chunk(2, -1)
    return a * torch.sigmoid(b)


def _mixed(m: nn.Module, x: Tensor) -> Tensor:
    y = torch.log(x.abs() + 1) ** 3 / (1 + x.pow(2)).sqrt()
    y = torch.where(x > 0, torch.tanh(y), functional.silu(x)) - functional.gelu(x, approximate="tanh")
    y = functional.elu(y) + functional.leaky_relu(x, 0.2) + functional.hardswish(x) * functional.softplus(x)
    return torch.cat([y.clamp(-1, 1), functional.glu(x, -1), y[:, :, 2:5].mean(-1, keepdim=True)], -1)


def _running(m: nn.Module, x: Tensor) -> Tensor:
    index = torch.arange(1, x.shape[1] + 1).unsqueeze(-1)
    return x - torch.cumsum(x, 1) / index


def _two_rates(m: nn.Module, x: Tensor) -> dict[str, Tensor]:
    coarse = m.conv(x.transpose(1, 2)).transpose(1, 2)
    return {"fine": torch.tanh(x), "coarse": coarse}


def _delayed_sum(m: nn.Module, x: Tensor) -> Tensor:
    x = x.transpose(1, 2)
    return (m.wide(x) + m.narrow(x) + x[:, :4]).transpose(1, 2)


def _stacked(m: nn.Module, x: Tensor) -> Tensor:
    return m.gru(x.reshape(1, x.shape[1] // 3, 3 * x.shape[2]))[0]


class TwoInputs(nn.Module):
    """Audio features and a control signal, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(FEATURES + 3, HIDDEN, batch_first=True)

    def forward(self, features: Tensor, control: Tensor) -> Tensor:
        return self.gru(torch.cat([features, control], -1))[0]


def two_inputs() -> tuple[Tensor, Tensor]:
    """`[batch, time, features]` twice."""
    return torch.randn(1, FRAMES, FEATURES), torch.randn(1, FRAMES, 3)


def rnn(kind: type[nn.RNNBase], *sizes: int, newest: str = "", **options: object) -> Callable[[], nn.Module]:
    """A recurrent module, with its state returned or only its newest output."""

    def make() -> nn.Module:
        inner = kind(*(sizes or (FEATURES, HIDDEN)), batch_first=True, **options)
        if newest == "output":
            return Lambda(lambda m, x: m.out(m.rnn(x)[0][:, -1]), rnn=inner, out=nn.Linear(HIDDEN, 4))
        if newest == "state":
            return Lambda(lambda m, x: m.out(m.rnn(x)[1][-1]), rnn=inner, out=nn.Linear(HIDDEN, 4))
        return WithState(inner)

    return make


def _windows(name: str, make: Callable[[], nn.Module], length: int, slide: int | None = None) -> Family:
    """A module that sees windows; results of windows that follow each other are joined in time."""
    step = slide or length

    def whole(module: nn.Module, x: Tensor) -> Tensor:
        starts = range(0, x.shape[1] - length + 1, step)
        results = [module(x[:, start : start + length]) for start in starts]
        return torch.cat(results, 1 if step == length and results[0].ndim > 2 else 0)

    mode = f"window:{length}" if slide is None else f"window:{length}/{slide}"
    delay = max(0, -(-length // step) - 1)
    return Family(name, make, frames, hop=step, delay=delay, options={"mode": mode}, whole=whole)


def _lookahead(layers: dict[str, tuple[int, int]]) -> Callable[[nn.Module, Tensor], object]:
    def whole(module: nn.Module, x: Tensor) -> object:
        with lookahead(module, layers):
            return module(x)

    return whole


def _limited(layers: dict[str, tuple[int, int]]) -> Callable[[nn.Module, Tensor], object]:
    def whole(module: nn.Module, x: Tensor) -> object:
        with limited_attention(module, layers):
            return module(x)

    return whole


def _attention(name: str, attend: Callable[..., Tensor], delay: int = 0) -> Family:
    return Family(name, lambda: attentive.Attention(attend), frames, delay=delay)


FAMILIES = (
    Family("RNN tanh", rnn(nn.RNN), frames),
    Family("RNN relu", rnn(nn.RNN, nonlinearity="relu"), frames),
    Family("GRU", rnn(nn.GRU), frames),
    Family("GRU 2 layers, no bias", rnn(nn.GRU, FEATURES, HIDDEN, 2, bias=False), frames),
    Family("GRU time-major", lambda: WithState(nn.GRU(FEATURES, HIDDEN)), time_major, time_axis=0),
    Family("GRU, learned initial state", LearnedState, frames),
    Family("LSTM", rnn(nn.LSTM), frames),
    Family("LSTM 2 layers, dropout", rnn(nn.LSTM, FEATURES, HIDDEN, 2, dropout=0.2), frames),
    Family("LSTM proj_size", rnn(nn.LSTM, FEATURES, HIDDEN, 2, proj_size=6), frames),
    Family("newest output of GRU", rnn(nn.GRU, newest="output"), frames),
    Family("newest state of GRU", rnn(nn.GRU, newest="state"), frames),
    Family(
        "newest states of all layers",
        lambda: Lambda(
            lambda m, x: m.out(m.gru(x)[1].permute(1, 0, 2).reshape(1, -1)),
            gru=nn.GRU(FEATURES, HIDDEN, 2, batch_first=True),
            out=nn.Linear(2 * HIDDEN, 4),
        ),
        frames,
    ),
    Family(
        "Embedding, LSTM, Linear",
        lambda: Lambda(
            lambda m, x: m.out(m.lstm(m.table(x))[0]),
            table=nn.Embedding(10, FEATURES),
            lstm=nn.LSTM(FEATURES, HIDDEN, batch_first=True),
            out=nn.Linear(HIDDEN, 10),
        ),
        ids,
    ),
    Family(
        "Embedding, causal convolution, GRU",
        lambda: Lambda(
            lambda m, x: m.gru(torch.relu(m.conv(functional.pad(m.table(x).mT, (2, 0))).mT))[0],
            table=nn.Embedding(10, FEATURES),
            conv=nn.Conv1d(FEATURES, HIDDEN, 3),
            gru=nn.GRU(HIDDEN, HIDDEN, batch_first=True),
        ),
        ids,
    ),
    Family("CRNN causal, dilated", lambda: CRNN(causal=True, dilation=2), frames),
    Family("CRNN causal, strided", lambda: CRNN(causal=True, strides=(2, 2)), frames, hop=4),
    Family("CRNN symmetric", lambda: CRNN(causal=False), frames, delay=3),
    Family("CRNN symmetric, strided", lambda: CRNN(causal=False, strides=(3, 2)), frames, hop=6),
    Family("TCN with cut ends", TCN, frames),
    Family("residual GRUs, LayerNorm", Residual, frames),
    Family(
        "branches with other delays",
        lambda: Lambda(
            _delayed_sum, wide=nn.Conv1d(FEATURES, 4, 7, padding=3), narrow=nn.Conv1d(FEATURES, 4, 3, padding=1)
        ),
        frames,
        delay=3,
    ),
    Family(
        "two outputs, two rates",
        lambda: Lambda(_two_rates, conv=nn.Conv1d(FEATURES, 4, 3, stride=2, padding=1)),
        frames,
        hop=2,
    ),
    Family("two inputs", TwoInputs, two_inputs),
    Family(
        "frames stacked by three",
        lambda: Lambda(_stacked, gru=nn.GRU(3 * FEATURES, HIDDEN, batch_first=True)),
        frames,
        hop=3,
        whole_hops=True,
    ),
    Family("STFT, cumulative mean", lambda: Spectral(center=False), audio, hop=16, delay=3),
    Family("STFT centred, reflect", lambda: Spectral(center=True), audio, hop=16, delay=2),
    Family("STFT centred, zeros", lambda: Spectral(center=True, pad_mode="constant"), audio, hop=16, delay=1),
    Family("gate by chunk", lambda: Lambda(_gated, proj=nn.Linear(FEATURES, 2 * HIDDEN)), frames),
    Family("element-wise mix", lambda: Lambda(_mixed), frames),
    Family("running mean (cumsum, arange)", lambda: Lambda(_running), frames),
    Family("Recurrent(EMA)", lambda: Recurrent(EMA(FEATURES)), frames),
    Family("Recurrent(LayerNormLSTM)", lambda: Recurrent(LayerNormLSTM(FEATURES, HIDDEN)), frames),
    Family(
        "Recurrent behind a delay",
        lambda: Lambda(
            lambda m, x: m.cell(m.conv(x.transpose(1, 2)).transpose(1, 2)),
            conv=nn.Conv1d(FEATURES, FEATURES, 5, padding=2),
            cell=Recurrent(LayerNormLSTM(FEATURES, HIDDEN)),
        ),
        frames,
        delay=2,
    ),
    Family("Recurrent(GRU with reset before)", lambda: Recurrent(ResetBeforeGRU(FEATURES, HIDDEN)), frames),
    Family("Recurrent(LSTM with peepholes)", lambda: Recurrent(PeepholeLSTM(FEATURES, HIDDEN)), frames),
    Family("Recurrent(ConvLSTM)", lambda: Recurrent(ConvLSTM(2, 4, (6, 5))), lambda: torch.randn(1, FRAMES, 2, 6, 5)),
    Family("Recurrent, convolving over features", lambda: Recurrent(ConvRNN(FEATURES)), frames),
    Family(
        "convolutions of the newest frame",
        lambda: Lambda(
            lambda m, x: m.image(m.line(m.gru(x)[0][:, -1:]).reshape(3, 1, 4, -1)).reshape(1, -1),
            gru=nn.GRU(FEATURES, HIDDEN, batch_first=True),
            line=nn.Conv1d(1, 3, 3, padding=1),
            image=nn.Conv2d(1, 2, 3, padding=1),
        ),
        frames,
    ),
    Family("step of GRUCell", lambda: CellStep(nn.GRUCell(FEATURES, HIDDEN)), frames),
    Family("step of LSTMCell", lambda: CellStep(nn.LSTMCell(FEATURES, HIDDEN)), frames),
    Family("step of FastGRNN", lambda: FastGRNN(FEATURES, HIDDEN), frames),
    Family(
        "Recurrent(cell with RMSNorm and lerp), Linear",
        lambda: Lambda(lambda m, x: m.out(m.cell(x)), cell=Recurrent(NormedLeak(FEATURES)), out=nn.Linear(FEATURES, 5)),
        frames,
    ),
    Family("step of minGRU", lambda: MinGRU(FEATURES, HIDDEN), frames),
    Family(
        "diagonal state-space layer, Linear",
        lambda: Lambda(lambda m, x: m.out(m.ssm(x)), ssm=Recurrent(DiagonalSSM(FEATURES)), out=nn.Linear(FEATURES, 5)),
        frames,
    ),
    Family("CRNN 2d causal, strided, depthwise", lambda: networks.CRNN2d(causal=True), frames, hop=2),
    Family("CRNN 2d symmetric, strided, depthwise", lambda: networks.CRNN2d(causal=False), frames, hop=2, delay=2),
    Family("Conv2d, time last, max pooling", networks.TimeLast2d, frames, delay=2),
    Family("Conv2d per video frame, LSTM", networks.Video, lambda: torch.randn(1, FRAMES, 3, 8, 8)),
    Family(
        "Conv1d over features",
        lambda: Lambda(
            lambda m, x: torch.tanh(m.conv(x.reshape(-1, 2, FEATURES // 2))).reshape(1, x.shape[1], -1),
            conv=nn.Conv1d(2, 3, 3, stride=2, padding=1),
        ),
        frames,
    ),
    Family("max and mean pooling over time", networks.Pooled, frames, hop=4, delay=1),
    Family("mean pooling over time and features", networks.PooledBoth, frames, delay=1),
    Family("statistics pooling since reset", networks.StatisticsPooling, frames, hop=2, delay=1),
    Family("extremes and sums since reset", networks.Extremes, frames, delay=1),
    Family("transposed convolutions", networks.Vocoder, frames, delay=6),
    Family("rate up, down and up", networks.UpThenDown, frames, delay=4),
    Family("autoencoder over time and features", networks.Transposed2d, frames, hop=2, delay=1),
    Family("blocks of audio", networks.Blocks, lambda: torch.randn(1, 320), hop=16, whole_hops=True),
    Family("STFT, mask by GRU, ISTFT", lambda: networks.Enhancer("mask"), audio, hop=16, delay=64),
    Family("STFT, complex mask, ISTFT", lambda: networks.Enhancer("complex", length=True), audio, hop=16, delay=64),
    Family(
        "STFT, angles, ISTFT not centred",
        lambda: networks.Enhancer("angle", 64, 24, center=False),
        lambda: torch.randn(1, 640),
        hop=24,
        delay=48,
    ),
    Family("MFCC of decibels", lambda: networks.MFCC(log_mels=False, top_db=None), audio, hop=16, delay=2),
    Family("MFCC of log mels", lambda: networks.MFCC(log_mels=True, top_db=None), audio, hop=16, delay=2),
    Family("BiLSTM over frequency", lambda: networks.FrequencyLSTM(bidirectional=True, num_layers=2), frames),
    Family(
        "BiGRU over frequency, final states",
        lambda: networks.FrequencyLSTM(nn.GRU, bidirectional=True, final=True),
        frames,
    ),
    Family("RNN over frequency", lambda: networks.FrequencyLSTM(nn.RNN, nonlinearity="relu", bias=False), frames),
    Family("dual path over frequency and time", networks.DualPath, frames, delay=1),
    Family(
        "U-Net, joined skips", lambda: networks.UNet(crop=False, join=True), frames, hop=4, whole_hops=True, delay=7
    ),
    Family(
        "U-Net, added skips, cropped",
        lambda: networks.UNet(crop=True, join=False),
        frames,
        hop=4,
        whole_hops=True,
        delay=7,
    ),
    Family("convolutions of sensors in the batch", networks.Sensors, frames),
    Family("U-Net 2d with a GRU", networks.UNet2d, frames, hop=4, delay=7, whole_hops=True),
    Family("TCN with weight norm", networks.WeightNormTCN, frames),
    Family("deep stack of GRU, LSTM and RNN", networks.Depth, frames),
    Family("conditioned by a constant", networks.Conditioned, frames),
    Family("activations in place", networks.InPlace, frames, delay=1),
    Family("keyword net on raw audio", KeywordNet, lambda: torch.randn(1, 1600), hop=160),
    _attention("attention to the newest frames, GRU", attentive.windowed),
    _attention("attention with ALiBi", attentive.alibi),
    _attention("attention with learned biases", attentive.learned, delay=1),
    _attention("attention, grouped heads", attentive.grouped),
    _attention("attention, rotary positions", attentive.rotary),
    _attention("attention, rotary positions in pairs", attentive.rotary_pairs),
    Family("MultiheadAttention that sees ahead, strided", attentive.Conformer, frames, hop=2, delay=3),
    Family("attention pooling", attentive.Pooling, frames),
    Family("attention pooling, three heads", attentive.HeadPooling, frames),
    Family("attentive statistics pooling", attentive.StatisticsPooling, frames, hop=2, delay=1),
)
# what needs the future: in windows, or with a little of it
MODES = (
    _windows("BiLSTM tagger in windows", refused.Tagger, 12),
    _windows("BiLSTM tagger in sliding windows", refused.Tagger, 12, 5),
    _windows("LSTM autoencoder in windows", refused.Autoencoder, 8),
    _windows("attention pooling in sliding windows", attentive.Pooling, 8, 4),
    _windows("normalized utterances in windows with gaps", refused.Normalized, 8, 10),
    _windows("self-attention in windows", refused.Transformer, 8),
    _windows("convolutions and attention, time last, in windows", networks.WholeSequence, 8),
    Family(
        "BiLSTM, lookahead",
        refused.Tagger,
        frames,
        hop=2,
        delay=16,
        options={"lookahead": "8/2"},
        whole=_lookahead({"encoder": (8, 2)}),
    ),
    Family(
        "causal transformer, attention window",
        attentive.Encoder,
        frames,
        options={"attention_window": 6},
        whole=_limited({f"layers.layers.{index}.self_attn": (6, 0) for index in range(2)}),
    ),
    Family(
        "self-attention, attention window",
        lambda: attentive.Attention(attentive.everywhere),
        frames,
        delay=2,
        options={"attention_window": "6/2"},
        whole=_limited({"": (6, 2)}),
    ),
    Family(
        "BiGRU and BiRNN behind a stride, lookahead",
        networks.BothWaysBehindStride,
        frames,
        hop=6,
        delay=12,
        options={"lookahead": "4/3"},
        whole=_lookahead({"gru": (4, 3), "rnn": (4, 3)}),
    ),
)
# every operation in every spelling that a graph may hold it in; what they compute is of no use
SPELLINGS = (
    Family("spellings: arithmetic", lambda: Lambda(spellings.arithmetic, slope=nn.PReLU(FEATURES)), frames),
    Family("spellings: functions", lambda: Lambda(spellings.functions), frames),
    Family("spellings: comparisons", lambda: Lambda(spellings.comparisons), frames),
    Family("spellings: shapes", lambda: Lambda(spellings.shapes), frames),
    Family("spellings: constants", lambda: Lambda(spellings.constants), frames),
    Family("spellings: products", lambda: Lambda(spellings.products, out=nn.Linear(FEATURES, FEATURES)), frames),
    Family("spellings: deviations", lambda: Lambda(spellings.deviations), frames),
    Family("spellings: attention", lambda: Lambda(spellings.attention), frames, delay=1),
    Family("spellings: pooling", lambda: Lambda(spellings.pooling), frames),
    Family(
        "spellings: decompositions",
        lambda: Lambda(spellings.decompositions, norm=nn.RMSNorm(FEATURES), out=nn.Linear(FEATURES, FEATURES)),
        frames,
    ),
    Family("spellings: frames before", lambda: Lambda(spellings.over_time), frames),
    Family("spellings: complex values", lambda: Lambda(spellings.complex_values), frames),
)
ALL = (*FAMILIES, *MODES, *SPELLINGS)
BY_NAME = {family.name: family for family in ALL}
