"""Batch norm behind a linear layer or a convolution, folded into its weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgernn import ops
from edgernn.program import Op, Program


def fold(program: Program) -> Program:
    """The same program with every `BatchNorm` folded that alone reads a `Linear` or a convolution."""
    outputs = {port.name for port in program.spec.outputs} | {state.output for state in program.spec.states}
    parameters, values, done = dict(program.parameters), dict(program.values), list(program.ops)
    for norm in program.ops:
        if not isinstance(norm, ops.BatchNorm):
            continue
        before = next((op for op in done if norm.x in op.outputs), None)
        readers = sum(norm.x in op.operands for op in done)
        if not isinstance(before, (ops.Linear, ops.Conv1d, ops.Conv2d)) or readers != 1 or norm.x in outputs:
            continue
        if before.weight not in parameters or norm.axis != _channels(before, len(values[norm.x].shape)):
            continue
        scale = 1 / np.sqrt(parameters[norm.variance].astype(np.float64) + norm.eps)
        scale = scale * parameters[norm.weight] if norm.weight else scale
        shift = (parameters[norm.bias] if norm.bias else 0.0) - parameters[norm.mean] * scale
        bias = parameters[before.bias] if before.bias else 0.0
        weight = parameters[before.weight]
        new_weight, new_bias = f"{norm.name}.folded_weight", f"{norm.name}.folded_bias"
        parameters[new_weight] = (weight * scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.float32)
        parameters[new_bias] = (bias * scale + shift).astype(np.float32)
        folded: Op = replace(before, outputs=norm.outputs, weight=new_weight, bias=new_bias)
        done = [folded if op is before else op for op in done if op is not norm]
        del values[norm.x]
    used = {name for op in done for name in op.operands}
    kept = {name: array for name, array in parameters.items() if name in used}
    return Program(program.spec, values, kept, tuple(done))


def _channels(op: Op, rank: int) -> int:
    """The axis of a product's result with an element for each row of its weight."""
    if isinstance(op, ops.Conv2d):
        return 2 if op.over_time else 1
    return rank - 1
