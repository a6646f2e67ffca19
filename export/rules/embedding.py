"""Tables of vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import fx

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.rules import rule
from edgernn.export.symbols import Const, Timed

if TYPE_CHECKING:
    from edgernn.export.streaming import Translator


@rule("embedding.default")
def embedding(t: Translator, node: fx.Node, weight: Const | Timed, ids: Timed, *_: Any) -> Timed:
    """Rows of `weight` by index; the arguments behind only concern training."""
    if not isinstance(weight, Const):
        raise UnsupportedError("looks up a table that changes over time")
    ids = t.settle(ids)
    value = t.add(ops.Embedding, t.name(node), ids.timing, ids=ids.value, weight=t.constant(weight))
    return t.result(node, value, ids)
