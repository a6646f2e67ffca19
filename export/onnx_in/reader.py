"""Reads an ONNX graph node by node into operations of a `Program`.

Shapes are static. An ONNX tensor of shape `[a, b]` is a value `[1, a, b]`: one run of the graph is one step, and the
axis in front counts it. What depends on no input is computed here, by ONNX's own reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.builder import Builder
from edgernn.export.onnx_in.registry import find_reading, folds
from edgernn.export.onnx_in.symbols import Given, Known, Node, Shape, Symbol
from edgernn.export.to_onnx.body import ONNX_TYPES
from edgernn.ops.arithmetic import BINARY, COMPARISONS, UNARY
from edgernn.program import Array, Op, Timing

DTYPES: dict[int, str] = {number: name for name, number in ONNX_TYPES.items()}
_STANDARD = ("", "ai.onnx")
_CONTROL = ("If", "Loop", "Scan")


class Reader:
    """A program in the making, and what reading functions write it with.

    The methods behind "operations" take symbols and give symbols; what is known they compute.
    """

    def __init__(self, opset: int, hop: int, reserved: frozenset[str]) -> None:
        self.builder = Builder(reserved)
        self.opset = opset
        self.timing = Timing(period=hop)
        self._hop = hop
        self._name = ""  # of the node that is read

    # --- the graph -------------------------------------------------------------------------------------------

    def run(self, graph: onnx.GraphProto, env: dict[str, Symbol]) -> list[Symbol]:
        """Read a graph; `env` holds its inputs and what surrounds it. Gives its outputs.

        Raises `UnsupportedError` with the node's name for what cannot be read.
        """
        env = {**env, **{item.name: Known(numpy_helper.to_array(item)) for item in graph.initializer}}
        for proto in _needed(graph):
            self.read(proto, env)
        missing = [item.name for item in graph.output if item.name not in env]
        if missing:
            raise UnsupportedError("is no result of any operation", place=f"output `{missing[0]}`")
        return [env[item.name] for item in graph.output]

    def read(self, proto: onnx.NodeProto, env: dict[str, Symbol]) -> None:
        """Read one node; its results go into `env`."""
        missing = [name for name in proto.input if name and name not in env]
        if missing:
            raise UnsupportedError(f"reads `{missing[0]}`, which nothing gives", place=proto.name or proto.op_type)
        operands = tuple(env[name] if name else None for name in proto.input)
        attributes = {item.name: _attribute(item) for item in proto.attribute}
        if proto.op_type in _CONTROL:
            attributes["env"] = dict(env)  # what its graphs see of the one around them
        outputs = tuple(proto.output)
        name = proto.name or next(filter(None, outputs))
        node = Node(proto.op_type, name, operands, outputs, attributes, self.opset)
        if proto.domain not in _STANDARD:
            raise UnsupportedError(f"is `{proto.op_type}` of domain `{proto.domain}`, which is not ONNX's", place=name)
        outer, self._name = self._name, name
        try:
            results = self._read(proto, node)
        except UnsupportedError as error:
            if error.place:
                raise
            raise UnsupportedError(error.cause, place=f"{name} ({proto.op_type})", hint=error.hint) from None
        self._name = outer
        for output, result in zip(outputs, results, strict=False):
            if output and result is not None:
                env[output] = result

    def _read(self, proto: onnx.NodeProto, node: Node) -> Sequence[Symbol | None]:
        reading = find_reading(node.op_type)
        computed = node.op_type in _CONTROL or (reading is not None and folds(node.op_type))
        if not computed and all(item is None or isinstance(item, Known) for item in node.inputs):
            return self._known(proto, node)
        if node.op_type in ("Shape", "Size"):  # static, whatever they are of
            return self._known(proto, replace(node, inputs=(Known(_stand_in(node)),)))
        if reading is not None:
            results = reading(self, node)
            return [results] if isinstance(results, (Known, Given)) else results
        return self._expanded(proto, node)

    def _known(self, proto: onnx.NodeProto, node: Node) -> list[Symbol]:
        feeds = {
            name: item.array for name, item in zip(proto.input, node.inputs, strict=True) if isinstance(item, Known)
        }
        try:
            results = ReferenceEvaluator(proto, opsets={"": self.opset}).run(None, feeds)
        except NotImplementedError:
            raise UnsupportedError(
                "is computed from constants, by an operation that ONNX has no reference of"
            ) from None
        return [Known(np.asarray(item)) for item in results]

    def _expanded(self, proto: onnx.NodeProto, node: Node) -> list[Symbol]:
        """An operation that ONNX itself defines by others."""
        schema = defs.get_schema(node.op_type, self.opset) if defs.has(node.op_type) else None
        if schema is None or not schema.function_body.node:
            raise UnsupportedError("is no operation that a stream has", hint="docs/onnx-in.md lists those it has")
        function = onnx.FunctionProto()
        function.ParseFromString(schema.function_body.SerializeToString())
        env: dict[str, Symbol] = {
            name: item for name, item in zip(function.input, node.inputs, strict=False) if item is not None
        }
        given = {name: item.default_value for name, item in schema.attributes.items()}
        given |= {item.name: item for item in proto.attribute}
        for inner in function.node:
            self.read(_with_attributes(inner, given), env)
        return [env[name] for name in function.output[: len(node.outputs)]]

    # --- names -----------------------------------------------------------------------------------------------

    def frames(self, count: int) -> Timing:
        """The timing of a value with so many frames a step."""
        return Timing(period=self._hop, group=count)

    def add(
        self, kind: type[Op], fields: Mapping[str, Any], timing: Timing | tuple[Timing | None, ...] | None = None
    ) -> str:
        """Add an operation called like the node that is read; gives its first result's value."""
        return self.builder.add(kind, self._name, timing or self.timing, **fields)[0]

    def symbol(self, value: str) -> Given:
        """The symbol of a value `[1, …]`."""
        return Given(value, self.builder.dtype(value), self.builder.shape(value)[1:])

    def parameter(self, array: Array) -> str:
        """Keep an array as it is; gives its name."""
        if array.dtype == np.float64 or str(array.dtype) not in ONNX_TYPES:
            raise UnsupportedError(f"has values of {array.dtype}", hint="convert the model to float32")
        return self.builder.parameter(f"{self._name}.constant", array)

    def operand(self, x: Symbol) -> str:
        """The value or parameter `[1, *shape]`."""
        return x.value if isinstance(x, Given) else self.parameter(x.array[None])

    # --- operations ------------------------------------------------------------------------------------------

    def moved(self, kind: type[Op], x: Given, /, **fields: Any) -> Given:
        """An operation on the only value `x`."""
        return self.symbol(self.add(kind, {"x": x.value, **fields}))

    def reshape(self, x: Symbol, shape: Sequence[int]) -> Symbol:
        """The same elements as `shape`."""
        shape = tuple(map(int, shape))
        if isinstance(x, Known):
            return Known(x.array.reshape(shape))
        return x if x.shape == shape else self.moved(ops.Reshape, x, shape=(1, *shape))

    def transpose(self, x: Symbol, axes: Sequence[int]) -> Symbol:
        """Axes in another order; only a reshape where none but those of one element move."""
        if isinstance(x, Known):
            return Known(x.array.transpose(axes))
        shape = tuple(x.shape[axis] for axis in axes)
        longer = [axis for axis in axes if x.shape[axis] != 1]
        if longer == sorted(longer):
            return self.reshape(x, shape)
        return self.moved(ops.Transpose, x, axes=(0, *(axis + 1 for axis in axes)))

    def slice(self, x: Symbol, axis: int, start: int, end: int, stride: int = 1) -> Symbol:
        """Elements `range(start, end, stride)` of an axis."""
        picked = range(start, end, stride)
        if isinstance(x, Known) or stride < 0 or not picked:
            return self.take(x, np.array(picked, np.int64), axis)
        if picked == range(x.shape[axis]):
            return x
        return self.moved(ops.Slice, x, axis=axis + 1, start=start, end=end, stride=stride)

    def take(self, x: Symbol, index: Array, axis: int) -> Symbol:
        """Elements of an axis by an index `[count]`: a slice where they follow each other."""
        index = np.asarray(index, np.int64)
        if isinstance(x, Known):
            return Known(np.take(x.array, index, axis))
        if not index.size:
            raise UnsupportedError("gives an empty value")
        step = int(index[1] - index[0]) if index.size > 1 else 1
        if step > 0 and np.array_equal(index, index[0] + step * np.arange(index.size)):
            return self.slice(x, axis, int(index[0]), int(index[-1]) + 1, step)
        return self.moved(ops.Gather, x, index=self.parameter(index), axis=axis + 1)

    def concat(self, parts: Sequence[Symbol], axis: int) -> Symbol:
        """Parts joined along an axis."""
        parts = [part for part in parts if part.shape[axis]]
        if len(parts) == 1:
            return parts[0]
        if all(isinstance(part, Known) for part in parts):
            return Known(np.concatenate([part.array for part in parts if isinstance(part, Known)], axis))
        return self.symbol(self.add(ops.Concat, {"parts": tuple(map(self.operand, parts)), "axis": axis + 1}))

    def expand(self, x: Symbol, shape: Sequence[int]) -> Symbol:
        """Axes of one element repeated; axes in front are added."""
        shape = tuple(map(int, shape))
        if isinstance(x, Known):
            return Known(np.broadcast_to(x.array, shape))
        x = self.widened(x, len(shape))
        return x if x.shape == shape else self.moved(ops.Expand, x, shape=(1, *shape))

    def widened(self, x: Given, rank: int) -> Given:
        """A value with axes of one element in front, up to a rank."""
        made = self.reshape(x, (*[1] * (rank - len(x.shape)), *x.shape))
        assert isinstance(made, Given)
        return made

    def unary(self, kind: str, x: Symbol) -> Symbol:
        """`kind(x)`, element by element."""
        if isinstance(x, Known):
            return Known(np.asarray(UNARY[kind](x.array)).astype(x.array.dtype))
        return self.moved(ops.Unary, x, kind=kind)

    def binary(self, kind: str, a: Symbol, b: Symbol) -> Symbol:
        """`kind(a, b)`, broadcast."""
        if isinstance(a, Known) and isinstance(b, Known):
            result = np.asarray(BINARY[kind](a.array, b.array))
            return Known(result if kind in COMPARISONS else result.astype(a.array.dtype))
        first, second = self.together(a, b)
        return self.symbol(self.add(ops.Binary, {"a": first, "b": second, "kind": kind}))

    def where(self, condition: Symbol, a: Symbol, b: Symbol) -> Symbol:
        """a where the condition is true, else b."""
        if isinstance(condition, Known) and (condition.array.all() or not condition.array.any()):
            chosen, shape = (a if condition.array.all() else b), np.broadcast_shapes(condition.shape, a.shape, b.shape)
            return self.expand(chosen, shape)
        first, second, third = self.together(condition, a, b)
        return self.symbol(self.add(ops.Where, {"condition": first, "a": second, "b": third}))

    def clip(self, x: Symbol, low: float, high: float) -> Symbol:
        """x within limits."""
        if isinstance(x, Known):
            return Known(np.clip(x.array, low, high).astype(x.array.dtype))
        return self.moved(ops.Clip, x, low=float(low), high=float(high))

    def number(self, value: float) -> Known:
        """A float32 constant."""
        return Known(np.asarray(value, np.float32))

    def reduce(self, kind: str, x: Symbol, axes: Sequence[int], keepdims: bool) -> Symbol:
        """sum, mean, max, min or prod over some axes; over none, x itself."""
        if not axes:
            return x
        assert isinstance(x, Given)
        return self.moved(ops.Reduce, x, kind=kind, axes=tuple(sorted(axis + 1 for axis in axes)), keepdims=keepdims)

    def linear(self, x: Symbol, weight: Array, bias: Array | None = None) -> Symbol:
        """x weightᵀ + bias over the last axis; weight `[out, in]`."""
        if isinstance(x, Known):
            y = x.array @ weight.T
            return Known(y if bias is None else y + bias)
        fields = {"weight": self.parameter(np.ascontiguousarray(weight))}
        if bias is not None:
            fields["bias"] = self.parameter(np.ascontiguousarray(bias))
        return self.moved(ops.Linear, x, **fields)

    def rows(self, ids: Symbol, table: str) -> Symbol:
        """Rows of a parameter `[rows, features]` by computed indices."""
        assert isinstance(ids, Given)
        return self.symbol(self.add(ops.Embedding, {"ids": ids.value, "weight": table}))

    def together(self, *operands: Symbol) -> list[str]:
        """Values and parameters of symbols that broadcast, at one rank."""
        rank = max(len(item.shape) for item in operands)
        return [
            self.widened(item, rank).value if isinstance(item, Given) else self.parameter(item.array)
            for item in operands
        ]


def known(x: Symbol | None, what: str) -> Array:
    """The array of an operand that must not change from step to step. Raises `UnsupportedError` if it does."""
    if isinstance(x, Known):
        return x.array
    raise UnsupportedError(f"has {what} that the stream computes", hint="hold it at one value: --set NAME=VALUE")


def _needed(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes that an output depends on, in order."""
    wanted = {item.name for item in graph.output}
    kept = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
            for attribute in node.attribute:
                wanted.update(_outer_names(attribute.g))
    return kept[::-1]


def _outer_names(graph: onnx.GraphProto) -> set[str]:
    """What a graph inside a node may read of the graph around it."""
    names = {item.name for item in graph.output}
    for node in graph.node:
        names.update(node.input)
        for attribute in node.attribute:
            names |= _outer_names(attribute.g)
    return names


def _attribute(item: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(item)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return tuple(part.decode() if isinstance(part, bytes) else part for part in value)
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _with_attributes(node: onnx.NodeProto, given: Mapping[str, onnx.AttributeProto]) -> onnx.NodeProto:
    """A node of a function's body with the attributes that it takes from the call."""
    made = onnx.NodeProto()
    made.CopyFrom(node)
    del made.attribute[:]
    for item in node.attribute:
        if not item.ref_attr_name:
            made.attribute.append(item)
        elif item.ref_attr_name in given and given[item.ref_attr_name].type:
            copied = made.attribute.add()
            copied.CopyFrom(given[item.ref_attr_name])
            copied.name = item.name
    return made


def _stand_in(node: Node) -> Array:
    """An array of an operand's shape."""
    x = node.inputs[0]
    assert x is not None
    shape: Shape = x.shape
    return np.broadcast_to(np.zeros((), np.float32), shape)
