"""Branches and loops. What they depend on must be known, so that none is left in the stream."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgernn.errors import UnsupportedError
from edgernn.export.onnx_in.layout import counted
from edgernn.export.onnx_in.reader import Reader, known
from edgernn.export.onnx_in.registry import reads
from edgernn.export.onnx_in.symbols import Known, Node, Symbol

_MOST = 4_096  # rounds of a loop that is written out


@reads("If")
def if_(r: Reader, node: Node) -> Sequence[Symbol]:
    """The branch that is known to be taken; where it is computed, both, and a choice between their results."""
    condition = node.inputs[0]
    assert condition is not None
    then, other = node.attributes["then_branch"], node.attributes["else_branch"]
    if isinstance(condition, Known):
        return r.run(then if bool(condition.array.reshape(())) else other, node.attributes["env"])
    results = []
    for a, b in zip(*(r.run(graph, node.attributes["env"]) for graph in (then, other)), strict=True):
        if a.shape != b.shape:
            raise UnsupportedError(f"gives {list(a.shape)} or {list(b.shape)}", hint="--set what it decides by")
        results.append(r.where(condition, a, b))
    return results


@reads("Loop")
def loop(r: Reader, node: Node) -> Sequence[Symbol]:
    """Written out, round by round; the body must decide by what is known."""
    body, env = node.attributes["body"], node.attributes["env"]
    limit, condition, *carried = node.inputs
    rounds = int(known(limit, "a number of rounds").reshape(())) if limit is not None else _MOST
    goes_on = condition is None or bool(known(condition, "a condition").reshape(()))
    names = [item.name for item in body.input]
    state = [item for item in carried if item is not None]
    rows: list[list[Symbol]] = [[] for _ in range(len(body.output) - 1 - len(state))]
    index = 0
    while goes_on and index < rounds:
        if index == _MOST:
            raise UnsupportedError(f"runs more than {_MOST} rounds")
        given = [Known(np.asarray(index, np.int64)), Known(np.array(True)), *state]
        again, *results = r.run(body, env | dict(zip(names, given, strict=True)))
        goes_on = bool(known(again, "a condition").reshape(()))
        state = results[: len(state)]
        for row, result in zip(rows, results[len(state) :], strict=True):
            row.append(result)
        index += 1
    return [*state, *(_stacked(r, row, 0) for row in rows)]


@reads("Scan")
def scan(r: Reader, node: Node) -> Sequence[Symbol]:
    """Written out over the elements of its axes."""
    body, attributes = node.attributes["body"], node.attributes
    if node.opset < 9:
        raise UnsupportedError("is of the form before opset 9")
    count = attributes["num_scan_inputs"]
    operands = [item for item in node.inputs if item is not None]
    state, lines = operands[: len(operands) - count], operands[len(operands) - count :]
    axes = [
        counted(a, len(x.shape)) for a, x in zip(attributes.get("scan_input_axes") or (0,) * count, lines, strict=True)
    ]
    backward = attributes.get("scan_input_directions") or (0,) * count
    made = len(body.output) - len(state)
    rows: list[list[Symbol]] = [[] for _ in range(made)]
    rounds = lines[0].shape[axes[0]]
    for index in range(rounds):
        given = list(state)
        for x, axis, back in zip(lines, axes, backward, strict=True):
            place = rounds - 1 - index if back else index
            one = r.slice(x, axis, place, place + 1)
            given.append(r.reshape(one, [size for a, size in enumerate(x.shape) if a != axis]))
        env = attributes["env"] | dict(zip((item.name for item in body.input), given, strict=True))
        results = r.run(body, env)
        state = results[: len(state)]
        for row, result in zip(rows, results[len(state) :], strict=True):
            row.append(result)
    placed = attributes.get("scan_output_axes") or (0,) * made
    turned = attributes.get("scan_output_directions") or (0,) * made
    ends = [_stacked(r, row[::-1] if back else row, axis) for row, axis, back in zip(rows, placed, turned, strict=True)]
    return [*state, *ends]


def _stacked(r: Reader, row: list[Symbol], axis: int) -> Symbol:
    if not row:
        raise UnsupportedError("gives an empty value: it runs no round")
    axis = counted(axis, len(row[0].shape) + 1)
    return r.concat([r.reshape(x, (*x.shape[:axis], 1, *x.shape[axis:])) for x in row], axis)
