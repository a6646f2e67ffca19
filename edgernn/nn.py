"""PyTorch modules that stream: a place for custom cells, and a log-mel front end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["LogMel", "Recurrent", "limited_attention", "lookahead"]


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


@contextmanager
def lookahead(module: nn.Module, layers: Mapping[str, tuple[int, int]]) -> Iterator[None]:
    """Within the `with`, bidirectional layers of `module` see little of the future (Zhang et al. 2016).

    `layers` gives (frames, block) for the path of each such layer. Time is cut into blocks; the backward half of each
    layer of the stack runs over a block and so many `frames` behind it, from zeros, and its results are the block's. So
    every frame sees `frames` of the future, or up to `block - 1` more; behind the end they are zeros. The forward half
    is as ever; the final state is not given (zeros). An export with `lookahead` is proved against this; it trains, too.
    """
    patched = [(item, layers[name]) for name, item in module.named_modules() if name in layers]
    for item, (frames, block) in patched:
        item.forward = partial(_with_lookahead, item, frames, block)
    try:
        yield
    finally:
        for item, _ in patched:
            del item.forward


def _with_lookahead(
    layer: nn.RNNBase, frames: int, block: int, x: Tensor, state: Any = None
) -> tuple[Tensor, Tensor | tuple[Tensor, Tensor]]:
    x = x if layer.batch_first else x.transpose(0, 1)
    batch, length, _ = x.shape
    starts = (state if isinstance(state, tuple) else (state,)) if state is not None else ()
    for index in range(layer.num_layers):
        forward = _one_way(layer, f"l{index}", x, [item[2 * index : 2 * index + 1] for item in starts])
        blocks = functional.pad(x, (0, 0, 0, frames + block - 1)).unfold(1, frames + block, block)
        count = blocks.shape[1]
        reversed_ = blocks.permute(0, 1, 3, 2).flatten(0, 1).flip(1)
        backward = _one_way(layer, f"l{index}_reverse", reversed_, []).flip(1)[:, :block]
        x = torch.cat([forward, backward.reshape(batch, count * block, -1)[:, :length]], -1)
    y = x if layer.batch_first else x.transpose(0, 1)
    last = y.new_zeros(2 * layer.num_layers, batch, layer.proj_size or layer.hidden_size)
    cell = y.new_zeros(2 * layer.num_layers, batch, layer.hidden_size)
    return y, (last, cell) if layer.mode == "LSTM" else last


def _one_way(layer: nn.RNNBase, suffix: str, x: Tensor, state: list[Tensor]) -> Tensor:
    """One layer of the stack in one direction; x `[batch, time, features]`."""
    names = ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if layer.bias else ()))
    weights = [getattr(layer, f"{name}_{suffix}") for name in names]
    zeros = x.new_zeros(1, x.shape[0], layer.hidden_size)
    options = (layer.bias, 1, 0.0, False, False, True)
    if layer.mode == "LSTM":
        return torch.lstm(x, state or [zeros, zeros], weights, *options)[0]
    run = {"GRU": torch.gru, "RNN_TANH": torch.rnn_tanh, "RNN_RELU": torch.rnn_relu}[layer.mode]
    return run(x, state[0] if state else zeros, weights, *options)[0]


@contextmanager
def limited_attention(module: nn.Module, layers: Mapping[str, tuple[int, int]]) -> Iterator[None]:
    """Within the `with`, attention over time in `module` sees a band of frames.

    `layers` gives (frames, ahead) for the path of each module whose own forward attends, "" for `module` itself: frame
    t attends to frames t - frames + 1 to t + ahead, as far as its own mask allows. Every softmax there over the last
    axis of a square of scores is held to that. An export with `attention_window` is proved against this; it trains,
    too.
    """
    if not layers:
        yield
        return
    band = _Band(layers)
    handles = []
    for path, item in module.named_modules():
        handles.append(item.register_forward_pre_hook(partial(band.enter, path)))
        handles.append(item.register_forward_hook(band.leave, always_call=True))
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), band:
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for handle in handles:
            handle.remove()


class _Band(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Puts minus infinity into scores outside the band, in front of their softmax."""

    def __init__(self, layers: Mapping[str, tuple[int, int]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._layers, self._inside = layers, [""]

    def enter(self, path: str, *_: Any) -> None:
        self._inside.append(path)

    def leave(self, *_: Any) -> None:
        self._inside.pop()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in (torch.ops.aten._softmax.default, torch.ops.aten._safe_softmax.default):
            x, dim, *rest = args
            limit = self._layers.get(self._inside[-1])
            if limit is not None and dim % x.ndim == x.ndim - 1 and x.ndim > 1 and x.shape[-1] == x.shape[-2]:
                index = torch.arange(x.shape[-1], device=x.device)
                behind = index[:, None] - index
                x = x.masked_fill((behind >= limit[0]) | (behind < -limit[1]), -math.inf)
            return function(x, dim, *rest, **(kwargs or {}))
        return function(*args, **(kwargs or {}))


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
