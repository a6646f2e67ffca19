"""Operations that change nothing in eval mode, and picking one of several results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import fx

from edgernn.errors import UnsupportedError
from edgernn.export.rules import rule
from edgernn.export.symbols import Timed

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator


@rule(
    "alias.default",
    "clone.default",
    "contiguous.default",
    "detach.default",
    "detach_.default",
    "lift_fresh_copy.default",
    "resolve_conj.default",
    complex=True,
)
def same(t: Translator, node: fx.Node, x: Timed, *_: Any, **__: Any) -> Timed:
    """x; or x cut to fit, which in whole steps is nothing to PyTorch."""
    if x.axis is None or x.complex or node.name not in t.captured.odd:
        return x
    return t.cut(node, x, 0, 0)


@rule("dropout.default", "feature_dropout.default", "alpha_dropout.default")
def dropout(t: Translator, node: fx.Node, x: Timed, p: float, train: bool) -> Timed:
    """x: dropout is off in eval mode."""
    if train and p > 0:
        raise UnsupportedError("dropout is on", hint="export in eval mode")
    return x


@rule("getitem", complex=True)
def getitem(t: Translator, node: fx.Node, items: Any, index: int) -> Any:
    """One of several results."""
    return items[index]
