"""Short-time Fourier transforms and their inverse."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.rules import rule
from edgernn.export.rules.complex import refuse_angle, view_as_real
from edgernn.export.rules.upsample import spread
from edgernn.export.symbols import Const, Pad, Timed
from edgernn.program import Timing

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator

SMALLEST_ENVELOPE = 1e-11  # below it PyTorch refuses to divide


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


@rule("istft.default", complex=True)
def istft(
    t: Translator,
    node: fx.Node,
    x: Timed,
    n_fft: int,
    hop: int | None = None,
    win_length: int | None = None,
    window: Const | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Timed:
    """x `[batch, n_fft / 2 + 1, frames]`: overlapping sum of the tapered frames over that of the squared tapers.

    A sample is due when the last frame that it is in has come: the frames make `hop` samples each. How many samples
    PyTorch cuts off the end depends on `length`.
    """
    refuse_angle(x)
    if return_complex or onesided is False:
        raise UnsupportedError("gives complex samples", hint="leave `onesided` and `return_complex` at their defaults")
    if x.axis != len(x.shape) - 1 or len(x.shape) not in (2, 3):
        raise UnsupportedError("transforms an axis that is not time", hint="give [batch, bins, frames]")
    hop = hop or n_fft // 4
    taper = _taper(t, node, n_fft, win_length or n_fft, window)
    rows = -(-n_fft // hop)
    spectrum = t.builder.shape(x.value)
    value = x.value
    if len(spectrum) != 4:
        value = t.add(ops.Reshape, t.name(node, "spectrum"), x.timing, x=value, shape=(spectrum[0], 1, *spectrum[1:]))
    scale = math.sqrt(n_fft) if normalized else 1.0
    name = t.name(node)
    value = t.add(ops.IRFFT, name, x.timing, spectrum=value, taper=t.constant(taper), scale=scale)
    value = _wider(t, node, value, x.timing, rows * hop)
    samples = _overlapped(t, node, replace(x, value=value, complex=False), rows, hop, None)
    ones = t.add(ops.Fill, f"{name}.here", x.timing, shape=(spectrum[0], 1, 1), value=1.0, dtype="float32")
    squares = torch.nn.functional.pad(taper.tensor.square(), (0, rows * hop - n_fft))
    weight = t.constant(Const(squares, f"{taper.name}.squared"))
    envelope = _overlapped(t, node, replace(x, value=ones, complex=False), rows, hop, weight)
    floor = t.number(SMALLEST_ENVELOPE, "float32")
    divisor = t.add(ops.Binary, f"{name}.floor", envelope[1], a=envelope[0], b=floor, kind="max")
    value = t.add(ops.Binary, f"{name}.samples", samples[1], a=samples[0], b=divisor, kind="div")
    timing = samples[1]
    shape = t.shape(node)
    if t.builder.shape(value) != (t.frames(timing), *shape[:-1]):
        value = t.add(ops.Reshape, f"{name}.y", timing, x=value, shape=(t.frames(timing), *shape[:-1]))
    whole = timing.length(t.captured.lengths[0])
    full = t.symbol(value, (*shape[:-1], whole), len(shape) - 1, timing)
    start = n_fft // 2 if center else 0
    if whole - start < shape[-1]:
        raise UnsupportedError("pads the samples with zeros", hint="leave `length` out, or give the input's length")
    return t.cut(node, full, start, whole - start - shape[-1])


def _overlapped(t: Translator, node: fx.Node, x: Timed, rows: int, hop: int, weight: str | None) -> tuple[str, Timing]:
    """The overlapping sum of frames (times a weight), and its timing; there are no frames beyond the ends."""
    name = t.name(node, "envelope" if weight else "overlap")
    window = t.window(x, rows, 1, Pad(rows - 1, rows - 1), name)
    value = window.value
    if weight:
        value = t.add(ops.Binary, f"{name}.weighted", None, a=value, b=weight, kind="mul")
    fields = {"hop": hop, "count": window.count, "first": window.first}
    value = t.add(ops.OverlapAdd, name, window.timing, window=value, **fields)
    return value, spread(t, value, window.timing, hop)


def _wider(t: Translator, node: fx.Node, value: str, timing: Timing, width: int) -> str:
    """Frames of samples with zeros behind, so that they are whole hops."""
    size = t.builder.shape(value)[2]
    if size == width:
        return value
    return t.add(ops.PadFeatures, t.name(node, "whole"), timing, x=value, axis=2, before=0, after=width - size)


def _taper(t: Translator, node: fx.Node, n_fft: int, length: int, window: Const | None) -> Const:
    if window is not None and not isinstance(window, Const):
        raise UnsupportedError("has a window that changes over time")
    tensor = torch.ones(length) if window is None else window.tensor.float()
    left = (n_fft - length) // 2
    name = t.name(node, "window") if window is None else window.name
    return Const(torch.nn.functional.pad(tensor, (left, n_fft - length - left)), name)
