"""What a node of a captured graph is, and which module made it."""

from __future__ import annotations

from typing import Any

from torch import fx


def module_path(node: fx.Node) -> str:
    """Path of the innermost module a node comes from, "" for the outermost."""
    stack = node.meta.get("nn_module_stack") or {}
    entry = list(stack.values())[-1] if stack else ("",)
    return str(entry[0])


def place_of(node: fx.Node) -> str:
    """A node as the place of an error: its module's path and its operation."""
    return f"`{module_path(node) or 'forward'}`, `{op_name(node).split('.')[0]}`"


def op_name(node: fx.Node) -> str:
    """The operation of a node, as `conv1d.default`."""
    target = str(node.target)
    return (
        target.removeprefix("aten.") if not callable(node.target) or target.startswith("aten.") else _name(node.target)
    )


def bidirectional_over(node: fx.Node) -> int | None:
    """The axis that a bidirectional recurrent layer runs over; None for all other nodes."""
    if op_name(node) not in ("gru.input", "lstm.input", "rnn_tanh.input", "rnn_relu.input"):
        return None
    bidirectional, batch_first = node.args[-2:]
    return (1 if batch_first else 0) if bidirectional else None


def _name(target: Any) -> str:
    return str(getattr(target, "__name__", target))
