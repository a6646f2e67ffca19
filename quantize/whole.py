"""Run a program over whole sequences at once: the same results as step by step, with NumPy's loops inside.

Values are `[batch, steps, …]`, the program's shape behind both: an operation without memory takes all steps of all
sequences together, one with memory takes them in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from edgernn import ops
from edgernn.interpret import Evaluate, float_reference, settled
from edgernn.program import Array, Op, Program
from edgernn.quantize.order import CARRYING, RUNNING, units
from edgernn.spec import LEFT_UNKNOWN, OutputSpec, StreamSpec

CELLS = (ops.GRU, ops.LSTM, ops.RNN, ops.QGRU, ops.QLSTM, ops.QRNN)
WINDOWS = (ops.Conv1d, ops.QConv1d, ops.Conv2d, ops.QConv2d, ops.OverlapAdd, ops.Pool, ops.STFT)
_ELEMENTWISE = (
    *(ops.Unary, ops.Binary, ops.Where, ops.Clip, ops.Cast),
    *(ops.Quantize, ops.Dequantize, ops.Rescale, ops.QUnary, ops.QAdd, ops.QMul),
)
_BY_STEP = (ops.Validity, ops.FrameIndex, ops.Reflect)

Observe = Callable[[Op, "list[Array | None]", "tuple[Array, ...]"], None]


def run_whole(
    program: Program,
    inputs: Mapping[str, Array],
    evaluate: Evaluate = float_reference,
    observe: Observe | None = None,
    length: int | None = None,
    only: Callable[[Op], bool] | None = None,
) -> dict[str, Array]:
    """All values of a run from reset, by name.

    inputs: `[batch, steps * hop, …frame]` as the API has frames; `length` is the sequence's true number of input
    frames, where the end is known. `observe` sees each operation with its operands and results, both
    `[batch, steps, …]` where they are no parameters.
    """
    program = settled(program, evaluate)
    run = WholeRun(program, inputs, evaluate, length)
    with np.errstate(all="ignore"):  # frames before the first true one may hold anything
        for unit in units(program):
            if only is not None and not any(map(only, unit)):
                continue
            run.advance(unit)
            if observe is not None:
                for op in unit:
                    observe(op, [run.values.get(name) for name in op.operands], run.results_of(op))
    return run.values


def padded(spec: StreamSpec, item: Mapping[str, Array]) -> tuple[dict[str, Array], int]:
    """One sequence for `run_whole`, zeros behind its end until every output frame is out; and its length."""
    length = len(item[spec.inputs[0].name])
    frames = steps_of(spec, length) * spec.hop
    widths = {name: [(0, frames - length)] + [(0, 0)] * (array.ndim - 1) for name, array in item.items()}
    return {name: np.pad(array, widths[name])[None] for name, array in item.items()}, length


def steps_of(spec: StreamSpec, length: int) -> int:
    """Steps from reset until all output frames of `length` input frames are out."""
    outputs = (-(-max(port.delay + port.length(length), 1) // port.shape[0]) for port in spec.outputs)
    return max(-(-length // spec.hop), *outputs)


def output_frames(values: Mapping[str, Array], port: OutputSpec, length: int) -> Array:
    """An output of a run over one `padded` sequence as the API gives it: `[frames, …frame]`, or the newest alone."""
    frames = values[port.name].reshape(-1, *port.shape[1:])[port.delay : port.delay + port.length(length)]
    if port.batch_axis is not None:
        frames = frames.squeeze(port.batch_axis)
    return frames[-1:] if port.newest else frames


class WholeRun:
    """The values of one run while its operations are evaluated one after the other."""

    def __init__(
        self, program: Program, inputs: Mapping[str, Array], evaluate: Evaluate, length: int | None = None
    ) -> None:
        self.program, self.evaluate = program, evaluate
        spec = program.spec
        self.values: dict[str, Array] = dict(program.parameters)
        for port in spec.inputs:
            given = inputs[port.name]
            self.batch, self.steps = given.shape[0], given.shape[1] // spec.hop
            frames = given[:, : self.steps * spec.hop].astype(port.dtype, copy=False)
            self.values[port.name] = frames.reshape(self.batch, self.steps, *port.shape)
        self._initial = {state.input: state for state in spec.states}
        if spec.frames_left is not None:
            left = np.full(self.steps, LEFT_UNKNOWN, np.int64)
            if length is not None:
                left = length - spec.hop * np.arange(self.steps, dtype=np.int64)
            self.values[spec.frames_left] = np.broadcast_to(left, (self.batch, self.steps))

    def advance(self, unit: tuple[Op, ...]) -> None:
        """Evaluate one of `units`."""
        if len(unit) == 1 and not self._looped(unit):
            self.keep(unit[0], self.results(unit[0]))
        else:
            self._loop(unit)

    def keep(self, op: Op, results: tuple[Array, ...]) -> None:
        """Give the results their names."""
        self.values.update(zip(op.outputs, results, strict=True))

    def results_of(self, op: Op) -> tuple[Array, ...]:
        """What an operation gave."""
        return tuple(self.values[name] for name in op.outputs)

    def _looped(self, unit: tuple[Op, ...]) -> bool:
        (op,) = unit
        reads = {state.input for state in self.program.spec.states if state.output in op.outputs} & set(op.operands)
        return bool(reads) and not isinstance(op, (*CELLS, *CARRYING))

    def _loop(self, unit: tuple[Op, ...]) -> None:
        """A cell made of several operations: step by step, over one step of everything it reads."""
        made = {name for op in unit for name in op.outputs}
        state = {
            item.input: np.broadcast_to(item.initial(), (self.batch, 1, *item.shape))
            for item in self._initial.values()
            if item.output in made
        }
        pairs = {item.output: item.input for item in self._initial.values() if item.output in made}
        read = {name for op in unit for name in op.operands if name and name not in made and name not in state}
        given = {name: self._operand(name) for name in read if name not in self.program.parameters}
        rows: dict[str, list[Array]] = {name: [] for name in (*made, *state)}
        step = WholeRun.__new__(WholeRun)
        step.program, step.evaluate, step.batch, step.steps, step._initial = (
            self.program,
            self.evaluate,
            self.batch,
            1,
            {},
        )
        for index in range(self.steps):
            step.values = {**self.program.parameters, **state}
            step.values.update({name: item[:, index : index + 1] for name, item in given.items() if item is not None})
            for name, before in state.items():
                rows[name].append(before)
            for op in unit:
                step.keep(op, step.results(op))
            state = {pairs[name]: step.values[name] for name in pairs}
            for name in made:
                rows[name].append(step.values[name])
        self.values.update({name: np.concatenate(row, axis=1) for name, row in rows.items()})

    def initial(self, name: str) -> Array:
        """A state after reset, the program's shape."""
        return self._initial[name].initial()

    def results(self, op: Op) -> tuple[Array, ...]:
        """What an operation gives for all steps."""
        if isinstance(op, ops.CountSteps):
            steps = np.arange(1, self.steps + 1, dtype=np.int64) + self.initial(op.steps)
            return (np.broadcast_to(steps, (self.batch, self.steps)),)
        if isinstance(op, ops.Fill):
            (value,) = self.evaluate(op)
            return (np.broadcast_to(value, (self.batch, self.steps, *value.shape)),)
        if isinstance(op, ops.History):
            return self._history(op)
        if isinstance(op, CELLS) and op.h:  # each step of one that starts from a computed value is by itself
            return self._cell(op) if op.h in self._initial else self._by_step(op)
        if isinstance(op, RUNNING):
            return self._running(op)
        if over_time(op):
            return self._window(op)
        if isinstance(op, _BY_STEP):
            return self._by_step(op)
        return self._merged(op)

    def _operands(self, op: Op) -> list[Array | None]:
        return [self._operand(name) for name in op.operands]

    def _operand(self, name: str) -> Array | None:
        """A value; a state that an operation reads before it is written is only a counter."""
        if not name:
            return None
        if name in self._initial and name not in self.values:
            start = self.initial(name)
            assert start.shape == (), "only counters are read as they are"
            return np.broadcast_to(start + np.arange(self.steps, dtype=np.int64), (self.batch, self.steps))
        return self.values[name]

    def _frames(self, x: Array) -> Array:
        """`[batch, steps, frames, rows, …]` as `[steps * frames, batch * rows, …]`, time first."""
        frames = x.reshape(self.batch, x.shape[1] * x.shape[2], *x.shape[3:]).swapaxes(0, 1)
        return frames.reshape(len(frames), self.batch * x.shape[3], *x.shape[4:])

    def _history(self, op: ops.History) -> tuple[Array, ...]:
        x, start = self.values[op.x], self.initial(op.past)
        kept, frames = start.shape[0], x.shape[2]
        flat = x.reshape(self.batch, -1, *x.shape[3:])
        line = np.concatenate([np.broadcast_to(start, (self.batch, *start.shape)), flat], axis=1)
        index = frames * np.arange(self.steps)[:, None] + np.arange(kept + frames)
        window = line[:, index]
        return window, window[:, :, frames:]

    def _segments(self, active: str) -> list[tuple[int, int, bool]]:
        """Runs of steps in which the state moves or is held."""
        if not active:
            return [(0, self.steps, True)]
        flags = self.values[active][0]
        edges = [0, *(np.flatnonzero(flags[1:] != flags[:-1]) + 1), self.steps]
        pieces: list[tuple[int, int, bool]] = []
        for first, last in pairwise(map(int, edges)):
            if flags[first]:
                pieces.append((first, last, True))
            else:  # each held step starts from the same state
                pieces += [(step, step + 1, False) for step in range(first, last)]
        return pieces

    def _cell(self, op: Any) -> tuple[Array, ...]:
        names = tuple(op.STATES)
        state = [np.tile(self.initial(getattr(op, name)), (self.batch, 1)) for name in names]
        weights = [self.values.get(name) for name in op.operands[1 + len(names) : -1]]
        x = self._frames(self.values[op.x])
        frames, rows = self.values[op.x].shape[2:4]
        ys, finals = [], []
        for first, last, moves in self._segments(op.active):
            y, *new = self.evaluate(op, x[first * frames : last * frames], *state, *weights, None)
            state = new if moves else state
            ys.append(y)
            finals.append((first, last, state))
        y = np.concatenate(ys).reshape(self.steps * frames, self.batch, rows, -1).swapaxes(0, 1)
        y = y.reshape(self.batch, self.steps, frames, rows, -1)
        # the new states of each step are not kept: only the next step reads them, or an operation that takes the newest
        return y, *(self._newest(index, finals) for index in range(len(names)))

    def _newest(self, index: int, finals: list[tuple[int, int, list[Array]]]) -> Array:
        last = finals[-1][2][index].reshape(self.batch, 1, -1, finals[-1][2][index].shape[-1])
        return np.broadcast_to(last, (self.batch, self.steps, *last.shape[2:]))

    def _running(self, op: ops.CumSum | ops.CumMax | ops.RunningMean) -> tuple[Array, ...]:
        x, start = self.values[op.x], self.initial(op.operands[1])
        state = np.broadcast_to(start, (self.batch, *start.shape))
        lines = [
            np.swapaxes(item.reshape(self.batch, -1, *item.shape[3:]), 0, 1)
            for item in (x, *(self.values[name] for name in op.operands[2:-1]))
        ]
        rows = []
        for first, last, moves in self._segments(op.active):
            line, *more = (item[first * x.shape[2] : last * x.shape[2]] for item in lines)
            y, new = self.evaluate(op, line, state, *more, None)
            state = new if moves else state
            rows.append(y)
        y = np.concatenate(rows).swapaxes(0, 1).reshape(x.shape[:2] + x.shape[2:])
        return y, np.broadcast_to(state[:, None], (self.batch, self.steps, *start.shape))

    def _window(self, op: Any) -> tuple[Array, ...]:
        """The rows of all steps and sequences stand beside each other in the batch axis."""
        field = "samples" if isinstance(op, ops.STFT) else "window"
        x = self.values[getattr(op, field)]
        count, (frames, rows, *rest) = self.batch * self.steps, x.shape[2:]
        operands = self._operands(op)
        operands[0] = x.reshape(count, frames, rows, *rest).swapaxes(0, 1).reshape(frames, count * rows, *rest)
        (y,) = self.evaluate(op, *operands)
        y = y.reshape(len(y), count, rows, *y.shape[2:]).swapaxes(0, 1)
        return (y.reshape(self.batch, self.steps, *y.shape[1:]),)

    def _by_step(self, op: Op) -> tuple[Array, ...]:
        operands = self._operands(op)
        timed = [name not in self.program.parameters for name in op.operands]
        rows = [
            self.evaluate(
                op,
                *(
                    item[b, step] if here and item is not None else item
                    for item, here in zip(operands, timed, strict=True)
                ),
            )
            for b in range(self.batch)
            for step in range(self.steps)
        ]
        found = (np.stack(item) for item in zip(*rows, strict=True))
        return tuple(item.reshape(self.batch, self.steps, *item.shape[1:]) for item in found)

    def _merged(self, op: Op) -> tuple[Array, ...]:
        """Operations on single frames: all steps are one more leading axis, or more frames."""
        count = self.batch * self.steps
        operands = self._operands(op)
        timed = [bool(name) and name not in self.program.parameters for name in op.operands]
        values = [
            item.reshape(count, *item.shape[2:]) if here and item is not None else item
            for item, here in zip(operands, timed, strict=True)
        ]
        moved = shifted(op, count)
        if isinstance(op, ops.Concat):
            values = [
                item if here or item is None else np.broadcast_to(item, (count, *item.shape))
                for item, here in zip(values, timed, strict=True)
            ]
        if moved is not None:
            results = self.evaluate(moved, *values)
        elif isinstance(op, _ELEMENTWISE):
            rank = max(item.ndim for item, here in zip(values, timed, strict=True) if here and item is not None)
            aligned = [
                item.reshape(count, *[1] * (rank - item.ndim), *item.shape[1:]) if here and item is not None else item
                for item, here in zip(values, timed, strict=True)
            ]
            results = self.evaluate(op, *aligned)
        else:
            flat = [
                item.reshape(-1, *item.shape[2:]) if here and item is not None else item
                for item, here in zip(values, timed, strict=True)
            ]
            frames = next(i.shape[1] for i, here in zip(values, timed, strict=True) if here and i is not None)
            results = tuple(y.reshape(count, frames, *y.shape[1:]) for y in self.evaluate(op, *flat))
        return tuple(y.reshape(self.batch, self.steps, *y.shape[1:]) for y in results)


def over_time(op: Op) -> bool:
    """Whether an operation reads a window of frames."""
    return isinstance(op, WINDOWS) and getattr(op, "over_time", True) and getattr(op, "axis", 0) == 0


def shifted(op: Op, count: int) -> Op | None:
    """An operation that only moves elements, for operands with one more leading axis of `count`; None for others."""
    if isinstance(op, (ops.Slice, ops.Gather, ops.Concat, ops.PadFeatures)):
        return replace(op, axis=op.axis + 1)
    if isinstance(op, ops.Transpose):
        return replace(op, axes=(0, *(axis + 1 for axis in op.axes)))
    if isinstance(op, (ops.Reshape, ops.Expand)):
        return replace(op, shape=(count, *op.shape))
    return None
