"""Bodies of the integer operations: their near form for any ONNX runtime, in QDQ and Gemm.

Sums are the exact integers; they are scaled, and the gates are taken, in float. Weights, multipliers and biases are
the exact ones, so that reading a file back gives all of them. Measured on onnxruntime, and the reasons for what looks
odd:

- A Gemm takes uint8 beside uint8, both around 128. With int8 weights it adds pairs of products in 16 bits on x86
  without VNNI, which saturate (an LSTM fell to 25 dB).
- Input and weight have the scale 1 and the scale of the rows follows: a scale a row costs a fifth of the Gemm's time.
- A weight's `DequantizeLinear` has its zero-point spelled out: the Gemm stays in float without it.
"""

from __future__ import annotations

from typing import Any

from edgernn import ops
from edgernn.export.to_onnx.body import Body, body_of
from edgernn.export.to_onnx.recurrent import frames_of, in_order, positions
from edgernn.export.to_onnx.time import conv2d_sizes, patches
from edgernn.program import volume

_LIMITS = {"int8": 127, "int16": 16319}
_FULL = (("int8", -127, 127), ("int16", -32767, 32767))  # what the type itself limits, but for one more below


def _dequantized(body: Body, x: str, scale: float, dtype: str, zero: int = 0) -> str:
    """Integers as float32 times `scale`."""
    if dtype == "int64":
        return body.node("Mul", body.cast(x, "float32"), body.constant(scale, "float32"))
    return body.node("DequantizeLinear", x, body.constant(scale, "float32"), body.constant(zero, dtype))


class _Matrix:
    """An int8 weight `[rows, columns]`, its bias and the scale of its rows, for inputs of `dtype`.

    int8 inputs have the scale 1, and so have weight and bias: onnxruntime's integer Gemm then gives their exact sums,
    in four fifths of the time that it takes with a scale a row. int16 ones take a float Gemm.
    """

    def __init__(self, body: Body, dtype: str, weight: str, scale: str, bias: str = "") -> None:
        self.body, self.dtype, self.scale = body, dtype, scale
        if dtype == "int8":
            unsigned = body.node("Add", body.cast(weight, "int32"), body.constant(128, "int32"))
            self.weight = _dequantized(body, body.cast(unsigned, "uint8"), 1.0, "uint8", 128)
            self.bias = [_dequantized(body, bias, 1.0, "int32")] if bias else []
        else:
            self.weight = body.cast(weight, "float32")
            self.bias = [body.cast(bias, "float32")] if bias else []

    def of(self, x: str, columns: int) -> str:
        """`[-1, rows]` of integers x `[…, columns]`.

        The reshape stands behind their `DequantizeLinear`: there onnxruntime joins it with the next `QuantizeLinear`.
        """
        return self.of_real(self.body.reshape(_dequantized(self.body, x, 1.0, self.dtype), (-1, columns)), 1.0)

    def of_real(self, x: str, step: float) -> str:
        """`[-1, rows]` of x `[-1, columns]` in float32, whole multiples of `step` once rounded."""
        dtype, zero = ("uint8", 128) if self.dtype == "int8" else (self.dtype, 0)
        if self.dtype == "int8" or step != 1:
            x = self.body.node(
                "QuantizeLinear", x, self.body.constant(step, "float32"), self.body.constant(zero, dtype)
            )
            x = _dequantized(self.body, x, 1.0, dtype, zero)
        return self.body.node("Mul", self.body.node("Gemm", x, self.weight, *self.bias, transB=1), self.scale)


def _whole(body: Body, x: str, scale: float, low: float, high: float, dtype: str) -> str:
    """float32 as integers in [low, high], in steps of `scale`."""
    if (dtype, low, high) not in _FULL:
        x = body.node("Clip", x, body.constant(low * scale, "float32"), body.constant(high * scale, "float32"))
    return body.node("QuantizeLinear", x, body.constant(scale, "float32"), body.constant(0, dtype))


def _row_scale(body: Body, multiplier: str, shift: int, unit: float = 1.0) -> str:
    """Multipliers as float32 times `unit`; a runtime folds them when it loads the file."""
    if body.type(multiplier).dtype == "float32":
        return multiplier
    return body.node("Mul", body.cast(multiplier, "float32"), body.constant(unit * 2.0**-shift, "float32"))


@body_of(ops.Quantize)
def quantize(body: Body, op: ops.Quantize) -> list[str]:
    """Scale, clip, round; what becomes of NaN is the runtime's choice here."""
    x = body.node("Sub", "x", "offset") if op.offset else "x"
    limit = _LIMITS[op.dtype]
    return [_whole(body, body.node("Mul", x, "inverse"), 1.0, -limit, limit, op.dtype)]


@body_of(ops.Dequantize)
def dequantize(body: Body, op: ops.Dequantize) -> list[str]:
    """Scale."""
    return [_dequantized(body, "q", op.scale, body.type("q").dtype)]


@body_of(ops.Rescale)
def rescale(body: Body, op: ops.Rescale) -> list[str]:
    """Scale and round."""
    real = _dequantized(body, "q", op.multiplier * 2.0**-op.shift, body.type("q").dtype)
    return [_whole(body, real, 1.0, op.low, op.high, op.dtype)]


@body_of(ops.Int4)
def int4(body: Body, op: ops.Int4) -> list[str]:
    """Unpack, repeat the steps, multiply: all of parameters, so a runtime folds it when it loads the file."""
    packed, groups = body.type("packed").shape, body.type("step").shape[1]
    rows, columns = op.shape[0], volume(op.shape[1:])
    wide = body.cast("packed", "int32")
    high = body.node("Div", wide, body.constant(16, "int32"))
    low = body.node("Sub", wide, body.node("Mul", high, body.constant(16, "int32")))
    pairs = body.node("Concat", body.unsqueeze(low, 2), body.unsqueeze(high, 2), axis=2)
    codes = body.node("Sub", body.reshape(pairs, (rows, 2 * packed[1])), body.constant(8, "int32"))
    steps = body.node("Expand", body.unsqueeze(body.cast("step", "int32"), 2), body.constant([rows, groups, op.group]))
    steps = body.slice(body.reshape(steps, (rows, groups * op.group)), 1, 0, columns)
    whole = body.node("Mul", body.slice(codes, 1, 0, columns), steps)
    return [body.cast(body.reshape(whole, op.shape), "int8")]


@body_of(ops.QLinear)
def qlinear(body: Body, op: ops.QLinear) -> list[str]:
    """One Gemm in units of the result."""
    x, weight = body.type("x"), body.type("weight").shape
    scale = _row_scale(body, "multiplier", op.shift)
    matrix = _Matrix(body, x.dtype, "weight", scale, "bias")
    y = matrix.of("x", weight[1])
    if op.dtype != "float32":
        y = _whole(body, y, 1.0, op.low, op.high, op.dtype)
    return [body.reshape(y, (*x.shape[:-1], weight[0]))]


@body_of(ops.QConv1d)
def qconv1d(body: Body, op: ops.QConv1d) -> list[str]:
    """A Gemm for one output frame without groups, else a float Conv."""
    window, weight = body.type("window"), body.type("weight").shape
    out, inputs, taps = weight
    scale = _row_scale(body, "multiplier", op.shift)
    span = (taps - 1) * op.dilation + 1
    used = (op.count - 1) * op.stride + span
    frames = "window"
    if op.count == 1 and op.groups == 1 and window.shape[1] == 1:
        if window.shape[0] != taps:
            frames = body.slice(frames, 0, op.first, op.first + span, op.dilation)
        flat = body.reshape(body.node("Transpose", "weight", perm=[0, 2, 1]), (out, taps * inputs))
        matrix = _Matrix(body, window.dtype, flat, scale, "bias")
        y = matrix.of(frames, taps * inputs)
    else:
        if window.shape[0] != used:
            frames = body.slice(frames, 0, op.first, op.first + used)
        channels = body.node("Transpose", body.cast(frames, "float32"), perm=[1, 2, 0])
        sizes = {"strides": [op.stride], "dilations": [op.dilation], "kernel_shape": [taps]}
        weights = body.cast("weight", "float32"), body.cast("bias", "float32")
        y = body.node("Conv", channels, *weights, group=op.groups, **sizes)
        y = body.node("Mul", body.node("Transpose", y, perm=[2, 0, 1]), scale)
    if op.dtype != "float32":
        y = _whole(body, y, 1.0, op.low, op.high, op.dtype)
    return [body.reshape(y, (op.count, window.shape[1], out))]


@body_of(ops.QConv2d)
def qconv2d(body: Body, op: ops.QConv2d) -> list[str]:
    """A float Conv of the integers."""
    window, weight, bias = (body.cast(name, "float32") for name in ("window", "weight", "bias"))
    sums = body.node("Conv", patches(body, op, window), weight, bias, **conv2d_sizes(body, op))
    scale = body.reshape(_row_scale(body, "multiplier", op.shift), (body.type("weight").shape[0], 1, 1))
    y = body.node("Mul", sums, scale)
    if op.dtype != "float32":
        y = _whole(body, y, 1.0, op.low, op.high, op.dtype)
    return [body.node("Transpose", y, perm=[2, 0, 1, 3]) if op.over_time else y]


@body_of(ops.QUnary)
def qunary(body: Body, op: ops.QUnary) -> list[str]:
    """The function in float."""
    y = body.node(op.kind.capitalize(), _dequantized(body, "x", 2.0**-12, "int16"))
    return [_whole(body, y, 2.0**-15, -32767, 32767, "int16")]


@body_of(ops.QAdd)
def qadd(body: Body, op: ops.QAdd) -> list[str]:
    """Both scaled."""
    a = _dequantized(body, "a", op.multiplier_a * 2.0**-op.shift, body.type("a").dtype)
    b = _dequantized(body, "b", op.multiplier_b * 2.0**-op.shift, body.type("b").dtype)
    return [_whole(body, body.node("Add", a, b), 1.0, op.low, op.high, op.dtype)]


@body_of(ops.QMul)
def qmul(body: Body, op: ops.QMul) -> list[str]:
    """The product scaled."""
    a = _dequantized(body, "a", op.multiplier * 2.0**-op.shift, body.type("a").dtype)
    b = _dequantized(body, "b", 1.0, body.type("b").dtype)
    return [_whole(body, body.node("Mul", a, b), 1.0, op.low, op.high, op.dtype)]


class _Cell:
    """What the bodies of the recurrent layers share: both products, frame by frame."""

    def __init__(self, body: Body, op: ops.QGRU | ops.QLSTM | ops.QRNN, unit: float, biases: tuple[str, str]) -> None:
        self.body, self.op = body, op
        self.x = body.type("x")
        x_matrix, self.h_matrix = (
            _Matrix(body, dtype, f"weight_{half}", _row_scale(body, f"multiplier_{half}", op.shift, unit), bias)
            for half, dtype, bias in zip(("ih", "hh"), (self.x.dtype, op.h_dtype), biases, strict=True)
        )
        self.given = x_matrix.of("x", self.x.shape[-1])
        self.rows: list[str] = []

    def here(self, frame: int) -> str:
        """x's half of a frame's sums."""
        batch = self.x.shape[1]
        if self.x.shape[0] == 1:
            return self.given
        return self.body.slice(self.given, 0, frame * batch, (frame + 1) * batch)

    def kept(self, h: str) -> str:
        """h's half."""
        return self.h_matrix.of_real(h, 2.0**-self.op.h_shift)

    def leave(self, h: str) -> None:
        """Keep a frame of y."""
        self.rows.append(self.body.unsqueeze(_narrow(self.body, h, self.op), 0))

    def y(self) -> str:
        """All frames."""
        return self.rows[0] if len(self.rows) == 1 else self.body.node("Concat", *self.rows, axis=0)


def _by_position(
    body: Body,
    op: ops.QGRU | ops.QLSTM | ops.QRNN,
    unit: float,
    biases: tuple[str, str],
    order: tuple[int, ...],
    **how: Any,
) -> list[str]:
    """A layer over the positions of each frame: ONNX's own, with float forms of the integers' weights."""
    kind, h_units = type(op).__name__.removeprefix("Q"), 2.0**op.h_shift
    given, kept = (_row_scale(body, f"multiplier_{half}", op.shift, unit) for half in ("ih", "hh"))
    parts = []
    for weight, bias, scale, units in (("weight_ih", biases[0], given, 1.0), ("weight_hh", biases[1], kept, h_units)):
        columns = body.node("Mul", body.unsqueeze(scale, 1), body.constant(units, "float32"))
        parts += [body.node("Mul", body.cast(weight, "float32"), columns)]
        parts += [body.node("Mul", body.cast(bias, "float32"), scale)]
    if len(order) > 1:
        parts = [in_order(body, part, order) for part in parts]
    w, b, r, b_hh = parts
    inputs = [body.unsqueeze(part, 0) for part in (w, r, body.node("Concat", b, b_hh, axis=0))]
    x = positions(body, body.cast("x", "float32"))
    direction = "reverse" if op.reverse else "forward"
    size = body.type("weight_hh").shape[1]
    y = body.node(kind, x, *inputs, hidden_size=size, direction=direction, **how)
    return [_narrow(body, frames_of(body, body.squeeze(y, 1)), op)]


def _narrow(body: Body, h: str, op: ops.QGRU | ops.QLSTM | ops.QRNN) -> str:
    """A layer's y: the type itself limits."""
    return body.node("QuantizeLinear", h, body.constant(2.0**-op.y_shift, "float32"), body.constant(0, op.y_dtype))


def _no_bias(body: Body, rows: int) -> str:
    return body.constant([0] * rows, "int32")


@body_of(ops.QGRU)
def qgru(body: Body, op: ops.QGRU) -> list[str]:
    """Two Gemms; gates and state in float."""
    size, unit = body.type("weight_hh").shape[1], 2.0**-12
    b_hh = body.node("Concat", _no_bias(body, 2 * size), "bias_hh", axis=0)
    if not op.h:
        return _by_position(body, op, unit, ("bias_ih", b_hh), (1, 0, 2), linear_before_reset=1)
    cell = _Cell(body, op, unit, ("bias_ih", b_hh))
    h = _dequantized(body, "h", 2.0**-30, "int32")
    for frame in range(body.type("x").shape[0]):
        rz, n_given = _split(body, cell.here(frame), 2 * size, size)
        rz_kept, n_kept = _split(body, cell.kept(h), 2 * size, size)
        r, z = _split(body, body.node("Sigmoid", body.node("Add", rz, rz_kept)), size, size)
        n = body.node("Tanh", body.node("Add", n_given, body.node("Mul", r, n_kept)))
        h = body.node("Add", n, body.node("Mul", z, body.node("Sub", h, n)))
        cell.leave(h)
    state = body.cast(body.node("Mul", h, body.constant(2.0**30, "float32")), "int32")
    return [cell.y(), body.held(state, "h")]


@body_of(ops.QLSTM)
def qlstm(body: Body, op: ops.QLSTM) -> list[str]:
    """Two Gemms, three with a projection; gates and state in float."""
    unit = 2.0**-12
    if not op.h:
        no_bias = _no_bias(body, body.type("weight_hh").shape[0])
        return _by_position(body, op, unit, ("bias", no_bias), (0, 3, 1, 2))
    cell = _Cell(body, op, unit, ("bias", ""))
    h = _dequantized(body, "h", 2.0**-15, "int16")
    c = _dequantized(body, "c", 2.0 ** (op.cell_exponent - 30), "int32")
    limit = 2.0**op.cell_exponent * (1 - 2.0**-24)
    if op.weight_hr:
        scale = _row_scale(body, "multiplier_hr", op.shift, 2.0**-15)
        projection = _Matrix(body, "int8", "weight_hr", scale)
    for frame in range(body.type("x").shape[0]):
        total = body.node("Add", cell.here(frame), cell.kept(h))
        i, f, g, o = body.nodes_of("Split", 4, total, axis=1, num_outputs=4)
        kept = body.node("Mul", body.node("Sigmoid", f), c)
        c = body.node("Add", kept, body.node("Mul", body.node("Sigmoid", i), body.node("Tanh", g)))
        c = body.node("Clip", c, body.constant(-limit, "float32"), body.constant(limit, "float32"))
        h = body.node("Mul", body.node("Sigmoid", o), body.node("Tanh", c))
        if op.weight_hr:
            h = projection.of_real(h, 2.0**-7)
            h = body.node("Clip", h, body.constant(-1.0, "float32"), body.constant(1.0, "float32"))
        cell.leave(h)
    new = _whole(body, h, 2.0**-15, -32767, 32767, "int16")
    units = body.constant(2.0 ** (30 - op.cell_exponent), "float32")
    return [cell.y(), body.held(new, "h"), body.held(body.cast(body.node("Mul", c, units), "int32"), "c")]


@body_of(ops.QRNN)
def qrnn(body: Body, op: ops.QRNN) -> list[str]:
    """Two Gemms; the activation and the state in float."""
    unit = 2.0**-12 if op.kind == "tanh" else 2.0**-15
    if not op.h:
        no_bias = _no_bias(body, body.type("weight_hh").shape[0])
        return _by_position(body, op, unit, ("bias", no_bias), (0,), activations=[op.kind.capitalize()])
    cell = _Cell(body, op, unit, ("bias", ""))
    h = _dequantized(body, "h", 2.0**-15, "int16")
    for frame in range(body.type("x").shape[0]):
        h = body.node(op.kind.capitalize(), body.node("Add", cell.here(frame), cell.kept(h)))
        if op.kind == "relu":
            h = body.node("Min", h, body.constant(1.0, "float32"))
        cell.leave(h)
    new = _whole(body, h, 2.0**-15, -32767, 32767, "int16")
    return [cell.y(), body.held(new, "h")]


def _split(body: Body, x: str, *sizes: int) -> list[str]:
    return body.nodes_of("Split", len(sizes), x, body.constant(list(sizes)), axis=1)
