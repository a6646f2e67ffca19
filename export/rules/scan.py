"""`edgernn.nn.Recurrent`: a custom cell, captured as one `scan` node, becomes its own operations of the step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.account import to_numpy
from edgernn.export.nodes import module_path
from edgernn.export.rules import rule
from edgernn.export.symbols import Const, Timed
from edgernn.program import Timing

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator


@rule("scan")
def scan(
    t: Translator, node: fx.Node, body: fx.GraphModule, init: list[Const], xs: list[Timed], extra: list[Const]
) -> tuple[Any, ...]:
    """The cell's operations once per frame of a step; its states are states of the stream."""
    for state in init:
        if not isinstance(state, Const):
            raise UnsupportedError(
                "starts from a state computed from the sequence", hint="return constants from `initial_state`"
            )
    aligned = t.align(xs)
    prepared = [t.whole_steps(x) for x in aligned]
    active = prepared[0][1]
    timing = replace(t.meet([x for x, _ in prepared]), receptive_field=None)
    within = Timing(t.hop, 0, timing.delay, None)  # one frame at a time
    name, path = t.name(node), ".".join(filter(None, (module_path(node), "cell")))
    pairs = [t.state(name, f"s{i}", to_numpy(state.tensor)[None]) for i, state in enumerate(init)]
    current = [Timed(incoming, state.shape, None, within) for (incoming, _), state in zip(pairs, init, strict=True)]
    first = current
    rows: list[list[Timed]] = []
    for index in range(t.frames(timing)):
        frames = [_frame(t, node, x, index, within) for x, _ in prepared]
        results = _call(t, path, body, [*current, *frames, *extra])
        current = [_advance(t, node, result, state) for result, state in zip(results[: len(init)], init, strict=True)]
        rows.append([t.settle(result) for result in results[len(init) :]])
    for old, new, (_, outgoing) in zip(first, current, pairs, strict=True):
        _store(t, node, old, new, outgoing, active)
    shapes = t.shape(node)
    outputs = [_join(t, node, [row[i] for row in rows], shapes[len(init) + i], timing, i) for i in range(len(rows[0]))]
    return (*[None] * len(init), *outputs)


def _frame(t: Translator, node: fx.Node, x: Timed, index: int, within: Timing) -> Timed:
    value = x.value
    if t.frames(x.timing) > 1:
        value = t.add(ops.Slice, t.name(node, "frame"), within, x=x.value, axis=0, start=index, end=index + 1)
    return Timed(value, x.frame, None, within)


def _call(t: Translator, path: str, body: fx.GraphModule, arguments: list[Any]) -> list[Any]:
    outer = t.env, t.within
    placeholders = [inner for inner in body.graph.nodes if inner.op == "placeholder"]
    t.env, t.within = dict(zip(placeholders, arguments, strict=True)), path
    try:
        t.run(body.graph, body)
        result = next(inner for inner in body.graph.nodes if inner.op == "output")
        return list(t.resolve(result.args[0]))
    finally:
        t.env, t.within = outer


def _advance(t: Translator, node: fx.Node, result: Any, state: Const) -> Timed:
    if not isinstance(result, Timed) or result.shape != state.shape:
        raise UnsupportedError(
            f"the cell returns a state of another shape than `initial_state` {list(state.shape)}",
            hint="return each new state with the shape it came with",
        )
    return result


def _store(t: Translator, node: fx.Node, old: Timed, new: Timed, outgoing: str, active: str) -> None:
    """Write the last new state to the state's output, or the old one while the stream has not begun."""
    name = t.name(node, "state")
    if active:
        fields = {"condition": active, "a": new.value, "b": old.value}
        t.builder.add(ops.Where, name, None, (outgoing,), **fields)
    else:
        shape = t.builder.shape(new.value)
        t.builder.add(ops.Reshape, name, None, (outgoing,), x=new.value, shape=shape)


def _join(t: Translator, node: fx.Node, row: list[Timed], shape: tuple[int, ...], timing: Timing, index: int) -> Timed:
    names = tuple(item.value for item in row)
    value = names[0]
    if len(names) > 1:
        value = t.add(ops.Concat, t.name(node, f"y{index}"), timing, parts=names, axis=0)
    return t.symbol(value, shape, 0, timing)
