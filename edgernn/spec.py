"""The streaming contract that every model file carries under the key `edgernn.spec`.

A streaming model is a step function `(frames, state) -> (frames, state')`. A frame is one index of an input's time
axis. `hop` frames go in per step. Stream frame `j` of an output, counted from reset, is frame `j - delay` of the
whole-sequence run. An output has `group` frames for `period` input frames; a sequence of `T` input frames has
`(T + offset) // period * group + extra` of them.
"""

# without `from __future__ import annotations`: a contract is read by its fields' types

import base64
import binascii
import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from edgernn.errors import SpecError

SPEC_VERSION = 1
SPEC_KEY = "edgernn.spec"
STREAM, OFFLINE = "stream", "offline"  # modes; the others are `window:N` and `window:N/SLIDE`
MAX_DECODED = 1 << 20  # tokens or hypotheses of a loop that a contract may promise
DTYPES = ("float32", "int64", "int32", "bool", "uint8", "int8", "int16")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """One input of the step function.

    The file's tensor is `[hop, …]`; arrays at the API are `[frames, …frame]`: the same memory without the batch axis.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]  # tensor in the file; shape[0] == hop
    batch_axis: int | None  # axis of `shape`, of size 1, that arrays at the API leave out
    time_axis: int = 0
    hop: int = 1
    rate_hz: float | None = None

    @property
    def frame(self) -> tuple[int, ...]:
        """Shape of one frame at the API."""
        return _frame(self.shape, self.batch_axis)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSpec:
    """One output of the step function; `shape[0]` frames leave per step."""

    name: str
    dtype: str
    shape: tuple[int, ...]  # tensor in the file; shape[0] == frames per step
    batch_axis: int | None
    time_axis: int = 0
    period: int = 1  # input frames per `group` output frames
    offset: int = 0
    group: int = 1
    extra: int = 0  # a sequence of T input frames has (T + offset) // period * group + extra output frames
    delay: int = 0  # output frames
    receptive_field: int | None = None  # input frames that one output frame depends on; None: all since reset
    newest: bool = False  # the module returned only its newest frame; the stream has one per step
    rate_hz: float | None = None

    @property
    def frame(self) -> tuple[int, ...]:
        """Shape of one frame at the API."""
        return _frame(self.shape, self.batch_axis)

    def length(self, frames: int) -> int:
        """Frames that a whole-sequence run over `frames` input frames has at this output."""
        groups = (frames + self.offset) // self.period
        return max(0, groups * self.group + self.extra) if groups > 0 else 0

    @property
    def input_delay(self) -> int:
        """The delay in input frames, rounded up."""
        return -(-self.delay * self.period // self.group)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSpec:
    """A pair of tensors: what the step returns as `output` goes in as `input` of the next step."""

    input: str
    output: str
    shape: tuple[int, ...]
    dtype: str
    init: float | int | str  # one number for all elements, or the little-endian bytes as base64

    def initial(self) -> npt.NDArray[Any]:
        """The state after reset, `shape`."""
        if not isinstance(self.init, str):
            return np.full(self.shape, self.init, self.dtype)
        raw = base64.b64decode(self.init, validate=True)
        return np.frombuffer(raw, np.dtype(self.dtype).newbyteorder("<")).reshape(self.shape).astype(self.dtype)

    @staticmethod
    def encode(value: npt.NDArray[Any]) -> float | int | str:
        """The `init` field for an initial value: a number when all elements are equal."""
        first = value.reshape(-1)[0].item() if value.size else 0
        if value.size == 0 or bool((value == first).all()):
            return typing.cast(float | int, first)
        little = np.ascontiguousarray(value, np.dtype(value.dtype).newbyteorder("<"))
        return base64.b64encode(little.tobytes()).decode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class StartSpec:
    """A decoder's state that begins with elements of an encoder's output, not with its initial value.

    The state takes `shape` of the output's newest frame, flattened, from element `offset` on. One of an integer state
    is worth `unit`; numbers beyond `limit` of them are clipped.
    """

    state: str
    output: str
    offset: int = 0
    unit: float = 1.0
    limit: int | None = None  # None: a float state, taken as it is


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodingSpec:
    """How a decode loop runs a program whose input is the token that came out last.

    `start_token` goes in first. `stop_token` ends a sequence and is not part of it. `max_length` and `max_beam` are the
    most tokens and hypotheses that a loop may be asked for: what a device sets memory aside for.
    """

    start_token: int | None = None  # None: the caller's prompt comes first
    stop_token: int | None = None
    max_length: int = 256  # tokens
    max_beam: int = 8  # hypotheses
    token: str = "token"  # the integer input
    logits: str = "output"  # the float output, `[vocabulary]`
    memory: str | None = None  # the input, `[max frames, features]`, that holds the encoder's frames
    length: str | None = None  # the integer input: how many of these frames are true
    frames: str | None = None  # the encoder's output that is collected into the memory
    starts: tuple[StartSpec, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSpec:
    """The contract of one model file. It names no time, path, host or user: equal inputs give equal bytes."""

    name: str
    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputSpec, ...]
    states: tuple[StateSpec, ...]
    hop: int  # input frames per step
    delay: int  # largest delay of an output, in its frames
    latency: int  # input frames: the largest delay in input frames, + hop - 1
    receptive_field: int | None  # input frames; None: all since reset
    mode: str = STREAM
    train_length: int | None = None  # input frames of the sequences it was trained on, where the user told
    warmup: int | None = None  # input frames from reset until within 40 dB of a long-running stream; None: never seen
    # int64 scalar input, or None: input frames from the start of this step to the end of the sequence; LEFT_UNKNOWN
    # while the end is not known. It falls by `hop` with each step after the end was announced.
    frames_left: str | None = None
    decoding: DecodingSpec | None = None  # of language models and decoders; absent from other contracts
    spec_version: int = SPEC_VERSION
    model_version: str = "1"
    min_engine: str | None = None
    labels: tuple[str, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict)
    proof: Mapping[str, Any] = field(default_factory=dict)
    content_sha256: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The contract as one line of JSON with sorted keys."""
        data = asdict(self)
        if self.decoding is None:
            del data["decoding"]
        return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes, place: str = "") -> Self:
        """Read a contract.

        Raises `SpecError` when `text` is no JSON, misses a field, has one of the wrong type or an unknown one, or is
        of another version.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise SpecError(f"the streaming contract is not JSON ({error})", place=place) from None
        if not isinstance(data, dict):
            raise SpecError("the streaming contract is not a JSON object", place=place)
        version = data.get("spec_version")
        if version != SPEC_VERSION:
            raise SpecError(
                f"the streaming contract has version {version!r}; this edgernn reads version {SPEC_VERSION}",
                place=place,
                hint="update edgernn, or export the model again with this version",
            )
        spec = typing.cast(Self, _build(cls, data, "spec", place))
        _validate(spec, place)
        return spec

    def with_hash(self, content_sha256: str) -> Self:
        """The same contract for a file whose content has this hash."""
        return replace(self, content_sha256=content_sha256)


RATE_HINT = "a rate is a positive number of frames per second"


def is_rate(rate_hz: float) -> bool:
    """Whether frames can come at this rate."""
    return math.isfinite(rate_hz) and rate_hz > 0


LEFT_UNKNOWN = 2**40  # far beyond any delay, and far from overflow after adding offsets


def _frame(shape: tuple[int, ...], batch_axis: int | None) -> tuple[int, ...]:
    return tuple(size for axis, size in enumerate(shape) if axis not in (0, batch_axis))


def _build(cls: type[Any], data: Mapping[str, Any], where: str, place: str) -> Any:
    unknown = sorted(set(data) - {f.name for f in fields(cls)})
    if unknown:
        raise SpecError(f"the streaming contract has an unknown field `{where}.{unknown[0]}`", place=place)
    values = {}
    for f in fields(cls):
        if f.name in data:
            values[f.name] = _convert(f.type, data[f.name], f"{where}.{f.name}", place)
    try:
        return cls(**values)
    except TypeError as error:
        raise SpecError(f"the streaming contract misses a field of `{where}` ({error})", place=place) from None


def _convert(hint: Any, value: Any, where: str, place: str) -> Any:
    """`value` from JSON as the field's type `hint`, recursively."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        for option in args:
            try:
                return _convert(option, value, where, place)
            except SpecError:
                continue
    elif origin is tuple and isinstance(value, list):
        return tuple(_convert(args[0], item, where, place) for item in value)
    elif origin is Mapping and isinstance(value, dict):
        return value
    elif is_dataclass(hint) and isinstance(value, dict):
        return _build(typing.cast(type[Any], hint), value, where, place)
    elif type(value) in _JSON_TYPES.get(hint, ()):
        return value
    raise SpecError(f"`{where}` of the streaming contract is {value!r:.60}", place=place)


_JSON_TYPES: dict[Any, tuple[type, ...]] = {
    bool: (bool,),
    float: (float, int),
    int: (int,),
    str: (str,),
    type(None): (type(None),),
}


def _validate(spec: StreamSpec, place: str) -> None:
    """Raise `SpecError` unless the parts of `spec` agree with each other."""

    def require(condition: bool, text: str) -> None:
        if not condition:
            raise SpecError(f"the streaming contract is inconsistent: {text}", place=place)

    require(spec.hop >= 1, "`hop` is below 1")
    require(spec.train_length is None or spec.train_length >= 1, "`train_length` is below 1")
    require(spec.warmup is None or spec.warmup >= 0, "`warmup` is below 0")
    require(bool(spec.inputs) and bool(spec.outputs), "no inputs or no outputs")
    ports: tuple[InputSpec | OutputSpec, ...] = (*spec.inputs, *spec.outputs)
    for port in ports:
        require(port.dtype in DTYPES, f"dtype {port.dtype!r} of `{port.name}`")
        require(bool(port.shape) and all(size >= 1 for size in port.shape), f"shape of `{port.name}`")
        require(port.time_axis == 0, f"time axis of `{port.name}`")
        require(port.rate_hz is None or is_rate(port.rate_hz), f"rate of `{port.name}`")
        axis = port.batch_axis
        require(axis is None or (0 < axis < len(port.shape) and port.shape[axis] == 1), f"batch axis of `{port.name}`")
    for source in spec.inputs:
        require(source.hop == spec.hop == source.shape[0], f"hop of `{source.name}`")
    for output in spec.outputs:
        require(min(output.period, output.group) >= 1 and output.delay >= 0, f"period or delay of `{output.name}`")
        steady = output.shape[0] * output.period == spec.hop * output.group and spec.hop % output.period == 0
        require(steady, f"frames per step of `{output.name}`")
    for state in spec.states:
        require(state.dtype in DTYPES, f"dtype {state.dtype!r} of `{state.input}`")
        require(all(size >= 0 for size in state.shape), f"shape of `{state.input}`")
        require(_init_fits(state), f"initial value of `{state.input}`")
    if spec.decoding is not None:
        _validate_decoding(spec, spec.decoding, require)
    names = [port.name for port in ports]
    names += [name for state in spec.states for name in (state.input, state.output)]
    require(len(set(names)) == len(names), "a name is used twice")


def _validate_decoding(spec: StreamSpec, loop: DecodingSpec, require: Callable[[bool, str], None]) -> None:
    inputs, outputs = {port.name: port for port in spec.inputs}, {port.name: port for port in spec.outputs}
    held = [name for name in (loop.memory, loop.length) if name is not None]
    require(spec.hop == 1 and spec.delay == 0, "a decoder takes one token a step, without delay")
    require({loop.token, *held} == set(inputs) and len(held) in (0, 2), "the decoder's inputs")
    require(inputs[loop.token].dtype in ("int64", "int32") and not inputs[loop.token].frame, f"tokens `{loop.token}`")
    require(set(outputs) == {loop.logits}, "the decoder's outputs")
    logits = outputs[loop.logits]
    require(logits.dtype == "float32" and len(logits.frame) == 1 and logits.shape[0] == 1, f"logits `{loop.logits}`")
    for token in (loop.start_token, loop.stop_token):
        require(token is None or 0 <= token < logits.frame[0], f"token {token}")
    require(1 <= loop.max_length <= MAX_DECODED and 1 <= loop.max_beam <= MAX_DECODED, "`max_length` or `max_beam`")
    if loop.memory is not None and loop.length is not None:
        memory, length = inputs[loop.memory], inputs[loop.length]
        require(memory.dtype == "float32" and len(memory.frame) == 2, f"memory `{loop.memory}`")
        require(length.dtype in ("int64", "int32") and not length.frame, f"length `{loop.length}`")
        require(loop.frames is not None, "no frames for the memory")
    known = {state.input: state for state in spec.states}
    for start in loop.starts:
        require(start.state in known and start.offset >= 0, f"start of `{start.state}`")
        integer = known[start.state].dtype != "float32"
        require(integer == (start.limit is not None), f"limit of `{start.state}`")
        require(math.isfinite(start.unit) and start.unit > 0, f"unit of `{start.state}`")
        require(start.limit is None or 0 < start.limit <= np.iinfo(known[start.state].dtype).max, "a start's limit")


def _init_fits(state: StateSpec) -> bool:
    if not isinstance(state.init, str):
        return math.isfinite(state.init)
    try:
        raw = base64.b64decode(state.init, validate=True)
    except binascii.Error:
        return False
    return len(raw) == math.prod(state.shape) * np.dtype(state.dtype).itemsize
