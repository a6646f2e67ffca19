"""Saved `torch.export` programs (`.pt2`), run at lengths other than the one they were captured at.

A saved graph has the length of its example in its literals. Where a literal only repeats the shape of what comes in
(a reshape, an expansion), it follows from the shapes at run time; a graph that makes something of the example's length
itself can't be told apart from one that means that number, and is refused.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from edgernn.errors import ExportError

RESHAPES = ("aten.view.default", "aten.reshape.default", "aten._unsafe_view.default")
SIZED = ("aten.arange", "aten.zeros", "aten.ones", "aten.full", "aten.rand", "aten.randn", "aten.empty")


def load_saved(path: Path) -> tuple[nn.Module, tuple[Any, ...]]:
    """The module in a `.pt2`, for sequences of any length, and the example it was captured with.

    Raises `ExportError` when the file is no such program, has no example, or hard-wires its length.
    """
    if not path.is_file():
        raise ExportError("no such file", place=str(path))
    try:
        program = torch.export.load(path)
    except Exception as error:
        raise ExportError(f"is no saved torch.export program ({error})", place=str(path)) from None
    if program.example_inputs is None:
        raise ExportError("was saved without its example", place=str(path), hint="save it with its example inputs")
    arguments, named = program.example_inputs
    return SavedModule(program.module(check_guards=False), str(path)), (*arguments, *named.values())


class SavedModule(nn.Module):
    """A saved graph whose reshapes follow the length of what comes in."""

    def __init__(self, graph_module: nn.Module, place: str) -> None:
        super().__init__()
        assert isinstance(graph_module, fx.GraphModule)
        self.saved = graph_module
        self.input_names = [node.name for node in graph_module.graph.nodes if node.op == "placeholder"]
        self._place = place

    def train(self, mode: bool = True) -> SavedModule:
        """A saved graph has its mode in it."""
        return self

    def forward(self, *inputs: Tensor) -> Any:
        """The saved computation."""
        return _AnyLength(self.saved, self._place).run(*inputs)


class _AnyLength(fx.Interpreter):
    def __init__(self, module: fx.GraphModule, place: str) -> None:
        super().__init__(module)
        self._place = place

    def run_node(self, n: fx.Node) -> Any:
        target = str(n.target)
        if target in RESHAPES or target == "aten.expand.default":
            args, kwargs = self.fetch_args_kwargs_from_env(n)
            source = n.args[0]
            assert isinstance(source, fx.Node)
            before, after = _shape(source), _shape(n)
            now = tuple(args[0].shape)
            if before is not None and after is not None and now != before:
                resize = _reshaped if target in RESHAPES else _expanded
                return self.call_function(n.target, (args[0], resize(before, after, now)), kwargs)
        elif target.startswith(SIZED) and self._length_among(n):
            raise ExportError(
                f"`{target.split('.')[1]}` has the example's length as a number",
                place=self._place,
                hint="export from the module itself: `package.module:factory`",
            )
        return super().run_node(n)

    def _length_among(self, node: fx.Node) -> bool:
        """Whether a literal of a node is the length of a captured input that now has another."""
        changed = set()
        assert isinstance(self.module, fx.GraphModule)
        for placeholder in self.module.graph.nodes:
            if placeholder.op == "placeholder" and isinstance(self.env.get(placeholder), Tensor):
                before, now = _shape(placeholder) or (), self.env[placeholder].shape
                changed |= {a for a, b in zip(before, now, strict=False) if a != b}
        found: list[Any] = []
        fx.node.map_aggregate(node.args, found.append)
        return any(item in changed for item in found if isinstance(item, int))


def _shape(node: fx.Node) -> tuple[int, ...] | None:
    value = node.meta.get("val")
    return tuple(int(size) for size in value.shape) if isinstance(value, Tensor) else None


def _reshaped(before: tuple[int, ...], after: tuple[int, ...], now: tuple[int, ...]) -> list[int]:
    """The reshape's result for an input whose one changed axis lies behind as many elements as it did."""
    axis = next(i for i, (a, b) in enumerate(zip(before, now, strict=True)) if a != b)
    ahead = math.prod(before[:axis])
    sizes, passed = list(after), 1
    for index, size in enumerate(after):
        if passed == ahead and size != 1:
            sizes[index] = size * now[axis] // before[axis]
            return sizes
        passed *= size
    return sizes


def _expanded(before: tuple[int, ...], after: tuple[int, ...], now: tuple[int, ...]) -> list[int]:
    missing = len(after) - len(before)
    return [*after[:missing], *(b if a != b else c for a, b, c in zip(before, now, after[missing:], strict=True))]
