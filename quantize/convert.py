"""Turn a float program and what calibration saw into the integer program."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edgernn import ops
from edgernn.errors import QuantizeError
from edgernn.program import Array, Op, Program, Type, Value, volume
from edgernn.quantize.observe import Observations
from edgernn.quantize.plan import CELLS, CONVOLUTIONS, MOVES, PRODUCTS, Plan
from edgernn.quantize.reference.fixed import LIMITS, WORD
from edgernn.quantize.rounding import Rounding, Rows, round_rows
from edgernn.spec import StateSpec

GATE = 2.0**-12  # unit of a gate's pre-activation
_LARGEST = 2.0**31 - 1


@dataclass(frozen=True)
class Options:
    """What a caller may choose."""

    rounding: Rounding = field(default_factory=Rounding)
    activation_type: str = "int8"
    observer: str = "mse"
    wide: frozenset[str] = frozenset()  # operations whose inputs are int16 although `activation_type` is not


@dataclass(frozen=True)
class Coded:
    """An integer value that stands for a float one: `scale * q + offset`, scale and offset by feature or one."""

    name: str
    dtype: str
    scale: Any
    offset: Any = 0.0

    @property
    def plain(self) -> bool:
        """Whether one scale holds for all features."""
        return np.ndim(self.scale) == 0 and np.ndim(self.offset) == 0


@dataclass(frozen=True)
class Converted:
    """The integer program and which of its values stand for those of the float one."""

    program: Program
    coded: Mapping[str, Coded]
    units: Mapping[str, Array]  # what one unit of each rounded parameter is worth, in the float parameter's own terms


def convert(program: Program, seen: Observations, plan: Plan, options: Options) -> Converted:
    """Raises `QuantizeError` when a scale cannot be expressed."""
    return _Converter(program, seen, plan, options).run()


def fixed_multiplier(real: float) -> tuple[int, int]:
    """`real` as `multiplier / 2^shift`, the multiplier of 24 to 31 bits where the shift's limits allow."""
    if real == 0:
        return 0, 26
    shift = min(40, max(1, 30 - math.floor(math.log2(abs(real)))))
    multiplier = round(real * 2.0**shift)
    if abs(multiplier) > _LARGEST:
        raise QuantizeError(f"a scale of {real:g} cannot be expressed: two values that meet differ too much in range")
    return multiplier, shift


def shrunk(moments: Array, frames: int) -> Array:
    """Moments whose covariances are drawn to zero as far as `frames` are too few to know them."""
    by_mean = np.outer(moments[:, -1], moments[:, -1]) / moments[-1, -1]
    covariance = moments - by_mean
    inner = np.arange(len(moments) - 1)
    variance = covariance[inner, inner].copy()
    covariance *= frames / (frames + len(inner))
    covariance[inner, inner] = variance
    return np.asarray(covariance + by_mean)


class _Converter:
    def __init__(self, program: Program, seen: Observations, plan: Plan, options: Options) -> None:
        self.program, self.seen, self.plan, self.options = program, seen, plan, options
        self.values: dict[str, Value] = {}
        self.parameters: dict[str, Array] = {}
        self.units: dict[str, Array] = {}
        self.ops: list[Op] = []
        self.states = {state.input: state for state in program.spec.states}
        self.coded: dict[str, Coded] = {}  # how each float value's producer left it
        self.forms: dict[tuple[str, str], Coded] = {}
        self.floats: set[str] = set()
        self.readers: dict[str, list[Op]] = {}
        for op in program.ops:
            for name in op.operands:
                self.readers.setdefault(name, []).append(op)
        self.kept = {port.name for port in program.spec.outputs} | {state.output for state in program.spec.states}
        self.fused: set[str] = set()  # values that exist only with their activation applied

    def run(self) -> Converted:
        spec = self.program.spec
        for port in spec.inputs:
            self._keep_value(port.name)
        for state in spec.states:
            self._keep_value(state.input)
        if spec.frames_left:
            self._keep_value(spec.frames_left)
        for op in self.program.ops:
            if op.name in self.plan.integer:
                self._integer(op)
            else:
                self._island(op)
        for name in self.kept:
            if name in self.program.values and name not in self.values:
                self.as_float(name)
        states = tuple(self.states[state.input] for state in spec.states)
        # the proof was the float file's
        program = Program(replace(spec, states=states, proof={}), self.values, self.parameters, tuple(self.ops))
        coded = {name: code for name, code in self.coded.items() if name not in self.fused}
        return Converted(program, coded, self.units)

    # values

    def _keep_value(self, name: str) -> None:
        self.values[name] = self.program.values[name]
        if self.program.values[name].dtype == "float32":
            self.floats.add(name)

    def emit(self, op: Op, like: str) -> None:
        """Add an operation whose results lie in time as the float value `like`."""
        self.ops.append(op)
        types = op.infer(*(self._type(name) for name in op.operands))
        for name, kind in zip(op.outputs, types, strict=True):
            original = self.program.values.get(name)
            timing = original.timing if original is not None else self.program.values[like].timing
            self.values[name] = Value(name, kind.dtype, kind.shape, timing)

    def _type(self, name: str) -> Type | None:
        if not name:
            return None
        if name in self.values:
            return Type(self.values[name].dtype, self.values[name].shape)
        array = self.parameters[name]
        return Type(str(array.dtype), array.shape)

    def parameter(self, name: str, array: Any) -> str:
        """Keep a parameter."""
        self.parameters[name] = np.ascontiguousarray(array)
        return name

    def as_float(self, name: str) -> str:
        """The float value, dequantized where its producer left integers."""
        if name in self.floats or name in self.program.parameters or name not in self.coded:
            if name in self.program.parameters:
                self.parameters[name] = self.program.parameters[name]
            return name
        code = self.coded[name]
        scale = float(np.float32(code.scale))
        self.emit(ops.Dequantize(name=f"{name}.float", outputs=(name,), q=code.name, scale=scale), name)
        self.floats.add(name)
        return name

    def scale_of(self, name: str, dtype: str) -> float:
        """The calibrated step of a value."""
        if name not in self.seen.values:
            raise QuantizeError("calibration saw no frame of it", place=name, hint="give longer sequences")
        return self.seen.values[name].scale(dtype, self.options.observer)

    def as_integer(self, name: str, dtype: str) -> Coded:
        """An integer form of a value with one scale."""
        form = self.forms.get((name, dtype))
        if form is not None and form.plain:
            return form
        if name in self.coded and self.coded[name].plain:
            code = self.coded[name]
            if code.dtype == dtype and not self._too_wide(code):
                return code
            return self._rescaled(name, code, self.scale_of(name, dtype), dtype)
        scale = np.float32(self.scale_of(name, dtype))
        code = Coded(f"{name}.{dtype}", dtype, float(scale))
        inverse = self.parameter(f"{code.name}.inverse", np.float32(1) / scale)
        self.as_float(name)
        self.emit(
            ops.Quantize(name=f"{name}.{dtype}", outputs=(code.name,), x=name, inverse=inverse, dtype=dtype), name
        )
        self.forms[name, dtype] = code
        self.coded.setdefault(name, code)
        return code

    def _too_wide(self, code: Coded) -> bool:
        """Gates are int16 beyond what a matrix product takes."""
        return code.scale in (GATE, 2.0**-15) and code.dtype == "int16"

    def _rescaled(self, name: str, code: Coded, scale: float, dtype: str) -> Coded:
        made = Coded(f"{name}.{dtype}_{len(self.ops)}", dtype, scale)
        multiplier, shift = fixed_multiplier(code.scale / scale)
        limit = LIMITS[dtype]
        self.emit(
            ops.Rescale(
                name=made.name,
                outputs=(made.name,),
                q=code.name,
                multiplier=multiplier,
                shift=shift,
                low=-limit,
                high=limit,
                dtype=dtype,
            ),
            name,
        )
        self.forms.setdefault((name, dtype), made)
        return made

    def as_factor(self, name: str, dtype: str, *, centred: bool) -> Coded:
        """An integer form for weighted operations alone: by feature where the value comes from float."""
        form = self.forms.get((name, dtype))
        if form is not None:
            return form
        if name in self.coded or not self._only_weighted(name, centred):
            return self.as_integer(name, dtype)
        width = self.program.values[name].shape[-1]
        seen = self.seen.values.get(name)
        if seen is None:
            return self.as_integer(name, dtype)
        scale, offset = seen.feature_scales(width, dtype, self.options.observer, centred=centred)
        floor = np.float32(max(scale.max() * 1e-4, 1e-30))  # a feature that hardly moves gets no finer step
        scale32, offset32 = np.maximum(scale.astype(np.float32), floor), offset.astype(np.float32)
        code = Coded(f"{name}.{dtype}", dtype, scale32.astype(np.float64), offset32.astype(np.float64))
        inverse = self.parameter(f"{code.name}.inverse", np.float32(1) / scale32)
        shift = self.parameter(f"{code.name}.offset", offset32) if centred else ""
        self.emit(
            ops.Quantize(name=code.name, outputs=(code.name,), x=name, inverse=inverse, offset=shift, dtype=dtype),
            name,
        )
        self.forms[name, dtype] = code
        return code

    def _only_weighted(self, name: str, centred: bool) -> bool:
        """Whether every integer reader of a float value is a weighted operation that can take steps by feature."""
        readers = [op for op in self.readers.get(name, []) if op.name in self.plan.integer]
        if centred:
            return all(isinstance(op, (*CELLS, ops.Linear)) for op in readers)
        return all(
            isinstance(op, ops.History)
            and all(isinstance(item, ops.Conv1d) and item.groups == 1 for item in self.readers[op.outputs[0]])
            for op in readers
        )

    # operations

    def _island(self, op: Op) -> None:
        for name in op.operands:
            if name:
                self.as_float(name)
        self.ops.append(op)
        for name in op.outputs:
            self._keep_value(name)

    def bits(self, op: Op) -> str:
        """Element type of an operation's input."""
        return "int16" if self.options.activation_type == "int16" or op.name in self.options.wide else "int8"

    def wanted(self, name: str) -> str:
        """The element type in which the producer of a value leaves it; float32 when nothing integer reads it."""
        readers = self.readers.get(name, [])
        integer = [op for op in readers if op.name in self.plan.integer]
        if not integer:
            return "float32"
        if len(integer) < len(readers) or name in self.kept:
            return "int16"
        if any(self._reads_wide(op) for op in integer):
            return "int16"
        return "int8"

    def _reads_wide(self, op: Op) -> bool:
        if isinstance(op, PRODUCTS):
            return self.bits(op) == "int16"
        if isinstance(op, (ops.CumSum, ops.RunningMean)):
            return True
        if isinstance(op, ops.Unary) and op.kind != "relu":
            return True
        return self.wanted(op.outputs[0]) != "int8"

    def _integer(self, op: Op) -> None:
        if isinstance(op, (ops.Linear, *CONVOLUTIONS)):
            self._product(op)
        elif isinstance(op, ops.GRU):
            self._gru(op)
        elif isinstance(op, ops.LSTM):
            self._lstm(op)
        elif isinstance(op, ops.RNN):
            self._rnn(op)
        elif isinstance(op, ops.Embedding):
            self._embedding(op)
        elif isinstance(op, ops.CumSum):
            self._cumsum(op)
        elif isinstance(op, ops.RunningMean):
            self._running_mean(op)
        elif isinstance(op, ops.CumMax):
            self._cummax(op)
        elif isinstance(op, ops.History):
            self._history(op)
        elif isinstance(op, ops.Unary) and op.kind == "relu":
            self._limit(op, 0.0, math.inf)
        elif isinstance(op, ops.Clip):
            self._limit(op, op.low, op.high)
        elif isinstance(op, ops.Unary):
            self._activation(op)
        elif isinstance(op, ops.Binary):
            self._binary(op)
        elif isinstance(op, ops.Pool):
            self._pool(op)
        else:
            self._move(op)

    def leave(self, name: str, code: Coded) -> None:
        """Note how a float value is left."""
        self.coded[name] = code
        self.forms[name, code.dtype] = code

    def dtype_out(self, name: str) -> str:
        """As `wanted`, for operations that only give integers."""
        return "int16" if self.wanted(name) == "float32" else self.wanted(name)

    def _follower(self, op: Op) -> Op | None:
        """A relu or gate activation that alone reads a product and can be joined with it."""
        readers = self.readers.get(op.outputs[0], [])
        if len(readers) != 1 or op.outputs[0] in self.kept or readers[0].name not in self.plan.integer:
            return None
        return readers[0] if isinstance(readers[0], ops.Unary) else None

    def _product(self, op: ops.Linear | ops.Conv1d | ops.Conv2d) -> None:
        source, dtype = (op.x if isinstance(op, ops.Linear) else op.window), self.bits(op)
        code = self.as_factor(source, dtype, centred=True) if isinstance(op, ops.Linear) else self._window(op, dtype)
        weight = self.program.parameters[op.weight].astype(np.float64)
        flat, scale, offset = self._effective(op, weight, code)
        bias = self.program.parameters[op.bias].astype(np.float64) if op.bias else np.zeros(len(flat))
        whole = np.asarray(self.program.parameters[op.weight].astype(np.float64).reshape(len(flat), -1))
        bias = bias + (whole @ offset if np.ndim(offset) else 0.0)
        moments = self._moments(op.name, [(scale, offset, flat.shape[1])])
        floors = np.abs(bias) * 2.0**-24
        (rows,), shift = round_rows([flat], floors, self.options.rounding, moments)
        units = rows.unit
        result, follower = op.outputs[0], self._follower(op)
        low, high, kind = 0.0, 0.0, self.wanted(result)
        if follower is not None and isinstance(follower, ops.Unary):
            if follower.kind == "relu":
                kind = self.dtype_out(follower.outputs[0])
                out = self._scale_or(follower.outputs[0], result, kind)
                low, high = 0, LIMITS[kind]
            else:
                kind, out, low, high = "int16", GATE, -WORD - 1, WORD
        elif kind != "float32":
            out, low, high = self.scale_of(result, kind), -LIMITS[kind], LIMITS[kind]
        else:
            out = 1.0
        names: dict[str, Any] = {
            "weight": self._stored(f"{op.name}.weight", rows, weight.shape, scale),
            "bias": self._bias(op, "bias", bias + shift, units),
        }
        fields: dict[str, Any] = {"dtype": kind}
        if kind == "float32":
            names["multiplier"] = self.parameter(f"{op.name}.multiplier", units.astype(np.float32))
        else:
            shift_bits = self._shift(op, [units / out])
            whole_m = np.rint(units / out * 2.0**shift_bits).astype(np.int32)
            names["multiplier"] = self.parameter(f"{op.name}.multiplier", whole_m)
            fields |= {"shift": shift_bits, "low": int(low), "high": int(high)}
        integer = result if kind == "float32" else f"{result}.q"
        if isinstance(op, ops.Linear):
            made: Op = ops.QLinear(name=op.name, outputs=(integer,), x=code.name, **names, **fields)
        else:
            kind_of = ops.QConv2d if isinstance(op, ops.Conv2d) else ops.QConv1d
            sizes = {key: getattr(op, key) for key in op.attribute_fields()}
            made = kind_of(name=op.name, outputs=(integer,), window=code.name, **names, **sizes, **fields)
        self.emit(made, result)
        if kind == "float32":
            self.floats.add(result)
        else:
            self.leave(result, Coded(integer, kind, out))

    def _scale_or(self, name: str, other: str, dtype: str) -> float:
        return self.scale_of(name if name in self.seen.values else other, dtype)

    def _window(self, op: ops.Conv1d | ops.Conv2d, dtype: str) -> Coded:
        form = self.forms.get((op.window, dtype)) or self.coded.get(op.window)
        if form is not None and form.dtype == dtype and (form.plain or isinstance(op, ops.Conv1d)):
            return form
        return self.as_integer(op.window, dtype)

    def _effective(self, op: Op, weight: Array, code: Coded) -> tuple[Array, Array, Array]:
        """Weights `[rows, columns]` in units of the integer input, and that input's scale and offset by column."""
        if isinstance(op, ops.Conv2d):
            columns = np.full(volume(weight.shape[1:]), float(code.scale))
            return weight.reshape(len(weight), -1) * columns, columns, np.zeros(len(columns))
        if isinstance(op, ops.Conv1d):
            inputs, taps = weight.shape[1:]
            scale = np.broadcast_to(np.asarray(code.scale, np.float64), (inputs,)) if op.groups == 1 else None
            if scale is None:
                scale = np.full(inputs, float(code.scale))
            columns = np.repeat(scale, taps)
            return weight.reshape(len(weight), -1) * columns, columns, np.zeros(inputs * taps)
        width = weight.shape[1]
        scale = np.broadcast_to(np.asarray(code.scale, np.float64), (width,))
        offset = np.broadcast_to(np.asarray(code.offset, np.float64), (width,))
        return weight * scale, scale, offset

    def _moments(self, name: str, parts: list[tuple[Array, Array, int]]) -> Array | None:
        """E[u uᵀ] of the integers that a product takes, with their rounding noise and a 1 behind them."""
        layer = self.seen.layers.get(name)
        if layer is None or not self.options.rounding.compensated or not layer.frames:
            return None
        scale = np.concatenate([*(part[0] for part in parts), [1.0]])
        offset = np.concatenate([*(part[1] for part in parts), [0.0]])
        change = np.diag(1 / scale)
        change[:-1, -1] = -(offset / scale)[:-1]
        moments = shrunk(change @ layer.moments @ change.T, layer.frames)
        inner = np.arange(len(scale) - 1)
        moments[inner, inner] += 1 / 12
        return moments

    def _shift(self, op: Op, reals: list[Array]) -> int:
        """The shift of a layer: 26, less where a multiplier would not fit."""
        largest = max(float(np.abs(real).max(initial=0)) for real in reals)
        shift = min(26, 30 - math.frexp(largest)[1] if largest > 0 else 26)
        if shift < 1:
            raise QuantizeError("its scales are too far apart for integers", place=op.name, hint="--exclude it")
        return shift

    def _bias(self, op: Op, field: str, bias: Array, units: Array) -> str:
        """A bias in units of its rows' sums."""
        whole = bias / units
        if np.abs(whole).max(initial=0) > 2.0**30:
            raise QuantizeError("its bias is too large for its weights", place=op.name, hint="--exclude it")
        self.units[f"{op.name}.{field}"] = units
        return self.parameter(f"{op.name}.{field}", np.rint(whole).astype(np.int32))

    def _stored(self, name: str, rows: Rows, shape: tuple[int, ...], columns: Any) -> str:
        """A weight as int8, or as an `Int4` that gives it; `columns` is the scale of each column's input."""
        self.units[name] = np.broadcast_to(rows.unit[:, None] / columns, rows.weight.shape).reshape(shape)
        if rows.steps is None:
            return self.parameter(name, rows.weight.reshape(shape))
        group = self.options.rounding.group
        wide = np.repeat(rows.steps, group, axis=1)[:, : rows.weight.shape[1]]
        codes = (rows.weight // wide + 8).astype(np.uint8)
        if codes.shape[1] % 2:
            codes = np.concatenate([codes, np.full((len(codes), 1), 8, np.uint8)], axis=1)
        packed = self.parameter(f"{name}.packed", codes[:, 0::2] | codes[:, 1::2] << 4)
        step = self.parameter(f"{name}.step", rows.steps)
        made = ops.Int4(name=name, outputs=(name,), packed=packed, step=step, shape=tuple(shape), group=group)
        self.ops.append(made)
        self.values[name] = Value(name, "int8", tuple(shape))
        return name

    # recurrent layers

    def _state(self, name: str, dtype: str, scale: float, limit: int) -> None:
        old = self.states[name]
        whole = np.clip(np.rint(old.initial().astype(np.float64) / scale), -limit, limit).astype(dtype)
        self.states[name] = StateSpec(
            input=old.input, output=old.output, shape=old.shape, dtype=dtype, init=StateSpec.encode(whole)
        )
        self.values[name] = Value(name, dtype, old.shape)
        self.floats.discard(name)

    def _h_shift(self, y: str, dtype: str, exponent: int) -> int:
        """The power of two that loses least of h."""
        samples = self.seen.values[y].samples.reshape(-1) / 2.0**exponent
        limit = LIMITS[dtype]

        def loss(shift: int) -> float:
            step = 2.0**-shift
            return float(np.mean((np.clip(np.rint(samples / step), -limit, limit) * step - samples) ** 2))

        return min(range(7, 15) if dtype == "int8" else range(13, 15), key=loss)

    def _cell(self, op: Any, exponent: int, units: float, gates: Array | None = None) -> dict[str, Any]:
        """Fields that all recurrent layers share: both halves of weights, biases and multipliers."""
        dtype, parameters = self.bits(op), self.program.parameters
        code = self.as_factor(op.x, dtype, centred=True)
        h_shift = self._h_shift(op.outputs[0], dtype, exponent)
        h_scale = 2.0 ** (exponent - h_shift)
        w_x, w_h = (parameters[name].astype(np.float64) for name in (op.weight_ih, op.weight_hh))
        x_scale, x_offset = (
            np.broadcast_to(np.asarray(item, np.float64), (w_x.shape[1],)) for item in (code.scale, code.offset)
        )
        b_x, b_h = (
            parameters[name].astype(np.float64) if name else np.zeros(len(w_x)) for name in (op.bias_ih, op.bias_hh)
        )
        b_x = b_x + w_x @ x_offset
        size = w_h.shape[1]
        own = np.zeros(len(w_x), bool)  # rows whose h half keeps its bias
        if gates is not None:
            own[2 * size :] = True
        b_x = b_x + np.where(own, 0.0, b_h)
        h_scales = np.full(size, h_scale)
        moments = self._moments(op.name, [(x_scale, x_offset, w_x.shape[1]), (h_scales, np.zeros(size), size)])
        floors = np.abs(b_x) * 2.0**-24
        (given, kept), shift = round_rows(
            [w_x * x_scale, w_h * h_scales], floors, self.options.rounding, moments, gates
        )
        kept_unit = np.maximum(kept.unit, np.where(own, np.abs(b_h) * 2.0**-24, 0.0))
        if not np.array_equal(kept_unit, kept.unit):
            raise QuantizeError("its hidden weights are zero but their bias is not", place=op.name, hint="--exclude it")
        bits = self._shift(op, [given.unit / units, kept.unit / units])
        wide = 2.0**bits / units
        y_dtype = self.dtype_out(op.outputs[0])
        fields = {
            "weight_ih": self._stored(f"{op.name}.weight_ih", given, w_x.shape, x_scale),
            "weight_hh": self._stored(f"{op.name}.weight_hh", kept, w_h.shape, h_scale),
            "multiplier_ih": self.parameter(f"{op.name}.multiplier_ih", np.rint(given.unit * wide).astype(np.int32)),
            "multiplier_hh": self.parameter(f"{op.name}.multiplier_hh", np.rint(kept.unit * wide).astype(np.int32)),
            "active": op.active,
            "reverse": op.reverse,
            "shift": bits,
            "h_dtype": dtype,
            "h_shift": h_shift,
            "y_dtype": y_dtype,
            "y_shift": h_shift if y_dtype == dtype else self._h_shift(op.outputs[0], y_dtype, exponent),
            "x": code.name,
            "h": op.h,
            "name": op.name,
            "outputs": (f"{op.outputs[0]}.q", *op.outputs[1:]),
        }
        if gates is not None:
            fields["bias_ih"] = self._bias(op, "bias_ih", b_x + shift, given.unit)
            fields["bias_hh"] = self._bias(op, "bias_hh", b_h[2 * size :], kept.unit[2 * size :])
        else:
            fields["bias"] = self._bias(op, "bias", b_x + shift, given.unit)
        return fields

    def _leave_cell(self, op: Any, fields: Mapping[str, Any], exponent: int) -> None:
        scale = 2.0 ** (exponent - fields["y_shift"])
        self.leave(op.outputs[0], Coded(fields["outputs"][0], fields["y_dtype"], scale))

    def _carry(self, op: Any, *kinds: tuple[str, float, int]) -> None:
        """Element type, unit and limit of each state, before and behind a layer; one over positions has none."""
        if op.h:
            for field, new, (dtype, unit, limit) in zip(op.STATES, op.outputs[1:], kinds, strict=True):
                self._state(getattr(op, field), dtype, unit, limit)
                self.leave(new, Coded(new, dtype, unit))

    def _gru(self, op: ops.GRU) -> None:
        size = self.program.parameters[op.weight_hh].shape[1]
        layer, gates = self.seen.layers.get(op.name), np.ones(3 * size)
        if layer is not None and layer.reset is not None:
            gates[2 * size :] = layer.reset / max(1, layer.frames)
        self._carry(op, ("int32", 2.0**-30, 2**30 - 1))
        fields = self._cell(op, 0, GATE, gates)
        self.emit(ops.QGRU(**fields), op.outputs[0])
        self._leave_cell(op, fields, 0)

    def _lstm(self, op: ops.LSTM) -> None:
        layer = self.seen.layers.get(op.name)
        largest = 2 * (layer.cell if layer is not None else 4.0)
        cell_exponent = max(0, math.ceil(math.log2(max(largest, 1e-3))))
        exponent = self._range_exponent(op.outputs[0]) if op.weight_hr else 0
        self._carry(op, ("int16", 2.0 ** (exponent - 15), WORD), ("int32", 2.0 ** (cell_exponent - 30), 2**30 - 1))
        fields = self._cell(op, exponent, GATE)
        if op.weight_hr:
            weight = self.program.parameters[op.weight_hr].astype(np.float64) * 2.0**-7
            moments = None
            if layer is not None and layer.projected is not None and self.options.rounding.compensated:
                change = np.append(np.full(weight.shape[1], 2.0**7), 1.0)
                moments = shrunk(layer.projected / layer.frames * np.outer(change, change), layer.frames)
                inner = np.arange(weight.shape[1])
                moments[inner, inner] += 1 / 12
            (rows,), _ = round_rows([weight], np.zeros(len(weight)), self.options.rounding, moments)
            real = rows.unit * 2.0 ** (15 - exponent)
            if np.abs(real).max() * 2.0 ** fields["shift"] > _LARGEST:
                raise QuantizeError("its projection's scales do not fit", place=op.name, hint="--exclude it")
            fields["weight_hr"] = self._stored(f"{op.name}.weight_hr", rows, weight.shape, 2.0**-7)
            fields["multiplier_hr"] = self.parameter(
                f"{op.name}.multiplier_hr", np.rint(real * 2.0 ** fields["shift"]).astype(np.int32)
            )
        self.emit(ops.QLSTM(**fields, c=op.c, cell_exponent=cell_exponent, h_exponent=exponent), op.outputs[0])
        self._leave_cell(op, fields, exponent)

    def _range_exponent(self, name: str) -> int:
        """A power of two with room above what calibration saw."""
        return max(-8, math.ceil(math.log2(max(1.5 * self.seen.values[name].largest(), 1e-3))))

    def _rnn(self, op: ops.RNN) -> None:
        exponent = self._range_exponent(op.outputs[0]) if op.kind == "relu" else 0
        self._carry(op, ("int16", 2.0 ** (exponent - 15), WORD))
        fields = self._cell(op, exponent, GATE if op.kind == "tanh" else 2.0 ** (exponent - 15))
        self.emit(ops.QRNN(**fields, kind=op.kind, h_exponent=exponent), op.outputs[0])
        self._leave_cell(op, fields, exponent)

    # the rest

    def _embedding(self, op: ops.Embedding) -> None:
        table = self.program.parameters[op.weight].astype(np.float64)
        scale = float(np.float32(max(np.abs(table).max(), 1e-12) / 127))
        weight = self.parameter(f"{op.name}.weight", np.rint(table / scale).astype(np.int8))
        self.units[weight] = np.broadcast_to(scale, table.shape)
        made = f"{op.outputs[0]}.q"
        self.emit(ops.Embedding(name=op.name, outputs=(made,), ids=op.ids, weight=weight), op.outputs[0])
        self.leave(op.outputs[0], Coded(made, "int8", scale))

    def _cumsum(self, op: ops.CumSum) -> None:
        code = self.as_integer(op.x, "int16")
        self._state(op.total, "int64", float(code.scale), 2**62)
        outputs = (f"{op.outputs[0]}.q", op.outputs[1])
        self.emit(
            ops.CumSum(name=op.name, outputs=outputs, x=code.name, total=op.total, active=op.active), op.outputs[0]
        )
        self.leave(op.outputs[0], Coded(outputs[0], "int64", code.scale))
        self.leave(op.outputs[1], Coded(op.outputs[1], "int64", code.scale))

    def _running_mean(self, op: ops.RunningMean) -> None:
        """The sum of all frames in integers, which never drifts, over their number."""
        code = self.as_integer(op.x, "int16")
        self._state(op.mean, "int64", float(code.scale), 2**62)
        (result, state), total = op.outputs, f"{op.outputs[0]}.total"
        fields = {"x": code.name, "total": op.mean, "active": op.active}
        self.emit(ops.CumSum(name=f"{op.name}.sum", outputs=(f"{total}.q", state), **fields), result)
        scale = float(np.float32(code.scale))
        self.emit(ops.Dequantize(name=total, outputs=(total,), q=f"{total}.q", scale=scale), result)
        count = self.as_float(op.count)
        self.emit(ops.Binary(name=op.name, outputs=(result,), a=total, b=count, kind="div"), result)
        self.floats.add(result)

    def _cummax(self, op: ops.CumMax) -> None:
        code, made = self.coded[op.x], f"{op.outputs[0]}.q"
        self._state(op.largest, code.dtype, float(code.scale), np.iinfo(code.dtype).max)
        self.emit(replace(op, x=code.name, outputs=(made, op.outputs[1])), op.outputs[0])
        self.leave(op.outputs[0], replace(code, name=made))
        self.leave(op.outputs[1], replace(code, name=op.outputs[1]))

    def _history(self, op: ops.History) -> None:
        dtype = "int16" if self.wanted(op.outputs[0]) == "int16" else "int8"
        code = self.as_factor(op.x, dtype, centred=False)
        self._state(op.past, dtype, code.scale, LIMITS[dtype])
        outputs = (f"{op.outputs[0]}.q", op.outputs[1])
        self.emit(ops.History(name=op.name, outputs=outputs, x=code.name, past=op.past), op.outputs[0])
        self.leave(op.outputs[0], replace(code, name=outputs[0]))
        self.leave(op.outputs[1], replace(code, name=op.outputs[1]))

    def _limit(self, op: ops.Unary | ops.Clip, low: float, high: float) -> None:
        code, result = self.coded[op.x], op.outputs[0]
        fused = self._joined(op)
        if fused:
            self.fused.add(op.x)
            self.leave(result, code)
            return
        dtype = self.dtype_out(result)
        scale = self.scale_of(result, dtype)
        limit = LIMITS[dtype]
        multiplier, shift = fixed_multiplier(code.scale / scale)
        made = f"{result}.q"
        self.emit(
            ops.Rescale(
                name=op.name,
                outputs=(made,),
                q=code.name,
                multiplier=multiplier,
                shift=shift,
                low=round(max(-limit, low / scale)),
                high=round(min(limit, high / scale)),
                dtype=dtype,
            ),
            result,
        )
        self.leave(result, Coded(made, dtype, scale))

    def _joined(self, op: Op) -> bool:
        """Whether the product before a relu already limits to it."""
        if not isinstance(op, ops.Unary):
            return False
        maker = next((item for item in self.program.ops if op.x in item.outputs), None)
        return isinstance(maker, (ops.Linear, *CONVOLUTIONS)) and self._follower(maker) is op

    def _activation(self, op: ops.Unary) -> None:
        code, made = self.coded[op.x], f"{op.outputs[0]}.q"
        if not (code.dtype == "int16" and code.scale == GATE):
            name = f"{op.x}.gate"
            multiplier, shift = fixed_multiplier(code.scale / GATE)
            self.emit(
                ops.Rescale(
                    name=name,
                    outputs=(name,),
                    q=code.name,
                    multiplier=multiplier,
                    shift=shift,
                    low=-WORD - 1,
                    high=WORD,
                    dtype="int16",
                ),
                op.x,
            )
            code = Coded(name, "int16", GATE)
        self.emit(ops.QUnary(name=op.name, outputs=(made,), x=code.name, kind=op.kind), op.outputs[0])
        self.leave(op.outputs[0], Coded(made, "int16", 2.0**-15))

    def _operand(self, name: str, dtype: str) -> Coded:
        """An operand of element-wise arithmetic: as it was left, else quantized."""
        code = self.coded.get(name)
        return code if code is not None and code.plain else self.as_integer(name, dtype)

    def _binary(self, op: ops.Binary) -> None:
        result = op.outputs[0]
        dtype = self.dtype_out(result)
        scale, limit, made = self.scale_of(result, dtype), LIMITS[dtype], f"{result}.q"
        a, b = self._operand(op.a, dtype), self._operand(op.b, dtype)
        common: dict[str, Any] = {
            "name": op.name,
            "outputs": (made,),
            "a": a.name,
            "b": b.name,
            "low": -limit,
            "high": limit,
            "dtype": dtype,
        }
        if op.kind == "mul":
            multiplier, shift = fixed_multiplier(a.scale * b.scale / scale)
            self.emit(ops.QMul(**common, multiplier=multiplier, shift=shift), result)
        else:
            first, second = a.scale / scale, (-1 if op.kind == "sub" else 1) * b.scale / scale
            _, shift = fixed_multiplier(max(abs(first), abs(second)))
            whole = [round(real * 2.0**shift) for real in (first, second)]
            self.emit(ops.QAdd(**common, multiplier_a=whole[0], multiplier_b=whole[1], shift=shift), result)
        self.leave(result, Coded(made, dtype, scale))

    def _pool(self, op: ops.Pool) -> None:
        """A maximum keeps the scale; a mean is a sum of finer steps."""
        code, made = self.coded[op.window], f"{op.outputs[0]}.q"
        kind, share = (op.kind, 1) if op.kind == "max" else ("sum", op.size if op.kind == "mean" else 1)
        self.emit(replace(op, window=code.name, outputs=(made,), kind=kind), op.outputs[0])
        dtype = self.values[made].dtype
        self.leave(op.outputs[0], replace(code, name=made, dtype=dtype, scale=code.scale / share))

    def _move(self, op: Op) -> None:
        result, made = op.outputs[0], f"{op.outputs[0]}.q"
        if isinstance(op, ops.Concat):
            dtype = self.dtype_out(result)
            scale = self.scale_of(result, dtype)
            parts = []
            for name in op.parts:
                code = self._operand(name, dtype)
                parts.append(
                    code if (code.dtype, code.scale) == (dtype, scale) else self._rescaled(name, code, scale, dtype)
                )
            self.emit(replace(op, outputs=(made,), parts=tuple(part.name for part in parts)), result)
            self.leave(result, Coded(made, dtype, scale))
            return
        assert isinstance(op, MOVES)
        assert not isinstance(op, ops.Concat)
        code = self.coded[op.x]
        fields: dict[str, Any] = {"x": code.name, "outputs": (made,)}
        if isinstance(op, ops.Gather):
            self.parameters[op.index] = self.program.parameters[op.index]
        if isinstance(op, (ops.Mask, ops.PadFeatures)):
            field = "fill" if isinstance(op, ops.Mask) else "value"
            fields[field] = 0.0 if getattr(op, field) == 0 else float(-np.iinfo(code.dtype).max)
        self.emit(replace(op, **fields), result)
        self.leave(result, replace(code, name=made))
