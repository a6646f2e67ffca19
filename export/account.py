"""The account of time: how many frames of a value leave per step, how late, and which of them are true.

How long a whole sequence of a value is, and which of a step's frames lie inside it, is known here too. Rules ask for
windows, delays and masks and say nothing of state themselves.

A window over time is the one place where delay comes from. Output frame `i` of a window of `span` frames with
stride `s` behind `before` padded frames reads input frames `i*s - before` to `i*s - before + span - 1`; the newest of
them arrives as stream frame `+ delay_in`. Of each step's groups of `s` frames, output stream frame `j` may look at
frames up to `j*s + phase`, `0 <= phase < s`. So `delay * s + phase = span - 1 - before + delay_in` with the smallest
delay that is not negative.

A window behind which `s` frames leave for each one is a window of stride 1, and its frames are taken apart (`spread`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, cast

import numpy as np
import torch

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.builder import Builder
from edgernn.export.symbols import Const, Pad, Timed
from edgernn.program import Array, Op, Timing, Value

STEPS = "steps"  # what the step counter's state is called
LEFT = "frames_left"


@dataclass(frozen=True)
class Window:
    """A window over frames: `value` `[kept + frames, …]`, output `j` of a step starts at `first + j * stride`."""

    value: str
    first: int
    count: int
    timing: Timing  # of the outputs


class TimeAccount:
    """A program of `hop` input frames per step in the making, and the time of its values."""

    def __init__(self, hop: int, reserved: frozenset[str] = frozenset()) -> None:
        self.hop = hop
        self.builder = Builder(reserved)
        self.builder.values[LEFT] = Value(LEFT, "int64", ())
        self._steps = ""
        self._validities: dict[tuple[Any, ...], str] = {}
        self._delayed: dict[tuple[str, int], Timed] = {}

    def add(self, kind: type[Op], name: str, timing: Timing | None, /, **fields: Any) -> str:
        """Append an operation with one result."""
        return self.builder.add(kind, name, timing, **fields)[0]

    def frames(self, timing: Timing) -> int:
        """Frames per step of a value."""
        return self.hop // timing.period * timing.group

    def constant(self, const: Const) -> str:
        """The name of a constant as a parameter of the program."""
        return self.builder.parameter(const.name, to_numpy(const.tensor))

    def number(self, value: float | int | bool, dtype: str) -> str:
        """A parameter that holds one number."""
        return self.builder.parameter(f"number.{value}", np.asarray(value, dtype))

    def settle(self, symbol: Timed) -> Timed:
        """Make the frames that were padded around a value."""
        pad = symbol.pad
        if pad is None:
            return symbol
        if pad.mode != "constant" and (pad.before > 0 or pad.after > 0):
            raise UnsupportedError(
                f"`{pad.mode}` padding over time streams only in front of `torch.stft`",
                hint="pad with zeros: `F.pad(x, (left, right))`",
            )
        inner = self.mask(replace(symbol, pad=None), pad, f"{symbol.value}.pad")
        shift = max(0, pad.before - inner.timing.delay)
        delay = inner.timing.delay - pad.before + shift
        value = self._shifted(inner, shift, pad.value)
        timing = replace(inner.timing.longer(pad.before + pad.after), delay=delay)
        return replace(inner, value=value, timing=timing)

    def pad(self, symbol: Timed, pad: Pad) -> Timed:
        """The same value with more frames around it, or fewer; they are made where they are read."""
        axis = symbol.axis
        assert axis is not None
        length = symbol.shape[axis] + pad.before + pad.after
        joined = pad if symbol.pad is None else symbol.pad.join(pad)
        if joined is None:
            symbol, joined = self.settle(symbol), pad
        shape = (*symbol.shape[:axis], length, *symbol.shape[axis + 1 :])
        return replace(symbol, shape=shape, pad=joined if joined.before or joined.after else None)

    def mask(self, symbol: Timed, pad: Pad, name: str) -> Timed:
        """Put the padding's value into the frames outside the sequence that a consumer of the padding will read."""
        end = pad.after > 0
        symbol = self.certain(symbol) if end else symbol
        start = pad.before > 0 and symbol.timing.delay > 0
        if not (start or end):
            return symbol
        valid = self.validity(symbol.timing, start=start, end=end)
        value = self.add(ops.Mask, f"{name}.mask", symbol.timing, x=symbol.value, valid=valid, fill=float(pad.value))
        return replace(symbol, value=value)

    def delay(self, symbol: Timed, frames: int) -> Timed:
        """The same value `frames` frames later."""
        if frames == 0:
            return symbol
        key = (symbol.value, frames)
        if key not in self._delayed:
            value = self._shifted(symbol, frames, 0.0)
            timing = replace(symbol.timing, delay=symbol.timing.delay + frames)
            self.builder.values[value] = replace(self.builder.values[value], timing=timing)
            self._delayed[key] = replace(symbol, value=value, timing=timing)
        kept = self._delayed[key]
        return replace(symbol, value=kept.value, timing=kept.timing)

    def _shifted(self, symbol: Timed, frames: int, fill: float) -> str:
        if frames == 0:
            return symbol.value
        name = self.builder.unique(f"{symbol.value}.delay")
        window = self.kept(symbol, frames, fill, name)
        return self.add(
            ops.Slice,
            name,
            symbol.timing,
            x=window,
            axis=0,
            start=0,
            end=self.frames(symbol.timing),
        )

    def certain(self, symbol: Timed) -> Timed:
        """A value late enough that each of its frames is known to lie before the end when it comes.

        Where a module cuts frames off its end, the newest frames so far may be those.
        """
        return self.delay(symbol, max(0, -symbol.timing.length(0) - symbol.timing.delay))

    def align(self, symbols: Sequence[Timed]) -> list[Timed]:
        """Bring values that meet in one operation to the largest of their delays."""
        settled = [self.settle(symbol) for symbol in symbols]
        rates = {Fraction(symbol.timing.period, symbol.timing.group) for symbol in settled}
        if len(rates) > 1:
            raise UnsupportedError(
                f"values with {' and '.join(map(str, sorted(rates)))} input frames per frame meet",
                hint="bring both to one rate before they meet",
            )
        newest = [symbol for symbol in settled if symbol.axis is None]
        if 0 < len(newest) < len(settled):
            raise UnsupportedError(
                f"a value of every frame meets `{newest[0].value}`, the newest frame or what the whole sequence was"
                " pooled to, which a stream doesn't have yet",
                hint="use a running value (cumsum), a state: `edgernn.nn.Recurrent(cell)`; of decibels `top_db=None`",
            )
        latest = max(symbol.timing.delay for symbol in settled)
        return [self.delay(symbol, latest - symbol.timing.delay) for symbol in settled]

    def meet(self, symbols: Sequence[Timed]) -> Timing:
        """Timing of a value made from aligned ones, of the smallest groups among theirs."""
        true = [symbol for symbol in symbols if not symbol.free] or list(symbols)
        fields = [symbol.timing.receptive_field for symbol in true]
        field = None if None in fields else max(cast(list[int], fields))
        finest = min((symbol.timing for symbol in true), key=lambda timing: timing.group)
        return replace(finest, receptive_field=field)

    def whole_steps(self, symbol: Timed) -> tuple[Timed, str]:
        """A value for a layer with state: its delay a whole number of steps; and whether the state moves.

        The second result names a bool that is false while the frames are from before the sequence, or is "".
        """
        symbol = self.settle(symbol)
        frames = self.frames(symbol.timing)
        symbol = self.delay(symbol, -symbol.timing.delay % frames)
        if symbol.timing.delay == 0:
            return symbol, ""
        return symbol, self.validity(symbol.timing, start=True, end=False, scalar=True)

    def window(self, symbol: Timed, span: int, stride: int, pad: Pad, name: str) -> Window:
        """A window of `span` frames every `stride` frames over a value with `pad` around it (and its own).

        `name` is the operation's that reads the window: its history is a state of that name.
        """
        if symbol.pad is not None:
            joined = symbol.pad.join(pad)
            symbol = self.settle(symbol) if joined is None else replace(symbol, pad=None)
            pad = pad if joined is None else joined
        mirror = pad.mode == "reflect" and (pad.before > 0 or pad.after > 0)
        if not mirror and pad.mode != "constant":
            raise UnsupportedError(f"`{pad.mode}` padding over time doesn't stream", hint="pad with zeros")
        # a mirrored frame may lie further ahead (at the start) or further back (at the end) than the window itself
        ahead = max(0, 2 * pad.before - span + 1) if mirror else 0
        back = max(0, 2 * pad.after - span + 1) if mirror else 0
        symbol = self.certain(symbol) if mirror else self.mask(symbol, pad, name)
        timing = symbol.timing
        reach = span - 1 + ahead - pad.before + timing.delay
        delay = max(0, -((stride - 1 - reach) // stride))
        phase = reach - delay * stride
        kept = max(0, span - 1 + ahead + back - phase)
        value = self.kept(symbol, kept, pad.value if not mirror else 0.0, name)
        if mirror:
            value = self.add(
                ops.Reflect,
                f"{name}.reflect",
                timing,
                window=value,
                steps=self.steps(),
                left=LEFT,
                frames=self.frames(timing),
                **_clock(timing),
            )
        slower = self.slower(timing.longer(pad.before + pad.after - span + stride), stride)
        return Window(
            value=value,
            first=kept + phase - ahead - span + 1,
            count=self.frames(timing) // stride,
            timing=replace(slower, delay=delay, receptive_field=timing.widened(span - 1).receptive_field),
        )

    def slower(self, timing: Timing, stride: int) -> Timing:
        """Timing of one frame for every `stride`, the delay left as it is."""
        try:
            return timing.slower(stride)
        except ValueError:
            raise UnsupportedError(
                f"takes one of {stride} frames where {timing.group} come at a time",
                hint=f"take one of a number that divides {timing.group}, or that it divides",
            ) from None

    def kept(self, symbol: Timed, kept: int, fill: float, name: str) -> str:
        """A step's frames with the `kept` frames before them in front, `fill` before the first; a state of `name`."""
        if kept == 0:
            return symbol.value
        shape = self.builder.shape(symbol.value)[1:]
        initial = np.full((kept, *shape), fill, self.builder.dtype(symbol.value))
        incoming, outgoing = self.builder.state(name, "past", initial)
        name = self.builder.unique(f"{name}.window")
        self.builder.add(ops.History, name, (symbol.timing, None), (name, outgoing), x=symbol.value, past=incoming)
        return name

    def steps(self) -> str:
        """The step counter, int64 `[]`: the number of steps since reset before this one."""
        if not self._steps:
            incoming, outgoing = self.builder.state(STEPS, "count", np.zeros((), np.int64))
            self.builder.add(ops.CountSteps, "count_steps", None, (outgoing,), steps=incoming)
            self._steps = incoming
        return self._steps

    def validity(self, timing: Timing, *, start: bool, end: bool, scalar: bool = False) -> str:
        """Which frames of a step lie behind the sequence's start and before its end."""
        clock = _clock(timing if end else replace(timing, offset=0, extra=0))
        key = (*clock.values(), start, end, scalar)
        if key not in self._validities:
            self._validities[key] = self.add(
                ops.Validity,
                "validity",
                None,
                steps=self.steps() if start else "",
                left=LEFT if end else "",
                frames=self.frames(timing),
                scalar=scalar,
                **clock,
            )
        return self._validities[key]

    def state(self, name: str, suffix: str, initial: Array) -> tuple[str, str]:
        """A state pair of operation `name`: names of its input and its output."""
        return self.builder.state(name, suffix, initial)


def _clock(timing: Timing) -> dict[str, int]:
    """What `Validity` and `Reflect` know of a value's timing."""
    return {name: getattr(timing, name) for name in ("period", "offset", "delay", "group", "extra")}


def to_numpy(tensor: torch.Tensor) -> Array:
    """A tensor as a contiguous array of its own."""
    return np.array(tensor.detach().cpu().contiguous().numpy())
