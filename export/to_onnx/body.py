"""Builds the body of a model-local function out of standard ONNX operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgernn.program import Op, Type

ONNX_TYPES = {
    "bool": onnx.TensorProto.BOOL,
    "float32": onnx.TensorProto.FLOAT,
    "int8": onnx.TensorProto.INT8,
    "int16": onnx.TensorProto.INT16,
    "int32": onnx.TensorProto.INT32,
    "int64": onnx.TensorProto.INT64,
    "uint8": onnx.TensorProto.UINT8,
}
BodyWriter = Callable[["Body", Any], Sequence[str]]

_BODIES: dict[str, BodyWriter] = {}


def body_of(kind: type[Op]) -> Callable[[BodyWriter], BodyWriter]:
    """Register a function as the one that writes the body of an operation and gives its results' names."""

    def register(function: BodyWriter) -> BodyWriter:
        _BODIES[kind.__name__] = function
        return function

    return register


def find_body(op: Op) -> BodyWriter:
    """What writes the body of `op`."""
    return _BODIES[type(op).__name__]


class Body:
    """Nodes of one function. Operands go by their field's name; `type` tells their types."""

    def __init__(self, types: dict[str, Type | None]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._types = types
        self._count = 0

    def type(self, operand: str) -> Type:
        """Type of an operand that is there."""
        found = self._types[operand]
        assert found is not None
        return found

    def has(self, operand: str) -> bool:
        """Whether an optional operand is there."""
        return self._types[operand] is not None

    def node(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one result."""
        return self.nodes_of(op_type, 1, *inputs, **attributes)[0]

    def nodes_of(self, op_type: str, results: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add a node with several results."""
        self._count += 1
        names = [f"t{self._count}_{index}" if results > 1 else f"t{self._count}" for index in range(results)]
        self.nodes.append(helper.make_node(op_type, list(inputs), names, **attributes))
        return names

    def constant(self, value: Any, dtype: str = "int64") -> str:
        """Add a constant of any shape."""
        tensor = numpy_helper.from_array(np.asarray(value, dtype))
        return self.node("Constant", value=tensor)

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """x as `shape`."""
        return self.node("Reshape", x, self.constant(list(shape)))

    def slice(self, x: str, axis: int, start: int, end: int, stride: int = 1) -> str:
        """x[start:end:stride] of an axis."""
        parts = (self.constant([item]) for item in (start, end, axis, stride))
        return self.node("Slice", x, *parts)

    def unsqueeze(self, x: str, axis: int) -> str:
        """x with a new axis of size 1."""
        return self.node("Unsqueeze", x, self.constant([axis]))

    def squeeze(self, x: str, axis: int) -> str:
        """x without an axis of size 1."""
        return self.node("Squeeze", x, self.constant([axis]))

    def cast(self, x: str, dtype: str) -> str:
        """x as another element type."""
        return self.node("Cast", x, to=ONNX_TYPES[dtype])

    def where(self, condition: str, a: str, b: str, dtype: str) -> str:
        """a or b; onnxruntime's `Where` takes no 8- or 16-bit integers."""
        if dtype not in ("int8", "int16"):
            return self.node("Where", condition, a, b)
        wide = self.node("Where", condition, self.cast(a, "int32"), self.cast(b, "int32"))
        return self.cast(wide, dtype)

    def held(self, new: str, old: str) -> str:
        """A new state, or the old one where the operation has an `active` that is false."""
        return self.where("active", new, old, self.type(old).dtype) if self.has("active") else new
