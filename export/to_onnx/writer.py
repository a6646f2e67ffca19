"""The file: nodes, functions, parameters, values with their timing, and the contract.

Element-wise operations are standard nodes. Every other operation is one node of domain `edgernn`: a model-local
function whose attributes are the operation's own and whose body is standard operations, so that any ONNX runtime
executes the file and reading it back gives the same program. Operations of one kind whose bodies differ get
functions `GRU`, `GRU.1`, … in the order they appear. Timing stands beside each value, as metadata of its value_info.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnx import helper, numpy_helper

from edgernn import content
from edgernn.export.summary import summarize
from edgernn.export.to_onnx import features, quantized, recurrent, time
from edgernn.export.to_onnx.body import ONNX_TYPES, Body, find_body
from edgernn.ops import Binary, Unary, Where
from edgernn.program import Op, Program, Type, Value
from edgernn.spec import SPEC_KEY

DOMAIN = "edgernn"
OPSET = 21  # the first whose QuantizeLinear gives int16
IR_VERSION = 10  # the first with metadata on values
TIMING_KEY = "edgernn.timing"
SUMMARY_KEY = "edgernn.summary"
STANDARD_UNARY = {kind: kind.capitalize() for kind in ("abs", "ceil", "cos", "erf", "exp", "floor", "gelu", "log")}
STANDARD_UNARY |= {kind: kind.capitalize() for kind in ("neg", "not", "reciprocal", "relu", "round", "sigmoid")}
STANDARD_UNARY |= {kind: kind.capitalize() for kind in ("sign", "sin", "softplus", "sqrt", "tanh")}
STANDARD_BINARY = {kind: kind.capitalize() for kind in ("add", "and", "div", "equal", "greater", "less", "max", "min")}
STANDARD_BINARY |= {kind: kind.capitalize() for kind in ("mul", "or", "pow", "sub")}
STANDARD_BINARY |= {"greater_equal": "GreaterOrEqual", "less_equal": "LessOrEqual"}

__all__ = ["features", "quantized", "recurrent", "time", "to_onnx"]


def to_onnx(program: Program) -> bytes:
    """The bytes of the ONNX file, sealed with their hash; equal programs give equal bytes."""
    spec = program.spec
    functions = _Functions(program)
    nodes = [functions.node(op) for op in program.ops]
    inputs = [port.name for port in spec.inputs] + [state.input for state in spec.states]
    inputs += [spec.frames_left] if spec.frames_left else []
    outputs = [port.name for port in spec.outputs] + [state.output for state in spec.states]
    inner = [name for name in program.values if name not in {*inputs, *outputs}]
    graph = helper.make_graph(
        nodes,
        spec.name,
        [_value_info(program.values[name]) for name in inputs],
        [_value_info(program.values[name]) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in sorted(program.parameters.items())],
        value_info=[_value_info(program.values[name]) for name in inner],
    )
    model = helper.make_model(
        graph,
        functions=functions.protos,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)],
        ir_version=IR_VERSION,
        producer_name="edgernn",
    )
    contract = spec.with_hash(content.UNSEALED).to_json()
    helper.set_model_props(model, {SPEC_KEY: contract, SUMMARY_KEY: summarize(program)})
    return content.seal(model.SerializeToString(deterministic=True))


class _Functions:
    """Writes operations as nodes and keeps the functions they call."""

    def __init__(self, program: Program) -> None:
        self.protos: list[onnx.FunctionProto] = []
        self._program = program
        self._names: dict[tuple[str, bytes], str] = {}
        self._counts: dict[str, int] = {}

    def node(self, op: Op) -> onnx.NodeProto:
        standard = standard_name(op)
        if standard is not None:
            return helper.make_node(standard, op.operands, op.outputs, name=op.name)
        function = self._function(op)
        operands = list(op.operands)
        while operands and not operands[-1]:
            operands.pop()
        attributes = {name: _attribute(getattr(op, name)) for name in op.attribute_fields()}
        return helper.make_node(function, operands, op.outputs, name=op.name, domain=DOMAIN, **attributes)

    def _function(self, op: Op) -> str:
        names = operand_names(op)
        types: dict[str, Type | None] = {
            name: self._program.type_of(operand) for name, operand in zip(names, op.operands, strict=True)
        }
        body = Body(types)
        results = find_body(op)(body, op)
        outputs = [f"result_{index}" for index in range(len(results))]
        renamed = dict(zip(results, outputs, strict=True))
        for node in body.nodes:
            for index, name in enumerate(node.output):
                node.output[index] = renamed.get(name, name)
            for index, name in enumerate(node.input):
                node.input[index] = renamed.get(name, name)
        proto = helper.make_function(
            DOMAIN,
            "",
            names,
            outputs,
            body.nodes,
            [helper.make_opsetid("", OPSET)],
            attributes=list(op.attribute_fields()),
        )
        kind = type(op).__name__
        key = (kind, proto.SerializeToString(deterministic=True))
        if key not in self._names:
            count = self._counts.get(kind, 0)
            self._counts[kind] = count + 1
            self._names[key] = proto.name = kind if count == 0 else f"{kind}.{count}"
            self.protos.append(proto)
        return self._names[key]


def standard_name(op: Op) -> str | None:
    """The standard ONNX operation that is this one, without a function around it."""
    if isinstance(op, Unary):
        return STANDARD_UNARY[op.kind]
    if isinstance(op, Binary):
        return STANDARD_BINARY[op.kind]
    return "Where" if isinstance(op, Where) else None


def operand_names(op: Op) -> list[str]:
    """Names of a function's inputs: the operation's operand fields."""
    fields = op.operand_fields()
    if fields and isinstance(getattr(op, fields[0]), tuple):
        return [f"{fields[0]}_{index}" for index in range(len(op.operands))]
    return list(fields)


def _attribute(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return list(value) if isinstance(value, tuple) else value


def _value_info(value: Value) -> onnx.ValueInfoProto:
    info = helper.make_tensor_value_info(value.name, ONNX_TYPES[value.dtype], value.shape)
    if value.timing is not None:
        timing = value.timing
        fields = (timing.period, timing.offset, timing.delay, timing.receptive_field, timing.group, timing.extra)
        entry = info.metadata_props.add()
        entry.key = TIMING_KEY
        entry.value = " ".join("all" if field is None else str(field) for field in fields)
    return info
