"""A TFLite file in the making: tensors, operations, one signature, metadata; and its bytes.

The object API of `ai_edge_litert.schema_py_generated` writes the flatbuffer. Equal graphs give equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgernn.export.to_tflite.builtins import newest, version
from edgernn.program import Array

SIGNATURE = "step"
_ALIGNMENT = 16  # of a buffer's data in the file, as the schema asks; the object API alone leaves it at 1
_TYPES = {
    name: getattr(schema.TensorType, name.upper())
    for name in ("bool", "complex64", "float32", "int8", "int16", "int32", "int64", "uint8")
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of the graph. `scale` is what one unit of an integer is worth; zero-points are 0."""

    index: int
    dtype: str
    shape: tuple[int, ...]
    scale: float | None = None


class Graph:
    """Tensors and operations in the order they were added."""

    def __init__(self, name: str) -> None:
        self._tensors: list[Any] = []
        self._buffers: list[Any] = [_Buffer()]  # the first one is empty by the schema's rule
        self._operators: list[Any] = []
        self._codes: dict[tuple[str, int], int] = {}
        self._constants: dict[Any, Tensor] = {}
        self._runtimes: set[str] = set()
        self._name = name

    # --- tensors ---------------------------------------------------------------------------------------------

    def tensor(self, name: str, dtype: str, shape: Iterable[int], scale: float | None = None) -> Tensor:
        """Add a tensor that an operation, or the caller, fills."""
        return self._add(name, dtype, tuple(shape), None if scale is None else [scale], 0, scale)

    def constant(self, array: Array, scale: float | Array | None = None, axis: int = 0) -> Tensor:
        """A tensor of these values; with one scale, or one for each index of `axis`. Equal ones are one tensor."""
        array = np.ascontiguousarray(array)
        scales = None if scale is None else [float(item) for item in np.atleast_1d(np.asarray(scale, np.float32))]
        key = (str(array.dtype), array.shape, array.tobytes(), tuple(scales or ()), axis)
        if key not in self._constants:
            buffer = _Buffer()
            buffer.data = array.reshape(-1).view(np.uint8) if array.size else None
            self._buffers.append(buffer)
            single = scales[0] if scales is not None and len(scales) == 1 else None
            name, place = f"constant.{len(self._constants)}", len(self._buffers) - 1
            self._constants[key] = self._add(name, str(array.dtype), array.shape, scales, place, single, axis)
        return self._constants[key]

    def _add(
        self,
        name: str,
        dtype: str,
        shape: tuple[int, ...],
        scales: list[float] | None,
        buffer: int,
        scale: float | None,
        axis: int = 0,
    ) -> Tensor:
        made = schema.TensorT()
        made.name, made.type, made.shape, made.buffer = name, _TYPES[dtype], list(shape), buffer
        made.hasRank = True
        if scales is not None:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = np.asarray(scales, np.float32)
            made.quantization.zeroPoint = np.zeros(len(scales), np.int64)
            made.quantization.quantizedDimension = axis
        self._tensors.append(made)
        return Tensor(len(self._tensors) - 1, dtype, shape, scale)

    # --- operations ------------------------------------------------------------------------------------------

    def operator(
        self,
        kind: str,
        inputs: Sequence[Tensor | None],
        outputs: Sequence[Tensor],
        options: Any = None,
        *,
        place: str,
        at_least: tuple[int, str] | None = None,
    ) -> None:
        """Add a built-in operation; an absent input is None. `options` is an options object of the schema.

        The version follows from the first given input's element type; `at_least` asks for this one. `place` names the
        Program's operation in errors.
        """
        first = next(tensor for tensor in inputs if tensor is not None)
        number, runtime = at_least or version(kind, first.dtype, place)
        self._runtimes.add(runtime)
        made = schema.OperatorT()
        made.opcodeIndex = self._codes.setdefault((kind, number), len(self._codes))
        made.inputs = [-1 if tensor is None else tensor.index for tensor in inputs]
        made.outputs = [tensor.index for tensor in outputs]
        if options is not None:
            made.builtinOptions = options
            made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self._operators.append(made)

    # --- the file --------------------------------------------------------------------------------------------

    def pack(self, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor], texts: Mapping[str, str]) -> bytes:
        """The file's bytes: one signature with these inputs and outputs, and metadata `texts` by name.

        The least runtime version goes along as `min_runtime_version`, the name that TensorFlow's converter uses.
        """
        graph = schema.SubGraphT()
        graph.name, graph.tensors, graph.operators = self._name, self._tensors, self._operators
        graph.inputs = [tensor.index for tensor in inputs.values()]
        graph.outputs = [tensor.index for tensor in outputs.values()]
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = SIGNATURE, 0
        signature.inputs, signature.outputs = _ports(inputs), _ports(outputs)
        model = schema.ModelT()
        model.version, model.description = 3, "edgernn"
        model.operatorCodes = [_code(kind, number) for kind, number in self._codes]
        model.subgraphs, model.signatureDefs = [graph], [signature]
        model.buffers, model.metadata = list(self._buffers), []
        runtime = newest(self._runtimes).ljust(16, "\0")  # the converter's own field has 16 bytes
        for name, text in {**texts, "min_runtime_version": runtime}.items():
            entry, buffer = schema.MetadataT(), _Buffer()
            entry.name, entry.buffer = name, len(model.buffers)
            buffer.data = np.frombuffer(text.encode(), np.uint8)
            model.buffers.append(buffer)
            model.metadata.append(entry)
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


class _Buffer(schema.BufferT):  # type: ignore[misc]
    """A buffer whose data is aligned."""

    def Pack(self, builder: Any) -> Any:
        place = None
        if self.data is not None:
            builder.StartVector(1, len(self.data), _ALIGNMENT)
            builder.head = builder.head - len(self.data)
            builder.Bytes[builder.head : builder.head + len(self.data)] = self.data.tobytes()
            place = builder.EndVector()
        schema.BufferStart(builder)
        if place is not None:
            schema.BufferAddData(builder, place)
        return schema.BufferEnd(builder)


def _ports(tensors: Mapping[str, Tensor]) -> list[Any]:
    made = []
    for name, tensor in tensors.items():
        port = schema.TensorMapT()
        port.name, port.tensorIndex = name, tensor.index
        made.append(port)
    return made


def _code(kind: str, number: int) -> Any:
    made = schema.OperatorCodeT()
    made.builtinCode = getattr(schema.BuiltinOperator, kind)
    made.deprecatedBuiltinCode = min(made.builtinCode, 127)  # what runtimes before 2.4 read
    made.version = number
    return made
