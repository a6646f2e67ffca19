"""The inputs and outputs of a step: tensors of the file as frames of a stream, and the contract."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from edgernn import ops
from edgernn.errors import ExportError
from edgernn.export.onnx_in.cells import find_cells
from edgernn.export.onnx_in.pairs import Pair, Port
from edgernn.export.onnx_in.reader import Reader
from edgernn.export.onnx_in.separate import separate
from edgernn.export.onnx_in.symbols import Given, Shape
from edgernn.export.onnx_in.tidy import tidy
from edgernn.export.translate import Label, weights_hash
from edgernn.program import Array, Program, Timing, Value
from edgernn.spec import InputSpec, OutputSpec, StateSpec, StreamSpec


class Ports:
    """Between a file's tensors and frames `[frames, …frame]`: a frame is a tensor without its axes of one element.

    With `time_axis` that axis counts the frames of a run, and `context` of them come from the run before.
    """

    def __init__(self, time_axis: int | None, context: int, rate_hz: float | None) -> None:
        self._axis, self.context, self._rate = time_axis, context, rate_hz
        if context and time_axis is None:
            raise ExportError("a context of some frames needs to know them", hint="name their axis: --time-axis N")

    def hop(self, port: Port) -> int:
        """New frames in each run. Raises `ExportError` when there are none."""
        if self._axis is None:
            return 1
        if self._axis >= len(port.shape):
            raise ExportError(
                f"has {len(port.shape)} axes", place=f"input `{port.name}`", hint="--time-axis counts from 0"
            )
        hop = port.shape[self._axis] - self.context
        if hop < 1:
            raise ExportError(
                f"takes {port.shape[self._axis]} frames, of which {self.context} are context",
                place=f"input `{port.name}`",
            )
        return hop

    def frame(self, shape: Shape, timed: bool) -> Shape:
        """Shape of a frame of a tensor."""
        return tuple(size for axis, size in enumerate(shape) if size != 1 and not (timed and axis == self._axis))

    def timed(self, shape: Shape, hop: int) -> bool:
        """Whether an output's tensor has frames on the time axis: as many as came in."""
        return self._axis is not None and self._axis < len(shape) and shape[self._axis] == hop

    # --- tensors and frames outside a program ------------------------------------------------------------------

    def tensor(self, frames: Array, shape: Shape) -> Array:
        """The file's tensor of a run's frames, context and all."""
        if self._axis is None:
            return frames.reshape(shape)
        rest = [size for axis, size in enumerate(shape) if axis != self._axis]
        return np.moveaxis(frames.reshape(len(frames), *rest), 0, self._axis)

    def frames(self, tensor: Array, hop: int) -> Array:
        """The frames of an output's tensor."""
        if not self.timed(tensor.shape, hop):
            return tensor.reshape(1, *self.frame(tensor.shape, False))
        assert self._axis is not None
        return np.moveaxis(tensor, self._axis, 0).reshape(hop, *self.frame(tensor.shape, True))

    # --- in a program ------------------------------------------------------------------------------------------

    def program(
        self,
        r: Reader,
        label: Label,
        mode: str,
        inside: Mapping[str, Given],
        results: Mapping[str, Given],
        pairs: Sequence[Pair],
        signals: Sequence[Port],
        outputs: Sequence[Port],
    ) -> Program:
        """The program of a graph that was read: `inside` are its inputs and `results` its outputs, by name."""
        b = r.builder
        body, b.ops = b.ops, []
        inputs = tuple(self._input(r, port, inside[port.name].value) for port in signals)
        for pair in pairs:
            self._state(r, pair, inside[pair.input])
        b.ops += body
        field = None if pairs else self.context + inputs[0].hop
        ends = tuple(self._output(r, port, results[port.name].value, inputs[0].hop, field) for port in outputs)
        for pair in pairs:
            item = results[pair.output]
            b.add(ops.Reshape, pair.output, (None,), (pair.output,), x=item.value, shape=item.shape)
        names = frozenset(port.name for port in ends)
        separate(b, names)
        find_cells(b, r.timing)
        b.prune(set(names))
        tidy(b, names | {state.output for state in b.states})
        b.prune(set(names))
        for port in inputs:  # one that nothing reads is an input all the same
            b.values.setdefault(port.name, Value(port.name, port.dtype, port.shape, Timing()))
        hop = inputs[0].hop
        spec = StreamSpec(
            **label.contract(),
            inputs=inputs,
            outputs=ends,
            states=tuple(b.states),
            hop=hop,
            delay=0,
            latency=hop - 1,
            receptive_field=ends[0].receptive_field,
            mode=mode,
            provenance={
                "weights_sha256": weights_hash(b.parameters),
                "versions": {"onnx": onnx.__version__},
                "options": {},
            },
        )
        return Program(spec, b.values, b.parameters, tuple(b.ops))

    def _input(self, r: Reader, port: Port, inner: str) -> InputSpec:
        b, hop, timed = r.builder, self.hop(port), self._axis is not None
        shape = (hop, *self.frame(port.shape, timed))
        b.values[port.name] = Value(port.name, port.dtype, shape, Timing())
        value, count = port.name, hop
        if self.context:
            past, past_out = b.state(port.name, "context", np.zeros((self.context, *shape[1:]), port.dtype))
            value = b.add(
                ops.History,
                f"{port.name}.context",
                (Timing(), None),
                (f"{port.name}.context", past_out),
                x=value,
                past=past,
            )[0]
            count = hop + self.context
        if self._axis:
            rest = [size for axis, size in enumerate(port.shape) if axis != self._axis]
            if math.prod(rest[: self._axis]) > 1 and count > 1:
                value = b.add(ops.Reshape, f"{port.name}.frames", Timing(), x=value, shape=(count, *rest))[0]
                order = (*range(1, self._axis + 1), 0, *range(self._axis + 1, len(port.shape)))
                value = b.add(ops.Transpose, f"{port.name}.tensor", Timing(), x=value, axes=order)[0]
        b.add(ops.Reshape, inner, r.timing, (inner,), x=value, shape=(1, *port.shape))
        return InputSpec(name=port.name, dtype=port.dtype, shape=shape, batch_axis=None, hop=hop, rate_hz=self._rate)

    def _state(self, r: Reader, pair: Pair, item: Given) -> None:
        b = r.builder
        start = np.zeros(item.shape, item.dtype)
        b.values[pair.input] = Value(pair.input, item.dtype, item.shape)
        b.states.append(
            StateSpec(
                input=pair.input, output=pair.output, shape=item.shape, dtype=item.dtype, init=StateSpec.encode(start)
            )
        )
        b.add(ops.Reshape, item.value, r.timing, (item.value,), x=pair.input, shape=(1, *item.shape))

    def _output(self, r: Reader, port: Port, inner: str, hop: int, field: int | None) -> OutputSpec:
        b, timed = r.builder, self.timed(port.shape, hop)
        count = hop if timed else 1
        shape = (count, *self.frame(port.shape, timed))
        common = math.gcd(count, hop)
        timing = Timing(period=hop // common, group=count // common)
        value = inner
        if timed and self._axis and math.prod(port.shape[: self._axis]) > 1 and count > 1:
            order = (self._axis + 1, *(axis for axis in range(len(port.shape) + 1) if axis != self._axis + 1))
            value = b.add(ops.Transpose, f"{port.name}.frames", timing, x=value, axes=order)[0]
        b.add(ops.Reshape, port.name, timing, (port.name,), x=value, shape=shape)
        return OutputSpec(
            name=port.name,
            dtype=port.dtype,
            shape=shape,
            batch_axis=None,
            period=timing.period,
            group=timing.group,
            receptive_field=field,
            rate_hz=None if self._rate is None else self._rate * timing.group / timing.period,
        )
