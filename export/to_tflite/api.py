"""A `Program` as the bytes of a TFLite file that carries its state through the signature `step`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgernn import content, ops
from edgernn.errors import ExportError, UnsupportedError
from edgernn.export.summary import summarize
from edgernn.export.to_tflite import (  # noqa: F401  they register their rows
    convolutions,
    features,
    integer_cells,
    integer_products,
    integers,
    pooling,
    recurrent,
    running,
    spectra,
    time,
)
from edgernn.export.to_tflite.builder import Builder
from edgernn.export.to_tflite.graph import Tensor
from edgernn.export.to_tflite.rows import ROWS
from edgernn.interpret import float_reference, settled
from edgernn.program import Program
from edgernn.quantize.reference import evaluate
from edgernn.spec import SPEC_KEY, StateSpec, StreamSpec

SUMMARY_KEY = "edgernn.summary"
FLOAT, INTEGER = ("float32", "hybrid8"), ("int8", "int16x8")
PRECISIONS = (*FLOAT, *INTEGER)


def to_tflite(program: Program, precision: str = "", per_channel: bool = False) -> bytes:
    """The file's bytes, sealed with their hash; equal programs give equal bytes.

    `precision` is `float32` (the default of a float program) or `hybrid8` (int8 weights, inputs of products quantized
    as they come, everything else float), of a quantized program `int8` (its default) or `int16x8` (int16 between
    operations). `per_channel` gives hybrid8 one scale for each row of a weight instead of one for all; runtimes before
    2.17 refuse that. Raises `UnsupportedError` naming the operation that TFLite's built-ins lack, `ExportError` for a
    precision that does not fit the program.
    """
    precision = _fitting(program, precision, per_channel)
    summary = summarize(program)
    program = settled(program, evaluate if precision in INTEGER else float_reference)
    spec = _contract(program, precision)
    b = Builder(program, precision, per_channel)
    inputs = _inputs(b, spec)
    for op in program.ops:
        b.place = op.name
        if type(op) not in ROWS:
            raise UnsupportedError(f"TFLite has no {type(op).__name__}", place=op.name)
        ROWS[type(op)](b, op)
    outputs: dict[str, Tensor] = {}
    taken = {tensor.index for tensor in inputs.values()}
    for name in [port.name for port in spec.outputs] + [state.output for state in spec.states]:
        b.place = name
        tensor = b.get(name)
        if tensor.index in taken or b.fixed(name) is not None:
            tensor = b.reshape(tensor, tensor.shape)  # a copy: every port has a tensor of its own
        taken.add(tensor.index)
        outputs[name] = tensor
    contract = replace(spec, content_sha256=content.UNSEALED).to_json()
    return content.seal(b.graph.pack(inputs, outputs, {SPEC_KEY: contract, SUMMARY_KEY: summary}))


def _fitting(program: Program, precision: str, per_channel: bool) -> str:
    """The precision to write, the program's own where "" is given; raises `ExportError` when it does not fit."""
    quantized = any(type(op).__name__.startswith("Q") for op in program.ops)
    known = INTEGER if quantized else FLOAT
    precision = precision or known[0]
    if precision not in PRECISIONS:
        raise ExportError(f"no precision is called `{precision}`", hint=f"there are: {', '.join(PRECISIONS)}")
    if precision not in known and quantized:
        raise ExportError(
            f"`{precision}` is written from a float file; this one is quantized",
            place=program.spec.name,
            hint="export the float file, or choose --precision int8 or int16x8",
        )
    if precision not in known:
        raise ExportError(
            f"`{precision}` is written from a quantized file, with its scales",
            place=program.spec.name,
            hint="first: edgernn quantize MODEL.onnx --calibration DATA -o MODEL.int8.onnx",
        )
    if per_channel and precision != "hybrid8":
        raise ExportError("per-channel weights are a choice of hybrid8 alone", place=program.spec.name)
    return precision


def _contract(program: Program, precision: str) -> StreamSpec:
    """The contract with states as the file has them: a runtime's binding gives no view of a scalar's memory."""
    states = []
    for state in program.spec.states:
        if precision == "int16x8" and state.dtype == "int8":
            wide = state.initial().astype(np.int16) * 256
            state = replace(state, dtype="int16", init=StateSpec.encode(wide))
        states.append(replace(state, shape=state.shape or (1,)))
    return replace(program.spec, states=tuple(states))


def _inputs(b: Builder, spec: StreamSpec) -> dict[str, Tensor]:
    """Tensors of the signature's inputs, which stand for their values."""
    scales = {}
    for op in b.program.ops:
        if isinstance(op, ops.QGRU):
            scales[op.h] = 2.0**-30
        elif isinstance(op, ops.QLSTM):
            scales |= {op.h: 2.0 ** (op.h_exponent - 15), op.c: 2.0 ** (op.cell_exponent - 30)}
        elif isinstance(op, ops.QRNN):
            scales[op.h] = 2.0 ** (op.h_exponent - 15)
    made = {port.name: b.graph.tensor(port.name, port.dtype, port.shape) for port in spec.inputs}
    for state in spec.states:
        unit = {"int8": 1.0, "int16": 1.0}.get(state.dtype)
        if b.program.values[state.input].dtype != state.dtype:
            unit = 1 / 256
        scale = scales.get(state.input, unit)
        made[state.input] = b.graph.tensor(state.input, state.dtype, state.shape, scale)
    if spec.frames_left is not None:
        made[spec.frames_left] = b.graph.tensor(spec.frames_left, "int64", (1,))
    for name, tensor in made.items():
        b.put(name, tensor)
    return made
