"""Programs of a few elements that together have every operation of the engine: for tests of its files and seeds of its
fuzzer. Their weights are random, their results mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from edgernn import ops
from edgernn.export.builder import Builder
from edgernn.ops.arithmetic import COMPARISONS, UNARY
from edgernn.program import Op, Program, Timing, Value
from edgernn.spec import InputSpec, OutputSpec, StreamSpec

NOW = Timing()
_STEPS = "state.count.steps"
_LEFT = "frames_left"


@dataclass
class Draft:
    """A program in the making: `add` gives the name of an operation's first result."""

    b: Builder = field(default_factory=Builder)
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))

    def add(self, op: type[Op], /, **fields: object) -> str:
        """Append an operation."""
        return self.b.add(op, op.__name__, NOW, **fields)[0]

    def keep(self, op: type[Op], states: Mapping[str, tuple[str, tuple[int, ...]]], /, **fields: object) -> str:
        """Append an operation that carries states, named by operand, each of a dtype and shape."""
        incoming, outgoing = {}, []
        for operand, (dtype, shape) in states.items():
            start = self.random.integers(-3, 3, shape).astype(dtype)
            incoming[operand], following = self.b.state(op.__name__, operand, start)
            outgoing.append(following)
        name = self.b.unique(op.__name__)
        self.b.add(op, name, NOW, (name, *outgoing), **incoming, **fields)
        return name

    def floats(self, *shape: int) -> str:
        """A parameter of float32."""
        return self.b.parameter("w", self.random.standard_normal(shape).astype(np.float32))

    def bytes(self, *shape: int) -> str:
        """A parameter of int8."""
        return self.b.parameter("q", self.random.integers(-127, 128, shape).astype(np.int8))

    def words(self, size: int, most: int = 1 << 20) -> str:
        """A parameter of int32."""
        return self.b.parameter("m", self.random.integers(0, most, size).astype(np.int32))

    def steps(self) -> str:
        """The counter of steps."""
        if _STEPS not in self.b.values:
            incoming, outgoing = self.b.state("count", "steps", np.zeros((), np.int64))
            self.b.add(ops.CountSteps, "CountSteps", None, (outgoing,), steps=incoming)
        return _STEPS

    def left(self) -> str:
        """The frames to the end."""
        self.b.values[_LEFT] = Value(_LEFT, "int64", ())
        return _LEFT

    def active(self) -> str:
        """Whether this step's frames count."""
        return self.add(ops.Validity, steps=self.steps(), frames=1, period=1, offset=0, delay=2, scalar=True)


def _elements(d: Draft, x: str) -> list[str]:
    shape = d.b.shape(x)
    ys = [d.add(ops.Unary, x=x, kind=kind) for kind in UNARY if kind != "not"]
    ys += [d.add(ops.Binary, a=x, b=d.floats(3), kind=kind) for kind in ("add", "div", "max", "mul", "pow", "sub")]
    truths = [d.add(ops.Binary, a=x, b=ys[0], kind=kind) for kind in sorted(COMPARISONS)]
    flag = d.add(ops.Binary, a=truths[0], b=d.add(ops.Unary, x=truths[1], kind="not"), kind="or")
    ys.append(d.add(ops.Where, condition=flag, a=x, b=d.floats(1, 1, 3)))
    ys.append(d.add(ops.Clip, x=x, low=-0.5, high=0.5))
    ys.append(
        d.add(ops.Cast, x=d.add(ops.Clip, x=d.add(ops.Cast, x=x, dtype="int32"), low=-1, high=1), dtype="float32")
    )
    ys.append(d.add(ops.PadFeatures, x=d.add(ops.Slice, x=x, axis=2, start=0, end=1), axis=2, before=1, after=1))
    ys.append(d.add(ops.Transpose, x=d.add(ops.Transpose, x=x, axes=(2, 1, 0)), axes=(2, 1, 0)))
    ys.append(d.add(ops.Expand, x=d.add(ops.Slice, x=x, axis=2, start=1, end=2), shape=shape))
    ys.append(d.add(ops.Slice, x=d.add(ops.Slice, x=x, axis=2, start=2, end=-4, stride=-1), axis=2, start=0, end=3))
    return [d.add(ops.Concat, parts=tuple(ys), axis=2)]


def _layers(d: Draft, x: str) -> list[str]:
    y = d.add(ops.Linear, x=x, weight=d.floats(5, 3), bias=d.floats(5))
    y = d.add(ops.LayerNorm, x=y, weight=d.floats(5), bias=d.floats(5))
    y = d.add(ops.BatchNorm, x=y, mean=d.floats(5), variance=d.b.parameter("v", np.ones(5, np.float32)), axis=2)
    y = d.add(ops.Softmax, x=d.add(ops.Softmax, x=y, axis=2), axis=1, log=True)
    z = d.add(ops.MatMul, a=d.add(ops.Transpose, x=y, axes=(0, 2, 1)), b=y)
    kept = d.add(ops.Reduce, x=z, kind="mean", axes=(2,), keepdims=True)
    most = d.add(ops.Reduce, x=z, kind="max", axes=(1,), keepdims=True)
    whole = d.add(ops.Reduce, x=d.add(ops.Cast, x=z, dtype="int64"), kind="sum", axes=(2,), keepdims=True)
    total = d.keep(ops.CumSum, {"total": ("float32", (1, 5))}, x=most, active=d.active())
    tail = d.add(ops.Cast, x=d.keep(ops.CumSum, {"total": ("int64", (5, 1))}, x=whole), dtype="float32")
    return [d.add(ops.Concat, parts=(kept, d.add(ops.Reshape, x=total, shape=d.b.shape(kept)), tail), axis=1)]


def _cells(d: Draft, x: str) -> list[str]:
    active = d.active()
    w = {"weight_ih": d.floats(12, 3), "weight_hh": d.floats(12, 4), "bias_ih": d.floats(12), "bias_hh": d.floats(12)}
    y = d.keep(ops.GRU, {"h": ("float32", (1, 4))}, x=x, active=active, **w)
    w = {"weight_ih": d.floats(20, 4), "weight_hh": d.floats(20, 2), "weight_hr": d.floats(2, 5)}
    y = d.keep(ops.LSTM, {"h": ("float32", (1, 2)), "c": ("float32", (1, 5))}, x=y, **w)
    w = {"weight_ih": d.floats(3, 2), "weight_hh": d.floats(3, 3), "bias_ih": d.floats(3)}
    return [d.keep(ops.RNN, {"h": ("float32", (1, 3))}, x=y, kind="relu", active=active, **w)]


def _integers(d: Draft, x: str) -> list[str]:
    q = d.add(ops.Quantize, x=x, inverse=d.floats(3), offset=d.floats(3))
    y = d.add(ops.QLinear, x=q, weight=d.bytes(5, 3), bias=d.words(5), multiplier=d.words(5), dtype="int16", low=-9000)
    y = d.add(ops.QUnary, x=y, kind="sigmoid")
    z = d.add(ops.Rescale, q=y, multiplier=3, shift=9, low=-127, high=127)
    z = d.add(ops.QAdd, a=z, b=z, multiplier_a=5, multiplier_b=7, shift=4, low=-127, high=127)
    z = d.add(ops.QMul, a=z, b=d.add(ops.Slice, x=z, axis=2, start=0, end=1), multiplier=3, shift=9, low=0, high=99)
    window = d.keep(ops.History, {"past": ("int8", (2, 1, 5))}, x=z)
    weight = d.bytes(4, 5, 3)
    z = d.add(ops.QConv1d, window=window, weight=weight, bias=d.words(4), multiplier=d.words(4), count=2)
    pair = d.bytes(2, 2, 1)
    multiplier = d.floats(2)
    pieces = d.add(
        ops.QConv1d, window=z, weight=pair, bias=d.words(2), multiplier=multiplier, count=2, groups=2, dtype="float32"
    )
    return [d.add(ops.Concat, parts=(d.add(ops.Dequantize, q=z, scale=0.25), pieces), axis=2)]


def _integer_cells(d: Draft, x: str) -> list[str]:
    active = d.active()
    q = d.add(ops.Quantize, x=x, inverse=d.b.parameter("s", np.full(1, 100, np.float32)))

    def weights(gates: int, size: int, width: int, state: int) -> dict[str, str]:
        rows = gates * size
        return {
            "weight_ih": d.bytes(rows, width),
            "weight_hh": d.bytes(rows, state),
            "multiplier_ih": d.words(rows),
            "multiplier_hh": d.words(rows),
        }

    biases = {"bias_ih": d.words(15), "bias_hh": d.words(5)}
    y = d.keep(ops.QGRU, {"h": ("int32", (1, 5))}, x=q, active=active, y_dtype="int16", **weights(3, 5, 3, 5), **biases)
    states = {"h": ("int16", (1, 3)), "c": ("int32", (1, 4))}
    projection = {"weight_hr": d.bytes(3, 4), "multiplier_hr": d.words(3), "bias": d.words(16)}
    y = d.keep(ops.QLSTM, states, x=y, active=active, **weights(4, 4, 5, 3), **projection)
    w = weights(1, 2, 3, 2)
    y = d.keep(ops.QRNN, {"h": ("int16", (1, 2))}, x=y, h_dtype="int16", h_shift=14, bias=d.words(2), **w)
    return [d.add(ops.Dequantize, q=y, scale=0.0078125)]


def _times(d: Draft, x: str) -> list[str]:
    steps, left = d.steps(), d.left()
    window = d.keep(ops.History, {"past": ("float32", (4, 1, 3))}, x=x)
    window = d.add(ops.Reflect, window=window, steps=steps, left=left, frames=2, period=1, offset=0, delay=1)
    valid = d.add(ops.Validity, steps=steps, left=left, frames=2, period=1, offset=0, delay=1)
    y = d.add(ops.Conv1d, window=window, weight=d.floats(2, 3, 2), bias=d.floats(2), count=2, dilation=2)
    y = d.add(ops.Mask, x=y, valid=valid, fill=-1.0)
    index = d.add(ops.FrameIndex, steps=steps, frames=2, start=0.5, step_size=0.25, dtype="float32")
    index = d.add(ops.Reshape, x=index, shape=(2, 1, 1))
    samples = d.add(ops.Reshape, x=window, shape=(18, 1))
    spectra = [
        d.add(ops.STFT, samples=samples, taper=d.floats(length), count=2, stride=4, first=1, scale=0.5)
        for length in (6, 9)  # with and without a real half
    ]
    parts = [d.add(ops.Reshape, x=s, shape=(2, 1, s_size // 2)) for s in spectra if (s_size := _size(d, s))]
    return [d.add(ops.Concat, parts=(y, index, *parts), axis=2)]


def _pools(d: Draft, x: str) -> list[str]:
    window = d.keep(ops.History, {"past": ("float32", (3, 1, 3))}, x=x)
    ys = [d.add(ops.Pool, window=window, kind=kind, axis=0, size=2, count=2, dilation=2) for kind in ("max", "mean")]
    ys.append(d.add(ops.Pool, window=d.add(ops.Concat, parts=(x, x), axis=2), kind="sum", axis=2, size=2, count=3))
    q = d.add(ops.Quantize, x=x, inverse=d.floats(3))
    total = d.add(ops.Pool, window=q, kind="sum", axis=2, size=1, count=3)
    ys.append(d.add(ops.Dequantize, q=d.add(ops.Pool, window=total, kind="max", axis=2, size=1, count=3), scale=0.5))
    most = d.keep(ops.CumMax, {"largest": ("int8", (1, 3))}, x=q, active=d.active())
    ys.append(d.add(ops.Dequantize, q=most, scale=0.5))
    ys.append(d.keep(ops.CumMax, {"largest": ("float32", (1, 3))}, x=x))
    count = d.add(ops.FrameIndex, steps=d.steps(), frames=2, start=1.0, step_size=1.0, dtype="float32")
    count = d.add(ops.Reshape, x=count, shape=(2, 1, 1))
    ys.append(d.keep(ops.RunningMean, {"mean": ("float32", (1, 3))}, x=x, count=count, active=d.active()))
    pairs = d.add(ops.Reshape, x=d.add(ops.Concat, parts=(x, *ys[:3]), axis=2), shape=(2, 1, 6, 2))
    for length, hop in ((6, 3), (9, 9)):  # with and without a real half; two frames added, and one
        spectrum = d.add(ops.Slice, x=pairs, axis=2, start=0, end=length // 2 + 1)
        samples = d.add(ops.IRFFT, spectrum=spectrum, taper=d.floats(length), scale=0.5)
        summed = d.add(ops.OverlapAdd, window=samples, hop=hop, count=1)
        ys.append(d.add(ops.Concat, parts=(d.add(ops.Reshape, x=summed, shape=(1, 1, hop)),) * 2, axis=0))
    return [d.add(ops.Concat, parts=tuple(ys), axis=2)]


def _borders(d: Draft, x: str) -> list[str]:
    """Subnormals where they count, and integers whose product passes 64 bits."""
    always = d.add(ops.Binary, a=x, b=x, kind="equal")
    tiny = d.b.parameter("tiny", np.array([1e-40, -1.0, -1.0], np.float32))
    tiny = d.add(ops.Where, condition=always, a=tiny, b=x)
    tinies = [d.add(ops.Reduce, x=tiny, kind="max", axes=(2,), keepdims=True)]
    tinies.append(d.add(ops.Reduce, x=d.add(ops.Unary, x=tiny, kind="abs"), kind="min", axes=(2,), keepdims=True))
    total = d.add(ops.Cast, x=d.add(ops.Binary, a=x, b=d.floats(3), kind="mul"), dtype="int64")
    total = d.add(ops.Binary, a=total, b=d.b.parameter("far", np.full(3, 2**40, np.int64)), kind="mul")
    limited = d.add(ops.Rescale, q=total, multiplier=2**30, shift=40, low=-127, high=127)
    return [d.add(ops.Concat, parts=(*tinies, d.add(ops.Dequantize, q=limited, scale=0.5)), axis=2)]


def _size(d: Draft, name: str) -> int:
    return int(np.prod(d.b.shape(name)))


def _indices(d: Draft, x: str) -> list[str]:
    y = d.add(ops.Embedding, ids=x, weight=d.floats(7, 4))
    rows = d.b.parameter("rows", np.array([3, 0, -1], np.int64))
    return [d.add(ops.Gather, x=y, index=rows, axis=2), y]


def draft(
    name: str, build: Callable[[Draft, str], list[str]], dtype: str = "float32", shape: tuple[int, ...] = (2, 1, 3)
) -> Program:
    """A program of one input."""
    d = Draft()
    d.b.values["x"] = Value("x", dtype, shape, NOW)
    outputs = build(d, "x")
    hop = shape[0]
    spec = StreamSpec(
        name=name,
        inputs=(InputSpec(name="x", dtype=dtype, shape=shape, batch_axis=1, hop=hop),),
        outputs=tuple(
            OutputSpec(
                name=output,
                dtype=d.b.dtype(output),
                shape=d.b.shape(output),
                batch_axis=None,
                period=hop // d.b.shape(output)[0],
                delay=1,
            )
            for output in outputs
        ),
        states=tuple(d.b.states),
        hop=hop,
        delay=1,
        latency=hop + hop // d.b.shape(outputs[0])[0] - 1,
        receptive_field=None,
        frames_left=_LEFT if _LEFT in d.b.values else None,
    )
    return Program(spec, d.b.values, d.b.parameters, tuple(d.b.ops))


PROGRAMS: dict[str, Callable[[], Program]] = {
    "elements": lambda: draft("elements", _elements),
    "borders": lambda: draft("borders", _borders),
    "layers": lambda: draft("layers", _layers),
    "cells": lambda: draft("cells", _cells),
    "integers": lambda: draft("integers", _integers),
    "integer_cells": lambda: draft("integer_cells", _integer_cells),
    "times": lambda: draft("times", _times),
    "pools": lambda: draft("pools", _pools),
    "indices": lambda: draft("indices", _indices, "int64", (2, 1)),
}
