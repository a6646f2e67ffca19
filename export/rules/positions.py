"""Sines and cosines of positions: rotary and sinusoidal ones.

An angle of frame n is `start + n step`; in float32 its product is off by up to 0.03 at frame 10^6. A stream turns
cosine and sine by `step` at every frame instead and keeps their length 1. What is off then grows slowly and is the same
for neighbouring frames: how far queries and keys are turned against each other stays exact to rounding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, fx

from edgernn import ops
from edgernn.export.rules.layout import own_timing
from edgernn.export.symbols import Timed
from edgernn.program import Array, Timing

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator

WAVES = ("cos.default", "sin.default")
_ROUNDING = 4e-7  # of the largest angle


def turning(t: Translator, node: fx.Node) -> Timed | None:
    """A cosine or sine of what depends on the length alone; None where its angle does not grow evenly."""
    angle = node.args[0]
    if not isinstance(angle, fx.Node) or angle not in t.by_length.nodes or t.axis(angle) is None:
        return None
    axis = t.axis(angle)
    assert axis is not None
    first, second = (item.movedim(axis, 0) for item in t.by_length.values(angle))
    even = _evenly(first, second)
    if even is None:
        return None
    if angle not in t.turned:
        t.turned[angle] = _turned(t, angle, *even)
    value = t.turned[angle][WAVES.index(f"{str(node.target).split('.')[1]}.default")]
    return t.symbol(value, t.shape(node), axis, own_timing(t, angle), free=True)


def _evenly(first: Tensor, second: Tensor) -> tuple[Array, Array] | None:
    """Start and step of angles `[T, …]`, in float64."""
    if second.dtype != torch.float32 or len(second) < 3 or not torch.equal(second[: len(first)], first):
        return None
    start, last = second[0].double(), second[-1].double()
    # one frame behind 0 the angle is the step, rounded once
    step = second[1].double() if not start.any() else (last - start) / (len(second) - 1)
    index = torch.arange(len(second), dtype=torch.float64).reshape(-1, *[1] * start.ndim)
    off = (second - (start + index * step)).abs().max()
    return (start.numpy(), step.numpy()) if off <= _ROUNDING * max(1.0, float(second.abs().max())) else None


def _turned(t: Translator, node: fx.Node, start: Array, step: Array) -> tuple[str, str]:
    """Cosine and sine of each frame of a step, and those of the next step as states."""
    name, frames = t.name(node), t.frames(own_timing(t, node))
    within = Timing(t.hop, 0, 0, None)
    pairs = [
        t.state(name, kind, wave(start)[None].astype(np.float32)) for kind, wave in (("cos", np.cos), ("sin", np.sin))
    ]
    cos, sin = (incoming for incoming, _ in pairs)

    def binary(kind: str, a: str, b: str) -> str:
        return t.add(ops.Binary, f"{name}.{kind}", within, a=a, b=b, kind=kind)

    def turned(by: Array) -> tuple[str, str]:
        c, s = (
            t.builder.parameter(f"{name}.{kind}", wave(by).astype(np.float32))
            for kind, wave in (("turn.cos", np.cos), ("turn.sin", np.sin))
        )
        return (
            binary("sub", binary("mul", cos, c), binary("mul", sin, s)),
            binary("add", binary("mul", sin, c), binary("mul", cos, s)),
        )

    steps = np.arange(frames).reshape(-1, *[1] * step.ndim) * step
    rows = (cos, sin) if frames == 1 else turned(steps)
    new = turned((frames * step)[None])
    power = binary("add", *(binary("mul", item, item) for item in new))
    # a step of Newton's method towards length 1
    length = binary("sub", t.number(1.5, "float32"), binary("mul", power, t.number(0.5, "float32")))
    for item, (_, outgoing) in zip(new, pairs, strict=True):
        t.builder.add(ops.Binary, f"{name}.turned", None, (outgoing,), a=item, b=length, kind="mul")
    return rows
