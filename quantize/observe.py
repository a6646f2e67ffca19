"""Streaming calibration: what the float model's values are while sequences run through it with the state carried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgernn import ops
from edgernn.interpret import float_reference, settled
from edgernn.ops.arithmetic import UNARY
from edgernn.program import Array, Op, Program, Timing, present, volume
from edgernn.quantize.data import Sequences
from edgernn.quantize.moments import Moments
from edgernn.quantize.observers import SAMPLES, Seen
from edgernn.quantize.whole import run_whole

PATCHES = 4_096  # taken of a convolution over two axes, or of a layer over positions, of each sequence


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
        watch.program = sequences.begun(program, index)
        run_whole(watch.program, {name: array[None] for name, array in sequence.items()}, observe=watch, length=length)
    for name, array in settled(program, float_reference).parameters.items():
        if name in program.values:  # which no sequence changes
            rows = array.reshape(len(array), -1)
            watch.values[name] = Seen(rows.min(0), rows.max(0), [rows])
    return Observations(watch.values, watch.layers, sum(sequences.lengths))


class _Watch:
    def __init__(self, program: Program, frames: int) -> None:
        self.program = program
        self.values: dict[str, Seen] = {}
        self.layers: dict[str, Layer] = {}
        self.half: int | None = None  # of the moments, to which the present sequence belongs
        self._frames = frames
        self._given = {port.name for port in program.spec.inputs} | {state.input for state in program.spec.states}

    def __call__(self, op: Op, operands: Sequence[Array | None], results: Sequence[Array]) -> None:
        for name, array in zip((*op.operands, *op.outputs), (*operands, *results), strict=True):
            # the states of a cell made of several operations, which these read, are known like values
            if array is not None and (name in op.outputs or name in self._given):
                self._value(name, array)
        if isinstance(op, (ops.GRU, ops.LSTM, ops.RNN)):
            self._cell(op, [*operands], present(results[0]))
        elif isinstance(op, (ops.Linear, ops.Conv1d, ops.Conv2d)) and operands[0] is not None:
            self._product(op, operands[0])

    def _true_frames(self, name: str, array: Array) -> Array:
        """`[frames, …]` without those before the sequence's first."""
        timing = self.program.values[name].timing
        frames = array.reshape(-1, *array.shape[3:])
        return frames[timing.delay if timing else 0 :]

    def _value(self, name: str, array: Array) -> None:
        value = self.program.values.get(name)
        if value is None or value.dtype != "float32" or array.ndim < 3:
            return
        timing = value.timing or Timing()
        frames = self._true_frames(name, array)
        if not len(frames):  # the sequence ends before this value's first true frame
            return
        flat = frames.reshape(len(frames), -1)
        flat = flat[np.isfinite(flat).all(1)]
        if not len(flat):
            return
        low, high = flat.min(0), flat.max(0)
        seen = self.values.get(name)
        if seen is None:
            seen = self.values[name] = Seen(low, high)
        seen.low, seen.high = np.minimum(seen.low, low), np.maximum(seen.high, high)
        count = self._frames * timing.group / timing.period
        stride = max(1, round(count * flat.shape[1] / SAMPLES))
        seen.kept.append(flat[::stride].copy())

    def _add(self, name: str, u: Array) -> Layer:
        if name not in self.layers:
            self.layers[name] = Layer(Moments(u.shape[1]))
        self.layers[name].moments.add(u, self.half)
        return self.layers[name]

    def _product(self, op: ops.Linear | ops.Conv1d | ops.Conv2d, x: Array) -> None:
        if isinstance(op, ops.Linear):
            self._add(op.name, self._true_frames(op.x, x).reshape(-1, x.shape[-1]))
            return
        if op.groups > 1:
            return
        if isinstance(op, ops.Conv2d):
            self._patches(op, x)
            return
        inputs, taps = self.program.parameters[op.weight].shape[1:]
        windows = x.reshape(-1, *x.shape[2:])
        for j in range(op.count):
            index = op.first + j * op.stride + op.dilation * np.arange(taps)
            self._add(op.name, windows[:, index, 0].transpose(0, 2, 1).reshape(len(windows), inputs * taps))

    def _patches(self, op: ops.Conv2d, x: Array) -> None:
        """Of each step's patches a few: they overlap, and neighbours are much alike."""
        shape = self.program.parameters[op.weight].shape
        steps = x.reshape(-1, *x.shape[2:])
        each = volume(op.shape(x.shape[2:], shape)) // shape[0]
        rows = np.stack([op.take(step, shape) for step in steps[:: max(1, len(steps) * each // PATCHES)]])
        self._add(op.name, rows.reshape(-1, rows.shape[-1]))

    def _cell(self, op: ops.GRU | ops.LSTM | ops.RNN, operands: list[Array | None], y: Array) -> None:
        """Runs over time, or over the positions of some frames: x `[time or positions, rows, in]`."""
        x, start, c = self._lines(op, present(operands[0])), np.zeros(1), np.zeros(1)
        y = self._lines(op, y)
        if op.h:
            initial = {state.input: state.initial() for state in self.program.spec.states}
            if op.h not in initial:
                return  # it starts from a computed value, and stays in float
            start, c = initial[op.h], initial[op.c] if isinstance(op, ops.LSTM) else c
            delay = (self.program.values[op.outputs[0]].timing or Timing()).delay
            x, y = x[delay:], y[delay:]
        if not x.size:
            return
        before = np.concatenate([np.broadcast_to(start, y[:1].shape), y[:-1]])
        layer = self._add(op.name, np.concatenate([x, before], axis=-1).reshape(-1, x.shape[-1] + y.shape[-1]))
        parameters = self.program.parameters
        total = x @ parameters[op.weight_ih].T + before @ parameters[op.weight_hh].T
        for bias in (op.bias_ih, op.bias_hh):
            total = total + parameters[bias] if bias else total
        sigmoid = UNARY["sigmoid"]
        if isinstance(op, ops.GRU):
            r = sigmoid(total[..., : y.shape[-1]]).reshape(-1, y.shape[-1]).sum(0)
            layer.reset = r if layer.reset is None else layer.reset + r
        if isinstance(op, ops.LSTM):
            i, f, g, o = np.split(total, 4, axis=-1)
            keep, enter = sigmoid(f), sigmoid(i) * np.tanh(g)
            cells = np.empty_like(keep)
            for t in range(len(keep)):
                c = cells[t] = keep[t] * c + enter[t]
            layer.cell = max(layer.cell, float(np.abs(cells).max()))
            if op.weight_hr:
                m = (sigmoid(o) * np.tanh(cells)).reshape(-1, cells.shape[-1])
                layer.projected = layer.projected or Moments(m.shape[1])
                layer.projected.add(m, self.half)

    def _lines(self, op: ops.GRU | ops.LSTM | ops.RNN, x: Array) -> Array:
        """`[batch, steps, frames, rows, …]` with the axis first that the layer runs over, in its order."""
        if op.h:
            return x.reshape(-1, *x.shape[3:])
        rows = x.reshape(-1, *x.shape[4:])
        line = rows[:: max(1, rows.shape[0] * rows.shape[1] // PATCHES)].swapaxes(0, 1)
        return line[::-1] if op.reverse else line
