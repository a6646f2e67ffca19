"""Streaming calibration: what the float model's values are while sequences run through it with the state carried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgernn import ops
from edgernn.ops.arithmetic import UNARY
from edgernn.program import Array, Op, Program, present
from edgernn.quantize.data import Sequences
from edgernn.quantize.moments import Moments
from edgernn.quantize.observers import SAMPLES, Seen
from edgernn.quantize.whole import run_whole


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
