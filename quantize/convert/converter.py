"""The integer program while it is made: its values in their forms, its parameters, its operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from edgernn import ops
from edgernn.errors import QuantizeError
from edgernn.program import Array, Op, Program, Type, Value
from edgernn.quantize.convert.demand import Demand
from edgernn.quantize.convert.forms import Coded, Converted, Options
from edgernn.quantize.convert.scales import fixed_multiplier
from edgernn.quantize.observe import Observations
from edgernn.quantize.observers import Seen
from edgernn.quantize.plan import Plan
from edgernn.quantize.reference.fixed import LIMITS
from edgernn.spec import DecodingSpec, StateSpec

Rule = Callable[["Converter", Any], None]

_RULES: dict[type[Op], Rule] = {}
_FINEST = 1e-4  # of the largest step of a value's features: one that hardly moves gets no finer one


def converts(*kinds: type[Op]) -> Callable[[Rule], Rule]:
    """Register a function as what turns operations of `kinds` into integer ones."""

    def register(function: Rule) -> Rule:
        _RULES.update(dict.fromkeys(kinds, function))
        return function

    return register


class Converter:
    """Takes the float program's operations in order. Rules read float values by name, in the form that they want."""

    def __init__(self, program: Program, seen: Observations, plan: Plan, options: Options) -> None:
        self.program, self.seen, self.plan, self.options = program, seen, plan, options
        self.demand = Demand(program, plan, options)
        self.units: dict[str, Array] = {}
        self._fused: set[str] = set()  # values that exist only with their activation applied
        self._values: dict[str, Value] = {}
        self._parameters: dict[str, Array] = {}
        self._ops: list[Op] = []
        self._states = {state.input: state for state in program.spec.states}
        self._state_units: dict[str, tuple[float, int]] = {}  # what one of an integer state is worth, and the most
        self._coded: dict[str, Coded] = {}  # how each float value's producer left it
        self._forms: dict[tuple[str, str], Coded] = {}  # integer forms made of it, by name and dtype
        self._floats: set[str] = set()

    def run(self) -> Converted:
        """Convert everything."""
        spec = self.program.spec
        for name in (*(port.name for port in spec.inputs), *self._states, *filter(None, [spec.frames_left])):
            self._keep(name)
        for op in self.program.ops:
            if op.name in self.plan.integer:
                _RULES[type(op)](self, op)
            else:
                self._island(op)
        for port in spec.outputs:
            if port.name not in self._values:
                self.as_float(port.name)
        states = tuple(self._states[state.input] for state in spec.states)
        # the proof was the float file's
        spec = replace(spec, states=states, proof={}, decoding=self._decoding())
        program = Program(spec, self._values, self._parameters, tuple(self._ops))
        coded = {name: code for name, code in self._coded.items() if name not in self._fused}
        return Converted(program, coded, self.units)

    def _island(self, op: Op) -> None:
        for name in filter(None, op.operands):
            self.as_float(name)
        self._ops.append(op)
        for name in op.outputs:
            self._keep(name)

    def _keep(self, name: str) -> None:
        self._values[name] = self.program.values[name]
        if self.program.values[name].dtype == "float32":
            self._floats.add(name)

    # what rules write

    def emit(self, op: Op, like: str) -> None:
        """Add an operation whose results lie in time as the float value `like`."""
        self._ops.append(op)
        types = op.infer(*(self._type(name) for name in op.operands))
        for name, kind in zip(op.outputs, types, strict=True):
            original = self.program.values.get(name)
            timing = original.timing if original is not None else self.program.values[like].timing
            self._values[name] = Value(name, kind.dtype, kind.shape, timing)

    def _type(self, name: str) -> Type | None:
        if not name:
            return None
        if name in self._values:
            return Type(self._values[name].dtype, self._values[name].shape)
        array = self._parameters[name]
        return Type(str(array.dtype), array.shape)

    def unpack(self, op: ops.Int4) -> None:
        """Add an operation on parameters alone, that gives a weight."""
        self._ops.append(op)
        self._values[op.name] = Value(op.name, "int8", op.shape)

    def parameter(self, name: str, array: Any) -> str:
        """Keep a parameter."""
        self._parameters[name] = np.array(array, order="C")
        return name

    def state(self, name: str, dtype: str, scale: Any, limit: int) -> None:
        """Make a state integer, its initial value with it."""
        old = self._states[name]
        whole = np.clip(np.rint(old.initial().astype(np.float64) / scale), -limit, limit).astype(dtype)
        self._states[name] = StateSpec(
            input=old.input, output=old.output, shape=old.shape, dtype=dtype, init=StateSpec.encode(whole)
        )
        self._values[name] = Value(name, dtype, old.shape)
        if np.ndim(scale) == 0:
            self._state_units[name] = float(scale), limit
        self._floats.discard(name)

    def next_state(self, name: str) -> str:
        """What the integers of a new state are called: as in the float program, unless something reads it in float."""
        if not any(name in op.operands for op in self.program.ops):
            return name
        for key, state in self._states.items():
            if state.output == name:
                self._states[key] = replace(state, output=f"{name}.q")
        return f"{name}.q"

    def _decoding(self) -> DecodingSpec | None:
        """With the units of the integer states that a decoder starts from."""
        loop = self.program.spec.decoding
        if loop is None:
            return None
        starts = []
        for start in loop.starts:
            unit, limit = self._state_units.get(start.state, (1.0, None))
            if limit is None and self._states[start.state].dtype != "float32":
                raise QuantizeError("is coded by feature and cannot start from the encoder", place=start.state)
            starts.append(replace(start, unit=unit, limit=limit))
        return replace(loop, starts=tuple(starts))

    def leave(self, name: str, code: Coded) -> None:
        """Note in what integers a float value is left."""
        self._coded[name] = self._forms[name, code.dtype] = code

    def leave_float(self, name: str) -> None:
        """Note that a float value is left as it was."""
        self._floats.add(name)

    def fuse(self, name: str, into: str) -> None:
        """Note that a value exists only as the one that its follower makes of it."""
        self._fused.add(name)
        self.leave(into, self._coded[name])

    # what rules read

    def weight(self, name: str) -> Array:
        """A float parameter in float64."""
        return np.asarray(self.program.parameters[name].astype(np.float64))

    def seen_of(self, name: str) -> Seen:
        """What calibration saw of a value."""
        if name not in self.seen.values:
            raise QuantizeError("calibration saw no frame of it", place=name, hint="give longer sequences")
        return self.seen.values[name]

    def dtype_of(self, name: str) -> str:
        """Element type of a value that a rule wrote."""
        return self._values[name].dtype

    def scale_of(self, name: str, dtype: str) -> float:
        """The calibrated step of a value."""
        return self.seen_of(name).scale(dtype, self.options.observer)

    def as_left(self, name: str) -> Coded:
        """The integers in which the producer of a float value left it."""
        return self._coded[name]

    def as_float(self, name: str) -> str:
        """The float value, dequantized where its producer left integers."""
        if name in self.program.parameters:
            return self.parameter(name, self.program.parameters[name])
        if name not in self._floats and name in self._coded:
            code = self._coded[name]
            scale = float(np.float32(code.scale))
            self.emit(ops.Dequantize(name=f"{name}.float", outputs=(name,), q=code.name, scale=scale), name)
            self._floats.add(name)
        return name

    def as_operand(self, name: str, dtype: str) -> Coded:
        """For element-wise arithmetic: as it was left, else quantized; a running total is brought to int16."""
        code = self._coded.get(name)
        if code is None or not code.plain:
            return self.as_integer(name, dtype)
        return self.as_integer(name, "int16") if code.dtype == "int64" else code

    def as_integer(self, name: str, dtype: str) -> Coded:
        """With one scale, within the limits of what enters a product."""
        form = self._forms.get((name, dtype))
        if form is not None and form.plain:
            return form
        code = self._coded.get(name)
        if code is not None and code.plain:
            if code.dtype == dtype and code.limit == LIMITS[dtype]:
                return code
            return self.rescaled(name, code, self.scale_of(name, dtype), dtype)
        scale = np.float32(self.scale_of(name, dtype))
        code = Coded(f"{name}.{dtype}", dtype, float(scale))
        self._quantize(name, code, np.asarray(1 / scale))
        self._coded.setdefault(name, code)
        return code

    def as_factor(self, name: str, dtype: str, *, centred: bool) -> Coded:
        """For products alone: with a step by feature, and (`centred`) an offset, where the value comes from float."""
        form = self._forms.get((name, dtype))
        if form is not None:
            return form
        seen = self.seen.values.get(name)
        if name in self._coded or seen is None or not self.demand.takes_features(name, centred):
            return self.as_integer(name, dtype)
        width = self.program.values[name].shape[-1]
        scale, offset = seen.feature_scales(width, dtype, self.options.observer, centred=centred)
        floor = np.float32(max(scale.max() * _FINEST, 1e-30))
        scale32, offset32 = np.maximum(scale.astype(np.float32), floor), offset.astype(np.float32)
        code = Coded(f"{name}.{dtype}", dtype, scale32.astype(np.float64), offset32.astype(np.float64))
        self._quantize(name, code, np.float32(1) / scale32, offset32 if centred else None)
        return code

    def _quantize(self, name: str, code: Coded, inverse: Array, offset: Array | None = None) -> None:
        made = ops.Quantize(
            name=code.name,
            outputs=(code.name,),
            x=self.as_float(name),
            inverse=self.parameter(f"{code.name}.inverse", inverse),
            offset="" if offset is None else self.parameter(f"{code.name}.offset", offset),
            dtype=code.dtype,
        )
        self.emit(made, name)
        self._forms[name, code.dtype] = code

    def as_window(self, name: str, dtype: str, *, plain: bool = False) -> Coded:
        """For a convolution: the window of a history that was left by feature too, unless it must be `plain`."""
        form = self._forms.get((name, dtype)) or self._coded.get(name)
        fits = form is not None and form.dtype == dtype and (form.plain or not plain)
        return form if form is not None and fits else self.as_integer(name, dtype)

    def rescaled(self, name: str, code: Coded, scale: float, dtype: str) -> Coded:
        """Another scale or width of an integer form."""
        made = Coded(f"{name}.{dtype}_{len(self._ops)}", dtype, scale)
        self.rescale(made, code, -LIMITS[dtype], LIMITS[dtype], like=name)
        self._forms.setdefault((name, dtype), made)
        return made

    def rescale(self, made: Coded, code: Coded, low: int, high: int, *, like: str, name: str = "") -> None:
        """Add a `Rescale` from one form to another."""
        multiplier, shift = fixed_multiplier(code.scale / made.scale)
        limits: dict[str, Any] = {"low": low, "high": high, "dtype": made.dtype}
        op = ops.Rescale(
            name=name or made.name, outputs=(made.name,), q=code.name, multiplier=multiplier, shift=shift, **limits
        )
        self.emit(op, like)
