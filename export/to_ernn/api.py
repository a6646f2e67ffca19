"""Programs into the bytes of a `.ernn` file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgernn import ops
from edgernn.content import UNSEALED, seal
from edgernn.errors import ExportError
from edgernn.export.summary import summarize
from edgernn.export.to_ernn import integers, islands, moving  # noqa: F401  they register their rows
from edgernn.export.to_ernn.builder import Builder
from edgernn.export.to_ernn.format import (
    INPUT,
    NONE,
    OUTPUT,
    STATE,
    Blobs,
    Tables,
    Texts,
    assemble,
    port_record,
    program_record,
)
from edgernn.export.to_ernn.rows import ROWS
from edgernn.export.to_ernn.vectors import SEED, STEPS, vectors_hash
from edgernn.interpret import settled
from edgernn.program import Program
from edgernn.quantize.reference import evaluate
from edgernn.spec import InputSpec, OutputSpec


def pack(programs: Program | Mapping[str, Program]) -> bytes:
    """The file's bytes; equal programs give equal bytes.

    Several programs, by the names that the engine finds them under, share the constants that are equal.
    Raises `ExportError` for what the engine lacks.
    """
    if isinstance(programs, Program):
        programs = {programs.spec.name: programs}
    if not programs:
        raise ExportError("a file holds at least one program")
    blobs, texts = Blobs(), Texts()
    return seal(assemble([tables(name, program, blobs, texts) for name, program in programs.items()], blobs, texts))


def tables(name: str, program: Program, blobs: Blobs, texts: Texts) -> Tables:
    """One program's records; its constants and texts go behind those of the programs before it."""
    spec = replace(program.spec, content_sha256=UNSEALED)
    summary = summarize(program)
    program = settled(program, evaluate)
    b = Builder(program, blobs)
    _open_ports(b)
    for index in range(len(program.ops)):
        op = b.enter(index)
        if type(op) not in ROWS:
            raise ExportError(f"the engine has no {type(op).__name__}", place=op.name)
        ROWS[type(op)](b, op)
    limits = {port.name: _limits(program, port.name, port.dtype) for port in program.spec.inputs}
    ports = _ports(b, texts, limits)
    arena = b.place()
    place = texts.add(name), texts.add(spec.to_json()), texts.add(summary)
    left = NONE if spec.frames_left is None else b.value(spec.frames_left)
    exact = any(type(op).__name__.startswith("Q") for op in program.ops)
    record = program_record(
        place,
        (len(spec.inputs), len(spec.outputs), len(spec.states)),
        (len(spec.inputs) + len(spec.outputs) + len(spec.states), len(b.slots), len(b.words), b.nodes),
        (left, spec.hop, int(exact), STEPS),
        arena,
        (SEED, vectors_hash(program, limits, evaluate)),
    )
    return Tables(record, ports, b.value_records(), b.node_records())


def _open_ports(b: Builder) -> None:
    spec = b.program.spec
    ports: tuple[InputSpec | OutputSpec, ...] = (*spec.inputs, *spec.outputs)
    for port in ports:
        if len(port.shape) > 8:
            raise ExportError(f"`{port.name}` has more than 8 axes")
    for source in spec.inputs:
        b.port(source.name, source.dtype, source.shape)
    for state in spec.states:
        b.port(state.input, state.dtype, state.shape)
    if spec.frames_left is not None:
        b.port(spec.frames_left, "int64", ())


def _ports(b: Builder, texts: Texts, limits: dict[str, tuple[float, float]]) -> bytes:
    spec, records = b.program.spec, []
    kept = {b.value(name) for name in (*(i.name for i in spec.inputs), *(s.input for s in spec.states))}
    for source in spec.inputs:
        name = texts.add(source.name)
        records.append(port_record(INPUT, b.value(source.name), name, source.shape, limits=limits[source.name]))
    for output in spec.outputs:
        value = b.value(output.name)
        if value in kept:  # it would change, or could be written, before it is read
            count = b.slots[value].count
            copied = b.new(output.dtype, count)
            b.copy(value, copied, [count], [1], [1])
            value = copied
        if b.slots[value].blob == NONE:
            b.pin(value)
        timing = (output.period, output.offset, output.delay, output.group, output.extra)
        records.append(port_record(OUTPUT, value, texts.add(output.name), output.shape, timing=timing))
    following_of = {state.input: b.value(state.output) for state in spec.states}  # the last values: initial states
    for state in spec.states:  # come behind them
        value, following = b.value(state.input), following_of[state.input]
        if following != value and b.slots[following].blob == NONE:
            b.slots[following].dies = 1 << 40  # it is copied behind the last node
        initial = state.initial()
        init = b.blobs.add(initial.tobytes()) if np.any(initial.view(np.uint8) if initial.ndim else initial) else NONE
        name = texts.add(state.input)
        records.append(port_record(STATE, value, name, state.shape, following=following, init=init))
    return b"".join(records)


def _limits(program: Program, name: str, dtype: str) -> tuple[float, float]:
    """Range of an input's test vectors: indices stay inside the smallest table that they reach."""
    if dtype == "float32":
        return -1.0, 1.0
    names, most = {name}, 1 << 20
    for op in program.ops:
        if isinstance(op, (ops.Reshape, ops.Cast, ops.Transpose, ops.Slice, ops.Expand)) and op.x in names:
            names |= set(op.outputs)
        if isinstance(op, ops.Embedding) and op.ids in names:
            most = min(most, program.parameters[op.weight].shape[0] - 1)
    return 0.0, float(most if most < 1 << 20 else 1)
