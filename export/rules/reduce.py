"""Reductions over features."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.rules import rule
from edgernn.export.symbols import Timed

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator

KINDS = {"sum": "sum", "mean": "mean", "amax": "max", "amin": "min"}


def _reduce_rule(kind: str) -> Callable[..., Timed]:
    def apply(
        t: Translator, node: fx.Node, x: Timed, dims: list[int] | int | None = None, keepdim: bool = False, **_: Any
    ) -> Timed:
        x = t.settle(x)
        listed = [dims] if isinstance(dims, int) else list(dims or range(len(x.shape)))
        axes = tuple(sorted(x.dim(dim) for dim in listed))
        if 0 in axes:
            raise UnsupportedError(
                f"takes the {kind} over all frames of the sequence",
                hint="take a running one: torch.cumsum over time, or a state: `edgernn.nn.Recurrent(cell)`",
            )
        value = t.add(ops.Reduce, t.name(node), x.timing, x=x.value, kind=kind, axes=axes, keepdims=keepdim)
        return t.result(node, value, x)

    return apply


for _name, _kind in KINDS.items():
    for _overload in ("default", "dim", "dim_IntList"):
        rule(f"{_name}.{_overload}")(_reduce_rule(_kind))
