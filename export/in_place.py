"""Operations that change a value in place: the value's name stands for the result from then on.

`torch.export` keeps `x.relu_()` and `x -= y` as they are. A value that is a view of another changes that one too,
which a program of values cannot say: where the other one is used later, it is refused.
"""

from __future__ import annotations

from torch import fx

from edgernn.errors import UnsupportedError
from edgernn.export.nodes import op_name

VIEWS = frozenset(
    (
        *("alias", "chunk", "detach", "expand", "flatten", "getitem", "mT", "movedim", "numpy_T", "permute", "reshape"),
        *(
            "select",
            "slice",
            "split",
            "split_with_sizes",
            "squeeze",
            "swapaxes",
            "t",
            "transpose",
            "unbind",
            "unflatten",
        ),
        *("unsqueeze", "view", "view_as_complex", "view_as_real", "real", "imag"),
    )
)


def out_of_place(name: str) -> str | None:
    """The operation that gives what an in-place one leaves; None for one that changes nothing."""
    kind, _, overload = name.partition(".")
    if not kind.endswith("_") or kind.startswith("_"):
        return None
    return f"{kind[:-1]}.{overload}"


def refuse_shared(node: fx.Node) -> None:
    """Raise `UnsupportedError` where what an in-place operation changes is a part of a value that is used later."""
    order = {item: index for index, item in enumerate(node.graph.nodes)}
    changed = node.args[0]
    while isinstance(changed, fx.Node) and op_name(changed).split(".")[0] in VIEWS:
        base = changed.args[0]
        if not isinstance(base, fx.Node):
            break
        if any(order[user] > order[node] for user in base.users):
            raise UnsupportedError("changes a part of a value in place", hint="write it out of place: `y = x * 2`")
        changed = base
