"""Short-time Fourier transforms."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.rules import rule
from edgernn.export.symbols import Const, Pad, Timed

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator


@rule("stft.default")
def stft(
    t: Translator,
    node: fx.Node,
    x: Timed,
    n_fft: int,
    hop: int | None = None,
    win_length: int | None = None,
    window: Const | None = None,
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    *_: Any,
) -> Timed:
    """x `[batch, samples]` or `[samples]`. With `center=True` PyTorch pads x before; the padding comes with `x`."""
    if onesided is False:
        raise UnsupportedError("asks for both halves of the spectrum", hint="leave `onesided` at its default")
    if x.axis != len(x.shape) - 1:
        raise UnsupportedError("transforms an axis that is not time", hint="give samples on the last axis")
    hop = hop or n_fft // 4
    frames = t.window(x, n_fft, hop, Pad(0, 0), t.name(node))
    value = frames.value
    batch = math.prod(x.shape[:-1])
    samples = t.builder.shape(value)
    if len(samples) != 2:
        value = t.add(ops.Reshape, t.name(node, "samples"), None, x=value, shape=(samples[0], batch))
    spectrum = t.add(
        ops.STFT,
        t.name(node),
        frames.timing,
        samples=value,
        taper=t.constant(_taper(t, node, n_fft, win_length or n_fft, window)),
        count=frames.count,
        first=frames.first,
        stride=hop,
        scale=1 / math.sqrt(n_fft) if normalized else 1.0,
    )
    shape = t.shape(node)
    if return_complex is False:
        shape = shape[:-1]
    full = (frames.count, *shape[:-1], 2)
    if t.builder.shape(spectrum) != full:
        spectrum = t.add(ops.Reshape, t.name(node, "spectrum"), frames.timing, x=spectrum, shape=full)
    time = len(shape) - 1
    result = Timed(spectrum, shape, time, frames.timing, complex=True)
    return view_as_real(t, node, result) if return_complex is False else result


@rule("view_as_real.default")
def view_as_real(t: Translator, node: fx.Node, x: Timed) -> Timed:
    """Real and imaginary part as a last axis, which the program's value has anyway."""
    return Timed(x.value, (*x.shape, 2), x.axis, x.timing)


@rule("real.default", "imag.default")
def part(t: Translator, node: fx.Node, x: Timed) -> Timed:
    """Real or imaginary part."""
    from edgernn.export.rules.layout import select

    index = 0 if str(node.target).startswith("aten.real") else 1
    return select(t, node, view_as_real(t, node, x), -1, index)


def _taper(t: Translator, node: fx.Node, n_fft: int, length: int, window: Const | None) -> Const:
    if window is not None and not isinstance(window, Const):
        raise UnsupportedError("has a window that changes over time")
    tensor = torch.ones(length) if window is None else window.tensor.float()
    left = (n_fft - length) // 2
    name = t.name(node, "window") if window is None else window.name
    return Const(torch.nn.functional.pad(tensor, (left, n_fft - length - left)), name)
