"""What a module computes from the length of the sequence alone: indices, positions, masks."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn

from edgernn.export.capture import Captured


class LengthDependent:
    """The nodes of a captured graph that depend on its length and on no input, and their values at both lengths."""

    def __init__(self, captured: Captured) -> None:
        self._captured = captured
        self._constant: set[fx.Node] = set()  # what no input reaches
        self.nodes: set[fx.Node] = set()
        for node in captured.graphs[0].nodes:
            if node.op == "placeholder":
                known = node.name in captured.constants
            else:
                known = node.op != "output" and all(item in self._constant for item in node.all_input_nodes)
            if not known:
                continue
            self._constant.add(node)
            twin = captured.second[node.name]
            own = node.op == "call_function" and literals(node) != literals(twin)
            if own or any(item in self.nodes for item in node.all_input_nodes):
                self.nodes.add(node)

    def values(self, node: fx.Node) -> tuple[Tensor, Tensor]:
        """A node's values at the two captured lengths."""
        first, second = self._values
        return first[node.name], second[self._captured.second[node.name].name]

    @cached_property
    def _values(self) -> tuple[dict[str, Any], dict[str, Any]]:
        names = {node.name for node in self._constant}
        twins = {self._captured.second[name].name for name in names}
        graphs, roots = self._captured.graphs, self._captured.roots
        return (
            _evaluate(graphs[0], roots[0], self._captured.constants, names),
            _evaluate(graphs[1], roots[1], self._captured.twin_constants, twins),
        )


def literals(node: fx.Node) -> Any:
    """A node's arguments but for those that are nodes."""
    return fx.node.map_aggregate((node.args, node.kwargs), lambda item: None if isinstance(item, fx.Node) else item)


def _evaluate(graph: fx.Graph, root: nn.Module, constants: Mapping[str, Tensor], names: set[str]) -> dict[str, Any]:
    """In the graph's order, so that what changes in place is what is read afterwards."""
    values: dict[str, Any] = {}

    def value(item: Any) -> Any:
        return values[item.name] if isinstance(item, fx.Node) else item

    for node in graph.nodes:
        if node.name not in names:
            continue
        if node.op == "placeholder":
            values[node.name] = constants[node.name].clone()
        elif node.op == "get_attr":
            held = operator.attrgetter(str(node.target))(root)
            values[node.name] = held.clone() if isinstance(held, Tensor) else held
        else:
            args, kwargs = fx.node.map_aggregate((node.args, dict(node.kwargs)), value)
            with torch.no_grad():
                values[node.name] = node.target(*args, **kwargs)
    return values
