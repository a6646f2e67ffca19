"""Streaming calibration: what the float model's values are while sequences run through it with the state carried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgernn import ops
from edgernn.ops.arithmetic import UNARY
from edgernn.program import Array, Op, Program, present
from edgernn.quantize.data import Sequences
from edgernn.quantize.moments import Moments
from edgernn.quantize.reference.fixed import LIMITS
from edgernn.quantize.whole import run_whole

SAMPLES = 100_000  # kept of each value
OBSERVERS = ("mse", "minmax", "percentile")
_PERCENTILE = 99.99
_BEYOND = 1.25  # times the largest magnitude seen of one feature, where the others say that more will come
_ROOM = 1.5  # times the largest magnitude seen: int16 has bits to spare, and a longer stream goes further
_CLIPS = np.linspace(0.3, 1.0, 36)  # of the largest magnitude, tried by the MSE observer


@dataclass
class Seen:
    """Frames of one value, `[frames, features]` (all axes behind the frames' flattened): some of them, and limits."""

    low: Array
    high: Array
    kept: list[Array] = field(default_factory=list)

    @property
    def samples(self) -> Array:
        """The kept frames."""
        return np.concatenate(self.kept)

    def largest(self) -> float:
        """The largest magnitude."""
        return float(max(np.abs(self.low).max(), np.abs(self.high).max()))

    def scale(self, dtype: str, observer: str) -> float:
        """The step of a symmetric `dtype` for all features together."""
        return float(_scales(self.samples.reshape(-1, 1), np.array([self.largest()]), dtype, observer)[0])

    def feature_scales(self, width: int, dtype: str, observer: str, *, centred: bool) -> tuple[Array, Array]:
        """Step and offset of each of the `width` features of the last axis."""
        samples = self.samples.reshape(-1, width)
        low, high = self.low.reshape(-1, width).min(0), self.high.reshape(-1, width).max(0)
        offset = ((low + high) / 2 if centred else np.zeros(width)).astype(np.float32).astype(np.float64)
        largest = np.maximum(np.maximum(high - offset, offset - low), 1e-12)
        if observer != "mse" or dtype == "int16":
            return _scales(samples - offset, largest, dtype, observer), offset
        # one clip for all features, in each one's own spread: the tail of one alone is too few samples
        spread = np.maximum(samples.std(0, dtype=np.float64), 1e-6 * largest)
        pooled = ((samples - offset) / spread).reshape(-1, 1)
        clip = _scales(pooled, np.abs(pooled).max(0), dtype, observer)[0]
        return np.minimum(clip * spread, _BEYOND * largest / LIMITS[dtype]), offset


def _scales(samples: Array, largest: Array, dtype: str, observer: str) -> Array:
    limit = LIMITS[dtype]
    largest = np.maximum(largest, 1e-12)
    if observer == "percentile":
        largest = np.maximum(np.percentile(np.abs(samples), _PERCENTILE, axis=0), 1e-3 * largest)
    if dtype == "int16":
        return _ROOM * largest / limit
    if observer != "mse":
        return largest / limit
    best, least = largest / limit, np.full(len(largest), np.inf)
    for clip in _CLIPS:
        scale = clip * largest / limit
        error = np.mean((np.clip(np.rint(samples / scale), -limit, limit) * scale - samples) ** 2, axis=0)
        better = error < least
        best, least = np.where(better, scale, best), np.where(better, error, least)
    return np.asarray(best)


@dataclass
class Layer:
    """What a weighted operation multiplies, u = (x, h), and what its state does."""

    moments: Moments
    reset: Array | None = None  # GRU: sum of r over frames, `[hidden]`
    cell: float = 0.0  # LSTM: largest |c|
    projected: Moments | None = None  # LSTM with projection: of o tanh c


@dataclass
class Observations:
    """All that calibration learned."""

    values: dict[str, Seen]
    layers: dict[str, Layer]  # by operation name
    frames: int  # of input


def observe(program: Program, sequences: Sequences) -> Observations:
    """Run every sequence from reset and look at all values."""
    watch = _Watch(program, sum(sequences.lengths))
    for index, (sequence, length) in enumerate(zip(sequences.items, sequences.lengths, strict=True)):
        watch.half = index % 2 if len(sequences.items) > 1 else None
        run_whole(program, {name: array[None] for name, array in sequence.items()}, observe=watch, length=length)
    return Observations(watch.values, watch.layers, sum(sequences.lengths))


class _Watch:
    def __init__(self, program: Program, frames: int) -> None:
        self.program = program
        self.values: dict[str, Seen] = {}
        self.layers: dict[str, Layer] = {}
        self.half: int | None = None  # of the moments, to which the present sequence belongs
        self._frames = frames

    def __call__(self, op: Op, operands: Sequence[Array | None], results: Sequence[Array]) -> None:
        for name, array in zip((*op.operands, *op.outputs), (*operands, *results), strict=True):
            fresh = name in op.outputs or name in {port.name for port in self.program.spec.inputs}
            if fresh and array is not None:
                self._value(name, array)
        if isinstance(op, (ops.GRU, ops.LSTM, ops.RNN)):
            self._cell(op, [*operands], present(results[0]))
        elif isinstance(op, (ops.Linear, ops.Conv1d)) and operands[0] is not None:
            self._product(op, operands[0])

    def _true_frames(self, name: str, array: Array) -> Array:
        """`[frames, …]` without those before the sequence's first."""
        timing = self.program.values[name].timing
        frames = array.reshape(-1, *array.shape[3:])
        return frames[timing.delay if timing else 0 :]

    def _value(self, name: str, array: Array) -> None:
        value = self.program.values.get(name)
        if value is None or value.timing is None or value.dtype != "float32" or array.ndim < 3:
            return
        frames = self._true_frames(name, array)
        flat = frames.reshape(len(frames), -1)
        flat = flat[np.isfinite(flat).all(1)]
        if not len(flat):
            return
        low, high = flat.min(0), flat.max(0)
        seen = self.values.get(name)
        if seen is None:
            seen = self.values[name] = Seen(low, high)
        seen.low, seen.high = np.minimum(seen.low, low), np.maximum(seen.high, high)
        stride = max(1, round(self._frames / max(1, value.timing.period) * flat.shape[1] / SAMPLES))
        seen.kept.append(flat[::stride].copy())

    def _add(self, name: str, u: Array) -> Layer:
        if name not in self.layers:
            self.layers[name] = Layer(Moments(u.shape[1]))
        self.layers[name].moments.add(u, self.half)
        return self.layers[name]

    def _product(self, op: ops.Linear | ops.Conv1d, x: Array) -> None:
        if isinstance(op, ops.Linear):
            self._add(op.name, self._true_frames(op.x, x).reshape(-1, x.shape[-1]))
            return
        if op.groups > 1:
            return
        inputs, taps = self.program.parameters[op.weight].shape[1:]
        windows = x.reshape(-1, *x.shape[2:])
        for j in range(op.count):
            index = op.first + j * op.stride + op.dilation * np.arange(taps)
            self._add(op.name, windows[:, index, 0].transpose(0, 2, 1).reshape(len(windows), inputs * taps))

    def _cell(self, op: ops.GRU | ops.LSTM | ops.RNN, operands: list[Array | None], y: Array) -> None:
        x = present(operands[0])
        start = next(state for state in self.program.spec.states if state.input == op.h).initial()
        delay = (self.program.values[op.outputs[0]].timing or _NONE).delay
        x, y = x.reshape(-1, x.shape[-1])[delay:], y.reshape(-1, y.shape[-1])[delay:]
        if not len(x):
            return
        before = np.concatenate([start, y[:-1]])
        layer = self._add(op.name, np.concatenate([x, before], axis=1))
        parameters = self.program.parameters
        total = x @ parameters[op.weight_ih].T + before @ parameters[op.weight_hh].T
        for bias in (op.bias_ih, op.bias_hh):
            total = total + parameters[bias] if bias else total
        sigmoid = UNARY["sigmoid"]
        if isinstance(op, ops.GRU):
            r = sigmoid(total[:, : y.shape[1]])
            layer.reset = r.sum(0) if layer.reset is None else layer.reset + r.sum(0)
        if isinstance(op, ops.LSTM):
            i, f, g, o = np.split(total, 4, axis=1)
            keep, enter = sigmoid(f), sigmoid(i) * np.tanh(g)
            c = next(state for state in self.program.spec.states if state.input == op.c).initial()[0]
            cells = np.empty_like(keep)
            for t in range(len(keep)):
                c = cells[t] = keep[t] * c + enter[t]
            layer.cell = max(layer.cell, float(np.abs(cells).max()))
            if op.weight_hr:
                m = sigmoid(o) * np.tanh(cells)
                layer.projected = layer.projected or Moments(m.shape[1])
                layer.projected.add(m, self.half)


class _NONE:
    delay = 0
