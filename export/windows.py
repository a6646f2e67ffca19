"""Window mode: to the translator a window is one frame of a stream of windows, and the batch axis is its time.

So what needs the whole window (backward layers, softmax, norms and flips over time) is an operation on the features of
one frame, and nothing is carried from window to window. Windows are cut from a history of input frames; results that
have frames of their own are taken apart again where windows do not overlap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from edgernn import ops
from edgernn.errors import ExportError
from edgernn.export.capture import Captured, Source, TimedInput, capture, quietly
from edgernn.export.modes import Window
from edgernn.export.streaming import Translator
from edgernn.export.symbols import Shape, Timed, frame_shape
from edgernn.export.translate import Label, Returned, finish, names_of_outputs, run
from edgernn.program import Program, Timing, Value

WINDOWS = 3  # that the example is repeated to: a batch of one can look like no batch


T = TypeVar("T", bound="WindowTranslator")


def translate_windows(source: Source, window: Window, label: Label) -> tuple[Program, Source, list[Returned]]:
    """The step program that runs `source` on windows; the module that this is proved against, and its outputs.

    Raises what `capture` and `translate` raise, and `ExportError` for inputs without a batch axis or without frames.
    """
    t = window_translator(source, window, WindowTranslator)
    run(t)
    program, places = finish(t, label)
    axes = {item.place: item.axis or 0 for item in places}
    windowed = Source(Windowed(source, window, axes), source.example_of(window.length + window.slide), source.timed)
    returned = [Returned(index, axes[item.place]) for index, item in enumerate(places)]
    return t.in_frames(program), windowed, returned


def window_translator(source: Source, window: Window, kind: type[T]) -> T:
    """A translator, of a `kind` of one, of the captured windows."""
    captured = capture(_batch_as_time(source, window), bound=1)
    times = {item.name: item.axis for item in source.timed}
    return kind(captured, window, times, _time_axes(source, window))


class Windowed(nn.Module):
    """The module on each whole window of a sequence, results joined along `axes` (result's place → axis)."""

    def __init__(self, source: Source, window: Window, axes: Mapping[int, int]) -> None:
        super().__init__()
        self.module, self.window, self.axes = source.module, window, axes
        self._timed = {item.position: item.axis for item in source.timed}

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Raises `RuntimeError` for sequences without a whole window."""
        length = next(inputs[position].shape[axis] for position, axis in self._timed.items())
        results = []
        for start in range(0, length - self.window.length + 1, self.window.slide):
            cut = [
                item.narrow(self._timed[place], start, self.window.length) if place in self._timed else item
                for place, item in enumerate(inputs)
            ]
            results.append(tree_leaves(self.module(*cut)))
        if not results:
            raise RuntimeError("no whole window")
        return tuple(torch.cat([result[place] for result in results], axis) for place, axis in self.axes.items())


def _batch_as_time(source: Source, window: Window) -> Source:
    """The same module with the windows of a batch in the place of frames."""
    if len(source.timed) < len(source.example):
        raise ExportError("takes an initial state, which windows don't have", hint="leave it out: each starts at zero")
    tensors, timed = list(source.example_of(window.length)), []
    for item in source.timed:
        axis, tensor = _batch_axis(item), tensors[item.position]
        if axis >= tensor.ndim or tensor.shape[axis] != 1:
            raise ExportError("has no batch axis of one sequence", place=item.name, hint="give an example [1, T, …]")
        tensors[item.position] = tensor.repeat_interleave(WINDOWS, axis)
        timed.append(TimedInput(item.name, item.position, axis))
    return Source(source.module, tuple(tensors), tuple(timed))


def _batch_axis(item: TimedInput) -> int:
    return 0 if item.axis > 0 else 1


def _time_axes(source: Source, window: Window) -> list[int | None]:
    """Of each result, the axis that grows with the window: None where there is one result for the window.

    Where the module runs at one length only, that is its inputs' time axis if it has as many elements.
    """
    shapes = []
    for length in (window.length, 2 * window.length):
        try:
            with torch.no_grad():
                results = quietly(partial(source.module, *source.example_of(length)))
        except Exception:  # whatever a module of one length raises
            break
        shapes.append([tuple(item.shape) for item in tree_leaves(results)])
    if not shapes:
        raise ExportError(f"the module does not run on {window.length} frames", hint="choose the window that it takes")
    if len(shapes) == 1:
        first = source.timed[0].axis
        return [first if len(shape) > first and shape[first] == window.length else None for shape in shapes[0]]
    return [
        next((axis for axis, (a, b) in enumerate(zip(one, two, strict=True)) if a != b), None)
        for one, two in zip(*shapes, strict=True)
    ]


class WindowTranslator(Translator):
    """Translates a module whose frames are windows."""

    def __init__(
        self, captured: Captured, window: Window, times: Mapping[str, int], results: Sequence[int | None]
    ) -> None:
        super().__init__(captured, 1, names_of_outputs(captured))
        self.size = window
        self._times = times  # input → its time axis
        self._results = results  # time axis of each result
        self._in_frames: set[str] = set()  # values that are not counted in windows

    def input(self, name: str, shape: Shape, axis: int, dtype: str) -> Timed:
        """A window of the input's frames: `[slide, …]` comes in, and the frames before it are a state."""
        window, time = self.size, self._times[name]
        frame = tuple(1 if index == axis else size for index, size in enumerate(shape) if index != time)
        self.builder.values[name] = Value(name, dtype, (window.slide, *frame), Timing())
        before, value = set(self.builder.values) - {name}, name
        kept = window.length + window.spare - window.slide
        if kept > 0:
            past, past_out = self.builder.state(name, "past", np.zeros((kept, *frame), dtype))
            value = self.builder.unique(f"{name}.history")
            self.builder.add(ops.History, value, (Timing(), None), (value, past_out), x=name, past=past)
        if window.spare:
            fields = {"x": value, "axis": 0, "start": 0, "end": window.length}
            value = self.add(ops.Slice, f"{name}.window", Timing(), **fields)
        flat = (window.length, *frame_shape(frame, axis if axis < time else axis - 1))
        value = self.add(ops.Reshape, f"{name}.frames", Timing(), x=value, shape=flat)
        place = time - (axis < time)
        if place:
            order = (*range(1, place + 1), 0, *range(place + 1, len(flat)))
            value = self.add(ops.Transpose, f"{name}.time", Timing(), x=value, axes=order)
        self._in_frames.update(set(self.builder.values) - before)
        timing = Timing(delay=window.delay)
        whole = (1, *frame_shape(shape, axis))
        return self.symbol(self.add(ops.Reshape, f"{name}.whole", timing, x=value, shape=whole), shape, axis, timing)

    def mixed(self, node: fx.Node, x: Timed, shape: Shape, axis: int) -> Timed:
        """A step has one window: of a batch of one, in PyTorch's order, any reshape is possible."""
        value, timing = x.value, x.timing
        full = self.builder.shape(value)
        if x.axis and full[0] > 1:
            order = (*range(1, x.axis + 1), 0, *range(x.axis + 1, len(full)))
            value = self.add(ops.Transpose, self.name(node, "order"), timing, x=value, axes=order)
        count = shape[axis] // self.captured.lengths[0]
        timing = replace(timing, group=count, extra=0, delay=timing.delay // timing.group * count)
        single = (*shape[:axis], count, *shape[axis + 1 :])
        value = self.add(ops.Reshape, self.name(node), timing, x=value, shape=single)
        if axis and count > 1:
            order = (axis, *(index for index in range(len(shape)) if index != axis))
            value = self.add(ops.Transpose, self.name(node, "frames"), timing, x=value, axes=order)
        elif axis:
            value = self.add(
                ops.Reshape, self.name(node, "frames"), timing, x=value, shape=(1, *frame_shape(shape, axis))
            )
        return self.symbol(value, shape, axis, timing)

    def result_of(self, place: int, symbol: Timed) -> Timed:
        """Frames again, where windows follow each other and the result has some."""
        time, axis = self._results[place], symbol.axis
        if time is None or axis is None or time == axis or self.size.slide != self.size.length:
            return symbol
        name = f"{symbol.value}.frames"
        full = self.builder.shape(symbol.value)
        order = (symbol.dim(time), *(index for index in range(len(full)) if index != symbol.dim(time)))
        value, count = symbol.value, symbol.shape[time]
        timing = symbol.timing.faster(count)
        if order[0] > 1:
            value = self.add(ops.Transpose, f"{name}.order", timing, x=value, axes=order)
        rest = tuple(1 if index == axis else size for index, size in enumerate(symbol.shape) if index != time)
        value = self.add(ops.Reshape, name, timing, x=value, shape=(count, *rest))
        return replace(symbol, value=value, axis=time, timing=timing)

    def in_frames(self, program: Program) -> Program:
        """The program with its times counted in input frames instead of windows."""
        window, spec = self.size, program.spec

        def timing(old: Timing) -> Timing:
            return replace(
                old,
                period=old.period * window.slide,
                offset=window.slide - window.length + old.offset * window.slide,
                receptive_field=window.length,
            )

        values = dict(program.values)
        for name, value in values.items():
            if value.timing is not None and name not in self._in_frames:
                values[name] = replace(value, timing=timing(value.timing))
        outputs = []
        for port in spec.outputs:
            counted = values[port.name].timing
            assert counted is not None
            rate = spec.inputs[0].rate_hz
            outputs.append(
                replace(
                    port,
                    period=counted.period,
                    offset=counted.offset,
                    receptive_field=window.length,
                    rate_hz=None if rate is None else rate * port.group / counted.period,
                )
            )
        changed: dict[str, Any] = {
            "mode": window.mode,
            "hop": window.slide,
            "inputs": tuple(replace(port, hop=window.slide) for port in spec.inputs),
            "outputs": tuple(outputs),
            "latency": max(port.input_delay for port in outputs) + window.slide - 1,
            "receptive_field": window.length,
            "warmup": window.delay * window.slide,
        }
        return replace(program, spec=replace(spec, **changed), values=values)
