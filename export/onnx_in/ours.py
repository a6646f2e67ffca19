"""Read a streaming ONNX file of ours back into the `Program` it was written from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import helper, numpy_helper

from edgernn import content
from edgernn.errors import ModelFileError
from edgernn.export.to_onnx.body import ONNX_TYPES
from edgernn.export.to_onnx.writer import DOMAIN, STANDARD_BINARY, STANDARD_UNARY, TIMING_KEY
from edgernn.ops import Binary, Unary, Where
from edgernn.program import Op, Program, Timing, Value
from edgernn.spec import SPEC_KEY, StreamSpec

_DTYPES: dict[int, str] = {number: name for name, number in ONNX_TYPES.items()}
_UNARY = {name: kind for kind, name in STANDARD_UNARY.items()}
_BINARY = {name: kind for kind, name in STANDARD_BINARY.items()}


def read_program(path: str | Path) -> Program:
    """The program of a file that edgernn wrote.

    Raises `ModelFileError` when the file is missing, damaged, not ours, or was changed by a tool that inlined its
    cells; `SpecError` when its contract can't be read.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ModelFileError(f"cannot be read ({error.strerror})", place=str(path)) from None
    if Path(path).suffix in (".ernn", ".tflite"):
        raise ModelFileError(
            f"is a {Path(path).suffix} file, which is for devices",
            place=str(path),
            hint="take the .onnx that it was written from: quantize and export read that alone",
        )
    return parse_program(data, str(path))


def parse_program(data: bytes, place: str) -> Program:
    """The program in a file's bytes; `place` names the file in errors, which are those of `read_program`."""
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError:
        raise ModelFileError("is not an ONNX file, or is cut short", place=place) from None
    props = {item.key: item.value for item in model.metadata_props}
    if SPEC_KEY not in props:
        raise ModelFileError(
            "is an ONNX file without a streaming contract",
            place=place,
            hint=f"make it a stream first: edgernn export {place} -o stream.onnx",
        )
    spec = StreamSpec.from_json(props[SPEC_KEY], place)
    if content.content_hash(data) != spec.content_sha256:
        if not any(node.domain == DOMAIN for node in model.graph.node):
            raise ModelFileError(
                "has lost its cells: some tool inlined them into single operations",
                place=place,
                hint="don't run onnxscript.optimizer, onnx.version_converter or onnxruntime's offline optimizer on it",
            )
        raise ModelFileError("was changed after it was written", place=place, hint="export the model again")
    infos = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    return Program(
        spec=spec.with_hash(""),
        values={info.name: _value(info) for info in infos},
        parameters={item.name: numpy_helper.to_array(item) for item in model.graph.initializer},
        ops=tuple(_op(node, place) for node in model.graph.node),
    )


def _op(node: onnx.NodeProto, place: str) -> Op:
    outputs = tuple(node.output)
    if node.domain != DOMAIN:
        return _standard(node, outputs, place)
    kind = Op.registry.get(node.op_type.split(".")[0])
    if kind is None:
        raise ModelFileError(f"has an operation `{node.op_type}` that this edgernn does not know", place=place)
    fields: dict[str, Any] = {}
    names = kind.operand_fields()
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    hints = {field: kind.__dataclass_fields__[field].type for field in kind.attribute_fields()}
    for name, hint in hints.items():
        if name in attributes:
            fields[name] = _attribute(attributes[name], str(hint))
    if len(names) == 1 and kind.__dataclass_fields__[names[0]].type == "Operands":
        fields[names[0]] = tuple(node.input)
    else:
        fields.update(zip(names, [*node.input, *[""] * (len(names) - len(node.input))], strict=True))
    return kind(name=node.name, outputs=outputs, **fields)


def _standard(node: onnx.NodeProto, outputs: tuple[str, ...], place: str) -> Op:
    if node.op_type in _UNARY:
        return Unary(name=node.name, outputs=outputs, x=node.input[0], kind=_UNARY[node.op_type])
    if node.op_type in _BINARY:
        a, b = node.input
        return Binary(name=node.name, outputs=outputs, a=a, b=b, kind=_BINARY[node.op_type])
    if node.op_type == "Where":
        condition, a, b = node.input
        return Where(name=node.name, outputs=outputs, condition=condition, a=a, b=b)
    raise ModelFileError(f"has a standard operation `{node.op_type}` that edgernn does not write", place=place)


def _attribute(value: Any, hint: str) -> Any:
    if hint == "bool":
        return bool(value)
    if isinstance(value, bytes):
        return value.decode()
    return tuple(int(item) for item in value) if hint.startswith("tuple") else value


def _value(info: onnx.ValueInfoProto) -> Value:
    tensor = info.type.tensor_type
    shape = tuple(int(dim.dim_value) for dim in tensor.shape.dim)
    props = {item.key: item.value for item in info.metadata_props}
    timing = None
    if TIMING_KEY in props:
        period, offset, delay, field, *rest = props[TIMING_KEY].split(" ")
        timing = Timing(int(period), int(offset), int(delay), None if field == "all" else int(field), *map(int, rest))
    return Value(info.name, _DTYPES[tensor.elem_type], shape, timing)
