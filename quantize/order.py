"""In which order a program's operations run over whole sequences: one by one, or together where states tie them."""

from __future__ import annotations

from edgernn import ops
from edgernn.ops.cell import Cell
from edgernn.program import Op, Program

RUNNING = (ops.CumSum, ops.CumMax, ops.RunningMean)  # one state, the newest frame's result
CARRYING = (*RUNNING, ops.History, ops.CountSteps)  # what takes its own states through a whole sequence, beside cells


def units(program: Program) -> list[tuple[Op, ...]]:
    """The operations in an order to run them in: one by one, or together where states of no single one tie them.

    An operation that reads a state depends on what wrote it a step before; what depends on itself so must go step by
    step. These are the strongly connected components of that graph, which Tarjan's algorithm (1972) finds in order.
    """
    maker = {name: index for index, op in enumerate(program.ops) for name in op.outputs}
    pairs = {state.input: state.output for state in program.spec.states}
    before = []
    for op in program.ops:
        own = isinstance(op, (Cell, *CARRYING))
        names = (pairs.get(name, name) if not own else name for name in op.operands)
        before.append([maker[name] for name in names if name in maker])
    return [tuple(program.ops[index] for index in sorted(found)) for found in _components(before)]


def _components(before: list[list[int]]) -> list[list[int]]:
    """Strongly connected components of a graph of predecessors, those that others depend on first."""
    number: dict[int, int] = {}
    low: dict[int, int] = {}
    open_: list[int] = []
    waiting: set[int] = set()
    found: list[list[int]] = []
    for root in range(len(before)):
        calls = [] if root in number else [(root, iter(before[root]))]
        while calls:
            node, rest = calls[-1]
            if node not in number:
                number[node] = low[node] = len(number)
                open_.append(node)
                waiting.add(node)
            following = next(rest, None)
            if following is not None:
                if following not in number:
                    calls.append((following, iter(before[following])))
                elif following in waiting:
                    low[node] = min(low[node], number[following])
                continue
            calls.pop()
            if calls:
                low[calls[-1][0]] = min(low[calls[-1][0]], low[node])
            if low[node] == number[node]:
                cut = open_.index(node)
                found.append(open_[cut:])
                waiting.difference_update(open_[cut:])
                del open_[cut:]
    return found
