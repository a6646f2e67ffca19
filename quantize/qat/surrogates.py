"""What gradients see: each operation in PyTorch, without its rounding.

Tensors are `[batch, steps, …]`, integers in their own units, as `run_whole` has them. Weights arrive as real-valued
codes. The results only carry gradients; their values are replaced by the exact ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from edgernn import ops
from edgernn.program import Op
from edgernn.quantize.whole import shifted

Surrogate = Callable[..., "tuple[Tensor | None, ...]"]

_SURROGATES: dict[type[Op], Surrogate] = {}
_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    name: getattr(torch, name)
    for name in ("abs", "cos", "erf", "exp", "log", "neg", "reciprocal", "relu", "sigmoid", "sin", "sqrt", "tanh")
}
_UNARY |= {"gelu": functional.gelu, "softplus": functional.softplus}
_BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "max": torch.maximum,
    "min": torch.minimum,
    "pow": torch.pow,
}


def surrogate(kind: type[Op]) -> Callable[[Surrogate], Surrogate]:
    """Register what stands in for an operation."""

    def register(function: Surrogate) -> Surrogate:
        _SURROGATES[kind] = function
        return function

    return register


def find(op: Op) -> Surrogate | None:
    """What stands in for `op`; None where gradients can't pass."""
    if isinstance(op, ops.Unary):
        return unary if op.kind in _UNARY else None
    if isinstance(op, ops.Binary):
        return binary if op.kind in _BINARY else None
    return _SURROGATES.get(type(op))


def unary(op: ops.Unary, x: Tensor) -> tuple[Tensor, ...]:
    """The function."""
    return (_UNARY[op.kind](x),)


def binary(op: ops.Binary, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
    """The function; operands of a step's own shape line up from the right, as NumPy's do."""
    return (_BINARY[op.kind](*_aligned(a, b)),)


def _aligned(*tensors: Tensor) -> list[Tensor]:
    """Values with batch and steps in front of as many axes as the longest has; parameters come without these."""
    timed = [t for t in tensors if getattr(t, "timed", True) and t.ndim >= 2]
    rank = max(t.ndim for t in timed)
    return [
        t.reshape(*t.shape[:2], *[1] * (rank - t.ndim), *t.shape[2:]) if any(t is item for item in timed) else t
        for t in tensors
    ]


@surrogate(ops.Quantize)
def quantize(op: ops.Quantize, x: Tensor, inverse: Tensor, offset: Tensor | None) -> tuple[Tensor, ...]:
    """Clamped: what is beyond the range has no gradient."""
    limit = 127 if op.dtype == "int8" else 16319
    return (((x if offset is None else x - offset) * inverse).clamp(-limit, limit),)


@surrogate(ops.Dequantize)
def dequantize(op: ops.Dequantize, q: Tensor) -> tuple[Tensor, ...]:
    """Scale."""
    return (q * op.scale,)


@surrogate(ops.Rescale)
def rescale(op: ops.Rescale, q: Tensor) -> tuple[Tensor, ...]:
    """Scale and clamp."""
    return ((q * (op.multiplier * 2.0**-op.shift)).clamp(op.low, op.high),)


def _requantized(op: ops.QLinear | ops.QConv1d | ops.QConv2d, total: Tensor, multiplier: Tensor) -> Tensor:
    if op.dtype == "float32":
        return total * multiplier
    return (total * (multiplier * 2.0**-op.shift)).clamp(op.low, op.high)


@surrogate(ops.QLinear)
def qlinear(op: ops.QLinear, x: Tensor, weight: Tensor, bias: Tensor, multiplier: Tensor) -> tuple[Tensor, ...]:
    """Product, scale, clamp."""
    return (_requantized(op, functional.linear(x, weight, bias), multiplier),)


@surrogate(ops.QConv1d)
def qconv1d(op: ops.QConv1d, window: Tensor, weight: Tensor, bias: Tensor, multiplier: Tensor) -> tuple[Tensor, ...]:
    """A convolution over each step's window."""
    return (_requantized(op, _convolved(op, window, weight, bias), multiplier),)


@surrogate(ops.Conv1d)
def conv1d(op: ops.Conv1d, window: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
    """A convolution over each step's window."""
    return (_convolved(op, window, weight, bias),)


def _convolved(op: ops.QConv1d | ops.Conv1d, window: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    span = (op.count - 1) * op.stride + (weight.shape[2] - 1) * op.dilation + 1
    flat = window.flatten(0, 1)[:, op.first : op.first + span, 0].transpose(1, 2)
    y = functional.conv1d(flat, weight, bias, op.stride, 0, op.dilation, op.groups)
    y = y.transpose(1, 2).unsqueeze(2)
    return y.reshape(*window.shape[:2], *y.shape[1:])


@surrogate(ops.QConv2d)
def qconv2d(op: ops.QConv2d, window: Tensor, weight: Tensor, bias: Tensor, multiplier: Tensor) -> tuple[Tensor, ...]:
    """A convolution over each step's window or frames."""
    rows = multiplier[:, None] if op.over_time else multiplier[:, None, None]
    return (_requantized(op, _convolved_images(op, window, weight, bias), rows),)


@surrogate(ops.Conv2d)
def conv2d(op: ops.Conv2d, window: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
    """A convolution over each step's window or frames."""
    return (_convolved_images(op, window, weight, bias),)


def _convolved_images(op: ops.QConv2d | ops.Conv2d, window: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    span = (op.count - 1) * op.stride + (weight.shape[2] - 1) * op.dilation + 1
    rows = slice(op.first, op.first + span)
    images = window[:, :, rows, 0].flatten(0, 1).transpose(1, 2) if op.over_time else window.flatten(0, 2)[:, :, rows]
    strides, dilations = (op.stride, op.width_stride), (op.dilation, op.width_dilation)
    y = functional.conv2d(images, weight, bias, strides, 0, dilations, op.groups)
    if op.over_time:
        y = y.transpose(1, 2).unsqueeze(2)  # [steps, frames, batch, out, width]
        return y.reshape(*window.shape[:2], *y.shape[1:])
    return y.reshape(*window.shape[:3], *y.shape[1:])


@surrogate(ops.Pool)
def pool(op: ops.Pool, window: Tensor) -> tuple[Tensor, ...]:
    """Of what each element is of; a maximum's gradient goes to the largest."""
    axis = op.axis + 2
    taken = window.index_select(axis, torch.from_numpy(op.index().reshape(-1)))
    taken = taken.reshape(*window.shape[:axis], op.count, op.size, *window.shape[axis + 1 :])
    functions: Any = {"max": torch.amax, "mean": torch.mean, "sum": torch.sum}
    return (functions[op.kind](taken, axis + 1),)


@surrogate(ops.QUnary)
def qunary(op: ops.QUnary, x: Tensor) -> tuple[Tensor, ...]:
    """The function."""
    return (_UNARY[op.kind](x * 2.0**-12) * 2.0**15,)


@surrogate(ops.QAdd)
def qadd(op: ops.QAdd, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
    """Both scaled."""
    a, b = _aligned(a, b)
    total = a * (op.multiplier_a * 2.0**-op.shift) + b * (op.multiplier_b * 2.0**-op.shift)
    return (total.clamp(op.low, op.high),)


@surrogate(ops.QMul)
def qmul(op: ops.QMul, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
    """The product scaled."""
    a, b = _aligned(a, b)
    return ((a * b * (op.multiplier * 2.0**-op.shift)).clamp(op.low, op.high),)


def _sequence(op: Any, x: Tensor, skipped: int) -> Tensor:
    """`[batch, steps, frames, rows, features]` as sequences `[…, T, features]` without the steps that are held.

    Of a layer over positions, `[batch, steps, frames, rows, positions, features]`, they are the positions.
    """
    if not op.h:
        line = x.flatten(0, 3)
        return line.flip(1) if op.reverse else line
    return x[:, skipped:].flatten(1, 2).transpose(1, 2).flatten(0, 1)


def _steps(op: Any, y: Tensor, like: Tensor, skipped: int) -> Tensor:
    if not op.h:
        return (y.flip(1) if op.reverse else y).reshape(*like.shape[:-1], y.shape[-1])
    batch, _, frames, rows = like.shape[:4]
    whole = y.reshape(batch, rows, -1, y.shape[-1]).transpose(1, 2)
    whole = whole.reshape(batch, -1, frames, rows, y.shape[-1])
    return functional.pad(whole, (0, 0, 0, 0, 0, 0, skipped, 0)) if skipped else whole


def _start(op: Any, state: Tensor | None, x: Tensor, size: int, unit: float) -> Tensor:
    """A layer's initial state `[1, sequences, size]`; over positions it is zero."""
    if state is None:
        return torch.zeros(1, x.flatten(0, 3).shape[0], size)
    return state[None] * unit


def _ends(op: Any, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
    """The newest states at each step; only what reads the newest frame is true."""
    if not op.h:
        return ()
    batch, steps = x.shape[:2]
    return tuple(state.reshape(batch, 1, -1, state.shape[-1]).expand(-1, steps, -1, -1) for state in states)


def _halves(op: Any, weight_ih: Tensor, weight_hh: Tensor, m_ih: Tensor, m_hh: Tensor, unit: float) -> list[Tensor]:
    """Weights for x in its own units and a real h."""
    given, kept = m_ih * (unit * 2.0**-op.shift), m_hh * (unit * 2.0**-op.shift)
    h_units = 2.0 ** (op.h_shift - getattr(op, "h_exponent", 0))
    return [weight_ih * given[:, None], weight_hh * (kept * h_units)[:, None], given, kept]


def _left(op: Any, y: Tensor) -> Tensor:
    scale: float = 2.0 ** (op.y_shift - getattr(op, "h_exponent", 0))
    return y * scale


@surrogate(ops.QGRU)
def qgru(
    op: ops.QGRU, x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor, *rest: Any
) -> tuple[Tensor | None, ...]:
    """PyTorch's layer with the integers' weights."""
    m_ih, m_hh, skipped = rest
    w_ih, w_hh, given, kept = _halves(op, w_ih, w_hh, m_ih, m_hh, 2.0**-12)
    size = w_hh.shape[1]
    bias = torch.cat([torch.zeros(2 * size), b_hh * kept[2 * size :]])
    start = _start(op, h, x, size, 2.0**-30)
    flat = [w_ih, w_hh, b_ih * given, bias]
    y, last = torch._VF.gru(_sequence(op, x, skipped), start, flat, True, 1, 0.0, False, False, True)
    return _left(op, _steps(op, y, x, skipped)), *_ends(op, x, last[0] * 2.0**30)


@surrogate(ops.QLSTM)
def qlstm(
    op: ops.QLSTM, x: Tensor, h: Tensor, c: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, *rest: Any
) -> tuple[Tensor | None, ...]:
    """PyTorch's layer with the integers' weights."""
    m_ih, m_hh, w_hr, m_hr, skipped = rest
    w_ih, w_hh, given, _ = _halves(op, w_ih, w_hh, m_ih, m_hh, 2.0**-12)
    flat = [w_ih, w_hh, bias * given, torch.zeros_like(given)]
    h_unit, c_unit = 2.0 ** (op.h_exponent - 15), 2.0 ** (op.cell_exponent - 30)
    if w_hr is not None:
        flat.append(w_hr * (m_hr * (2.0 ** (7 - op.shift) * h_unit))[:, None])
    start = _start(op, h, x, w_hh.shape[1], h_unit), _start(op, c, x, len(w_hh) // 4, c_unit)
    result = torch._VF.lstm(_sequence(op, x, skipped), start, flat, True, 1, 0.0, False, False, True)
    y, last_h, last_c = result
    return _left(op, _steps(op, y, x, skipped)), *_ends(op, x, last_h[0] / h_unit, last_c[0] / c_unit)


@surrogate(ops.QRNN)
def qrnn(
    op: ops.QRNN, x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, *rest: Any
) -> tuple[Tensor | None, ...]:
    """PyTorch's layer with the integers' weights."""
    m_ih, m_hh, skipped = rest
    h_unit = 2.0 ** (op.h_exponent - 15)
    w_ih, w_hh, given, _ = _halves(op, w_ih, w_hh, m_ih, m_hh, 2.0**-12 if op.kind == "tanh" else h_unit)
    flat = [w_ih, w_hh, bias * given, torch.zeros_like(given)]
    layer = torch._VF.rnn_tanh if op.kind == "tanh" else torch._VF.rnn_relu
    start = _start(op, h, x, w_hh.shape[1], h_unit)
    y, last = layer(_sequence(op, x, skipped), start, flat, True, 1, 0.0, False, False, True)
    return _left(op, _steps(op, y, x, skipped)), *_ends(op, x, last[0] / h_unit)


@surrogate(ops.History)
def history(op: ops.History, x: Tensor, past: Tensor) -> tuple[Tensor | None, ...]:
    """Windows over the frames of all steps."""
    kept, frames = past.shape[0], x.shape[2]
    line = torch.cat([past.expand(x.shape[0], *past.shape), x.flatten(1, 2)], dim=1)
    index = frames * torch.arange(x.shape[1])[:, None] + torch.arange(kept + frames)
    return line[:, index], None


@surrogate(ops.CumSum)
def cumsum(op: ops.CumSum, x: Tensor, total: Tensor, skipped: int) -> tuple[Tensor | None, ...]:
    """From the initial total."""
    y = x[:, skipped:].flatten(1, 2).cumsum(1) + total
    y = y.reshape(len(y), x.shape[1] - skipped, x.shape[2], *y.shape[2:])
    return functional.pad(y, (0, 0) * (y.ndim - 2) + (skipped, 0)) if skipped else y, None


@surrogate(ops.RunningMean)
def running_mean(
    op: ops.RunningMean, x: Tensor, mean: Tensor, count: Tensor, skipped: int
) -> tuple[Tensor | None, ...]:
    """The sum so far, over the number of frames."""
    y = x[:, skipped:].flatten(1, 2).cumsum(1)
    y = y.reshape(len(y), x.shape[1] - skipped, x.shape[2], *y.shape[2:]) / count[:, skipped:]
    return functional.pad(y, (0, 0) * (y.ndim - 2) + (skipped, 0)) if skipped else y, None


@surrogate(ops.CumMax)
def cummax(op: ops.CumMax, x: Tensor, largest: Tensor, skipped: int) -> tuple[Tensor | None, ...]:
    """The largest so far has the gradient."""
    y = torch.maximum(x[:, skipped:].flatten(1, 2).cummax(1).values, largest)
    y = y.reshape(len(y), x.shape[1] - skipped, x.shape[2], *y.shape[2:])
    return functional.pad(y, (0, 0) * (y.ndim - 2) + (skipped, 0)) if skipped else y, None


@surrogate(ops.Embedding)
def embedding(op: ops.Embedding, ids: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
    """Rows."""
    return (functional.embedding(ids.long(), weight),)


@surrogate(ops.Linear)
def linear(op: ops.Linear, x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
    """A layer that stayed in float."""
    return (functional.linear(x, weight, bias),)


@surrogate(ops.Softmax)
def softmax(op: ops.Softmax, x: Tensor) -> tuple[Tensor, ...]:
    """Over features."""
    axis = op.axis + 2 if op.axis >= 0 else op.axis
    return (torch.log_softmax(x, axis) if op.log else torch.softmax(x, axis),)


@surrogate(ops.LayerNorm)
def layer_norm(op: ops.LayerNorm, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, ...]:
    """Over features."""
    return (functional.layer_norm(x, x.shape[-op.axes :], weight, bias, op.eps),)


@surrogate(ops.Clip)
def clip(op: ops.Clip, x: Tensor) -> tuple[Tensor, ...]:
    """Limits."""
    return (x.clamp(op.low, op.high),)


@surrogate(ops.Reduce)
def reduce(op: ops.Reduce, x: Tensor) -> tuple[Tensor | None, ...]:
    """Sum, mean or extremes over features."""
    axes = [axis + 2 for axis in op.axes]
    functions: Any = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax, "min": torch.amin}
    if op.kind not in functions:
        return (None,)
    return (functions[op.kind](x, axes, keepdim=op.keepdims),)


@surrogate(ops.Mask)
def mask(op: ops.Mask, x: Tensor, valid: Tensor) -> tuple[Tensor, ...]:
    """Frames outside the sequence have no gradient."""
    inside = valid.reshape(*valid.shape, *[1] * (x.ndim - valid.ndim))
    return (torch.where(inside, x, torch.full_like(x, op.fill)),)


@surrogate(ops.Slice)
@surrogate(ops.Gather)
@surrogate(ops.Concat)
@surrogate(ops.PadFeatures)
@surrogate(ops.Transpose)
@surrogate(ops.Reshape)
@surrogate(ops.Expand)
def move(op: Op, *operands: Tensor) -> tuple[Tensor, ...]:
    """Operations that move elements, with batch and steps as two more leading axes."""
    timed = [getattr(item, "timed", True) for item in operands]
    size = operands[timed.index(True)].shape[:2]
    count = size[0] * size[1]
    moved: Any = shifted(op, count)
    flat = [item.flatten(0, 1) if here else item for item, here in zip(operands, timed, strict=True)]
    if isinstance(moved, ops.Concat):
        flat = [item if here else item.expand(count, *item.shape) for item, here in zip(flat, timed, strict=True)]
    if isinstance(moved, ops.Slice):
        index = torch.arange(moved.start, moved.end, moved.stride)
        y = flat[0].index_select(moved.axis, index)
    elif isinstance(moved, ops.Gather):
        y = flat[0].index_select(moved.axis, flat[1].long())
    elif isinstance(moved, ops.Concat):
        y = torch.cat(flat, moved.axis)
    elif isinstance(moved, ops.PadFeatures):
        widths = (0, 0) * (flat[0].ndim - 1 - moved.axis) + (moved.before, moved.after)
        y = functional.pad(flat[0], widths, value=moved.value)
    elif isinstance(moved, ops.Transpose):
        y = flat[0].permute(moved.axes)
    else:
        y = flat[0].reshape(moved.shape) if isinstance(moved, ops.Reshape) else flat[0].expand(moved.shape)
    return (y.reshape(*size, *y.shape[1:]),)
