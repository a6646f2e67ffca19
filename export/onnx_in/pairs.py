"""Which outputs of a step go in again as inputs of the next one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgernn.errors import ExportError
from edgernn.export.onnx_in.symbols import Shape

GIVEN, BY_NAME, BY_GRAPH, BY_SHAPE = "as told", "by name", "by the graph", "by shape"
# words that tell the old state from the new one and nothing else
_DIRECTIONS = frozenset(
    [
        "in",
        "out",
        "input",
        "output",
        "new",
        "next",
        "prev",
        "previous",
        "past",
        "present",
        "old",
        "cur",
        "current",
        "n",
        "init",
        "initial",
        "0",
        "updated",
        "update",
    ]
)
_CELLS = {"hn": "h", "cn": "c", "h0": "h", "c0": "c"}


@dataclass(frozen=True)
class Port:
    """An input or output of the file."""

    name: str
    dtype: str
    shape: Shape


@dataclass(frozen=True)
class Pair:
    """A state: names of its input and output, and how it was found."""

    input: str
    output: str
    how: str


def find_pairs(
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    given: Mapping[str, str],
    linked: Callable[[str, str], bool],
) -> list[Pair]:
    """The states of a file: those that are given, else by name, by the graph, or by shape, in this order.

    `linked` tells whether the graph carries an input to an output as a state. The first input and the first output
    are the signal, unless `given` says otherwise; an input given with "" is no state. Raises `ExportError` for a given
    pair that does not fit, and where an input may be the state of several outputs.
    """
    starts, ends = {port.name: port for port in inputs}, {port.name: port for port in outputs}
    pairs: list[Pair] = []
    for start, end in given.items():
        for name, known in ((start, starts), (end, ends)):
            if name and name not in known:
                raise ExportError(f"has no `{name}`", place="--state", hint=f"there are: {', '.join(known)}")
        if not end:
            continue
        if not _alike(starts[start], ends[end]):
            a, b = starts[start], ends[end]
            raise ExportError(
                f"`{start}` is {a.dtype} {list(a.shape)} and `{end}` {b.dtype} {list(b.shape)}", place="--state"
            )
        pairs.append(Pair(start, end, GIVEN))
    tests: tuple[tuple[str, Callable[[Port, Port], bool]], ...] = (
        (BY_NAME, lambda a, b: bool(_key(a.name)) and _key(a.name) == _key(b.name)),
        (BY_GRAPH, lambda a, b: linked(a.name, b.name)),
        (BY_SHAPE, lambda a, b: a is not inputs[0] and b is not outputs[0]),
    )
    for how, test in tests:
        taken = {pair.input for pair in pairs} | {pair.output for pair in pairs} | given.keys()
        free = [a for a in inputs if a.name not in taken], [b for b in outputs if b.name not in taken]
        fits = {
            (a.name, b.name)
            for a in free[0]
            for b in free[1]
            if _alike(a, b) and (a, b) != (inputs[0], outputs[0]) and test(a, b)
        }
        for start, end in sorted(fits):
            if sum(start == other for other, _ in fits) == 1 and sum(end == other for _, other in fits) == 1:
                pairs.append(Pair(start, end, how))
            elif how == BY_SHAPE:
                several = sorted(other for name, other in fits if name == start)
                raise ExportError(
                    f"may be the state that comes back as {' or '.join(f'`{other}`' for other in several)}",
                    place=f"input `{start}`",
                    hint=f"say which: --state {start}={end}; or that it is none: --state {start}=",
                )
    order = [port.name for port in inputs]
    return sorted(pairs, key=lambda pair: order.index(pair.input))


def _alike(a: Port, b: Port) -> bool:
    return (a.dtype, a.shape) == (b.dtype, b.shape)


def _key(name: str) -> tuple[str, ...]:
    """A name's words without those that tell old from new."""
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", re.sub(r"([hc])([0n])\b", r"\1 \2", name))]
    return tuple(_CELLS.get(word, word) for word in words if word not in _DIRECTIONS)
