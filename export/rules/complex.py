"""Complex values: a real and an imaginary part as one more axis, and what can be made of an angle."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.rules import rule
from edgernn.export.rules.operands import broadcast
from edgernn.export.symbols import Const, Timed

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator

SILENT = 1e-20  # the least magnitude that an angle is taken of
Operand = Timed | Const | complex


def is_complex(item: Any) -> bool:
    """Whether an operand is complex, or the angle of one."""
    if isinstance(item, Const):
        return item.tensor.is_complex()
    return isinstance(item, complex) or (isinstance(item, Timed) and item.complex)


@rule("view_as_real.default", complex=True)
def view_as_real(t: Translator, node: fx.Node, x: Timed) -> Timed:
    """Real and imaginary part as a last axis, which the program's value has anyway."""
    refuse_angle(x)
    return Timed(x.value, (*x.shape, 2), x.axis, x.timing)


@rule("view_as_complex.default", complex=True)
def view_as_complex(t: Translator, node: fx.Node, x: Timed) -> Timed:
    """A last axis of two elements as real and imaginary part."""
    x = t.settle(x)
    return replace(x, shape=x.shape[:-1], complex=True)


@rule("real.default", "imag.default", complex=True)
def part(t: Translator, node: fx.Node, x: Timed) -> Timed:
    """Real or imaginary part."""
    return t.result(node, _part(t, node, x, int(str(node.target).startswith("aten.imag"))), replace(x, complex=False))


@rule("complex.default", complex=True)
def join(t: Translator, node: fx.Node, real: Timed, imaginary: Timed) -> Timed:
    """A complex value of both parts."""
    names, like = broadcast(t, node, (real, imaginary))
    parts = tuple(_with_axis(t, node, name, like) for name in names)
    axis = len(t.builder.shape(parts[0])) - 1
    value = t.add(ops.Concat, t.name(node), like.timing, parts=parts, axis=axis)
    return Timed(value, t.shape(node), t.axis(node), like.timing, complex=True)


@rule("angle.default", complex=True)
def angle(t: Translator, node: fx.Node, x: Timed) -> Timed:
    """The angle of a spectrum, kept as `x / |x|`: what is made of it are its cosine and sine."""
    refuse_angle(x)
    size = t.add(ops.Binary, t.name(node, "size"), x.timing, a=magnitude(t, node, x), b=_small(t), kind="max")
    value = t.add(ops.Binary, t.name(node), x.timing, a=x.value, b=_with_axis(t, node, size, x), kind="div")
    return replace(x, value=value, angle=True)


@rule("polar.default", complex=True)
def polar(t: Translator, node: fx.Node, size: Timed, angle: Timed) -> Timed:
    """A magnitude along the angle of a spectrum."""
    if not (isinstance(angle, Timed) and angle.angle):
        raise UnsupportedError("takes an angle that is none of a spectrum", hint="multiply the spectrum by a mask")
    return times(t, node, replace(angle, angle=False), size)


@rule("_conj.default", "conj_physical.default", complex=True)
def conjugate(t: Translator, node: fx.Node, x: Timed) -> Timed:
    """The imaginary part's sign changed."""
    refuse_angle(x)
    signs = t.builder.parameter("conjugate.signs", np.array([1, -1], np.float32))
    return replace(x, value=t.add(ops.Binary, t.name(node), x.timing, a=x.value, b=signs, kind="mul"))


def magnitude(t: Translator, node: fx.Node, x: Timed) -> str:
    """|x|, the root of its power."""
    refuse_angle(x)
    square = t.add(ops.Binary, t.name(node, "square"), x.timing, a=x.value, b=x.value, kind="mul")
    last = len(t.builder.shape(square)) - 1
    power = t.add(ops.Reduce, t.name(node, "power"), x.timing, x=square, kind="sum", axes=(last,), keepdims=False)
    return t.add(ops.Unary, t.name(node), x.timing, x=power, kind="sqrt")


def refuse_angle(x: Timed) -> None:
    """An angle itself is no value of the program."""
    if x.angle:
        raise UnsupportedError(
            "takes an angle itself", hint="use cos, sin or torch.polar of it, or give the layer real and imaginary part"
        )


def unary(t: Translator, node: fx.Node, kind: str, x: Timed) -> Timed:
    """cos and sin of an angle, exp of an angle times i, and a sign changed."""
    if x.angle and kind in ("cos", "sin"):
        return t.result(node, _part(t, node, x, int(kind == "sin")), replace(x, complex=False, angle=False))
    if x.angle and x.turned and kind == "exp":
        return replace(x, angle=False, turned=False)
    if not x.angle and kind == "neg":
        return replace(x, value=t.add(ops.Unary, t.name(node), x.timing, x=x.value, kind="neg"))
    refuse_angle(x)
    raise UnsupportedError("takes a complex value", hint="take `abs()` or `torch.view_as_real` of it first")


def binary(t: Translator, node: fx.Node, kind: str, a: Operand, b: Operand) -> Timed:
    """Sums and products; quotients by real numbers."""
    if kind == "mul":
        return times(t, node, a, b) if isinstance(a, Timed) and is_complex(a) else times(t, node, b, a)
    if kind == "div" and is_complex(a) and not is_complex(b):
        return _by_element(t, node, "div", a, b)
    if kind in ("add", "sub") and is_complex(a) and is_complex(b):
        return _by_element(t, node, kind, a, b)
    for item in (a, b):
        if isinstance(item, Timed):
            refuse_angle(item)
    raise UnsupportedError(f"`{kind}` of a complex value and another", hint="write it with real and imaginary parts")


def times(t: Translator, node: fx.Node, a: Operand, b: Operand) -> Timed:
    """A product of which one factor may be real."""
    if isinstance(a, Timed) and a.angle:
        if b == 1j and not a.turned:
            return replace(a, turned=True)
        refuse_angle(a)
    if not is_complex(b) or not is_complex(a):
        return _by_element(t, node, "mul", a, b)
    (x, y), like = _broadcast(t, node, a, b)
    last = len(t.builder.shape(x)) - 1 if x in t.builder.values else len(t.builder.shape(y)) - 1
    parts = [_slice(t, node, y, index) for index in (0, 1)]

    def product(name: str, left: str, right: str) -> str:
        return t.add(ops.Binary, t.name(node, name), like.timing, a=left, b=right, kind="mul")

    swapped = t.builder.parameter("complex.swapped", np.array([1, 0], np.int64))
    other = t.add(ops.Gather, t.name(node, "swapped"), like.timing, x=x, index=swapped, axis=last)
    signs = t.builder.parameter("complex.signs", np.array([-1, 1], np.float32))
    turned = product("turned", product("across", other, parts[1]), signs)
    value = t.add(ops.Binary, t.name(node), like.timing, a=product("along", x, parts[0]), b=turned, kind="add")
    return Timed(value, t.shape(node), t.axis(node), like.timing, complex=True)


def _by_element(t: Translator, node: fx.Node, kind: str, a: Operand, b: Operand) -> Timed:
    (left, right), like = _broadcast(t, node, a, b)
    value = t.add(ops.Binary, t.name(node), like.timing, a=left, b=right, kind=kind)
    return Timed(value, t.shape(node), t.axis(node), like.timing, complex=True)


def _broadcast(t: Translator, node: fx.Node, a: Operand, b: Operand) -> tuple[list[str], Timed]:
    """Operands with the parts as their last axis; that of a real one has one element."""
    pair = [_with_parts(t, node, item) for item in (a, b)]
    return broadcast(t, node, pair, dtype="float32", shape=(*t.shape(node), 2))


def _with_parts(t: Translator, node: fx.Node, item: Operand) -> Any:
    if isinstance(item, Timed):
        if item.complex:
            refuse_angle(item)
            return replace(item, shape=(*item.shape, 2), complex=False)
        item = t.settle(item)
        return replace(item, value=_with_axis(t, node, item.value, item), shape=(*item.shape, 1))
    tensor = item.tensor if isinstance(item, Const) else torch.tensor(item)
    name = item.name if isinstance(item, Const) else f"number.{item}"
    if tensor.is_complex():
        return Const(torch.view_as_real(tensor.resolve_conj()), f"{name}.parts")
    return Const(tensor.unsqueeze(-1).float(), f"{name}.part")


def _with_axis(t: Translator, node: fx.Node, value: str, like: Timed) -> str:
    shape = (*t.builder.shape(value), 1)
    return t.add(ops.Reshape, t.name(node, "part"), like.timing, x=value, shape=shape)


def _part(t: Translator, node: fx.Node, x: Timed, index: int) -> str:
    """Real (0) or imaginary part (1) without its axis."""
    number = t.builder.parameter(f"index.{index}", np.asarray(index, np.int64))
    last = len(t.builder.shape(x.value)) - 1
    return t.add(ops.Gather, t.name(node), x.timing, x=x.value, index=number, axis=last)


def _slice(t: Translator, node: fx.Node, value: str, index: int) -> str:
    """Real (0) or imaginary part (1), its axis kept."""
    last = len(t.builder.shape(value)) - 1
    if value in t.builder.parameters:
        array = t.builder.parameters[value][..., index : index + 1]
        return t.builder.parameter(f"{value}.{index}", np.ascontiguousarray(array))
    fields = {"axis": last, "start": index, "end": index + 1}
    return t.add(ops.Slice, t.name(node, "half"), t.builder.values[value].timing, x=value, **fields)


def _small(t: Translator) -> str:
    return t.number(SILENT, "float32")
