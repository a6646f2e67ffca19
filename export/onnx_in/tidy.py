"""Fewer operations that mean the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgernn import ops
from edgernn.export.builder import Builder
from edgernn.export.onnx_in.separate import renamed
from edgernn.program import Op


def tidy(builder: Builder, kept: frozenset[str]) -> None:
    """Join reshapes of reshapes, and biases with their products; `kept` are the values that outlive the step."""
    _join_biases(builder, kept)
    _join_reshapes(builder, kept)


def _join_reshapes(b: Builder, kept: frozenset[str]) -> None:
    """A reshape of a reshape is one of what that reads; one to the shape that is there is none."""
    source: dict[str, str] = {}
    same: dict[str, str] = {}
    done: list[Op] = []
    for op in b.ops:
        op = renamed(op, same)
        if isinstance(op, ops.Reshape):
            op = replace(op, x=source.get(op.x, op.x))
            # a value is one of frames or of none: what the two are asked differs, even at one shape
            timed = [b.values[name].timing is None for name in (op.x, op.outputs[0])]
            if b.shape(op.x) == op.shape and timed[0] == timed[1] and op.outputs[0] not in kept:
                same[op.outputs[0]] = op.x
                continue
            source[op.outputs[0]] = op.x
        done.append(op)
    b.ops = done


def _join_biases(b: Builder, kept: frozenset[str]) -> None:
    """`Linear`, perhaps a reshape, and `Binary` add of one number a row of the weight."""
    maker = {name: op for op in b.ops for name in op.outputs}
    readers: dict[str, int] = {}
    for op in b.ops:
        for name in op.operands:
            readers[name] = readers.get(name, 0) + 1
    for index, op in enumerate(b.ops):
        if not isinstance(op, ops.Binary) or op.kind != "add":
            continue
        value, bias = (op.a, op.b) if op.b in b.parameters else (op.b, op.a)
        path = [maker.get(value)]
        if isinstance(path[0], ops.Reshape):
            path.append(maker.get(path[0].x))
        layer = path[-1]
        if bias not in b.parameters or not isinstance(layer, ops.Linear):
            continue
        array, width = b.parameters[bias], b.parameters[layer.weight].shape[0]
        alone = all(item is not None and readers[item.outputs[0]] == 1 for item in path)
        fits = array.size in (1, width) and array.shape[-1:] in ((width,), (1,), ()) and b.shape(value)[-1] == width
        if not alone or not fits or kept.intersection(item.outputs[0] for item in path if item is not None):
            continue
        if array.ndim > len(b.shape(value)):
            continue
        whole = np.broadcast_to(array.reshape(-1), (width,))
        whole = whole if not layer.bias else whole + b.parameters[layer.bias]
        made = replace(layer, bias=b.parameter(f"{layer.name}.bias", np.ascontiguousarray(whole)))
        b.ops[b.ops.index(layer)] = made
        maker[layer.outputs[0]] = made
        b.ops[index] = ops.Reshape(name=op.name, outputs=op.outputs, x=value, shape=b.shape(op.outputs[0]))
