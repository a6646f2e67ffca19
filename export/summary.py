"""What `inspect` prints of a file's nodes, so that a device needs no ONNX library to show it."""

from __future__ import annotations

import json

from edgernn.program import Program, volume


def summarize(program: Program) -> str:
    """JSON list, one entry per operation: name, op, inputs, shape, params, macs and parameter bytes of one step.

    A parameter that several operations share counts for the first of them.
    """
    rows, counted = [], set[str]()
    for op in program.ops:
        names = [name for name in program.parameter_operands(op) if name not in counted]
        counted.update(names)
        parameters = [program.parameters[name] for name in names]
        rows.append(
            {
                "name": op.name,
                "op": type(op).__name__,
                "inputs": [name for name in op.operands if name in program.values],
                "shape": list(program.values[op.outputs[0]].shape),
                "params": sum(volume(array.shape) for array in parameters),
                "macs": op.macs(*(program.type_of(name) for name in op.operands)),
                "bytes": sum(int(array.nbytes) for array in parameters),
            }
        )
    return json.dumps(rows, sort_keys=True, separators=(",", ":"))
