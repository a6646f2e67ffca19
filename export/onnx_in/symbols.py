"""What a name of an ONNX graph stands for while it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgernn.program import Array

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Known:
    """A value that is the same in every step."""

    array: Array

    @property
    def shape(self) -> Shape:
        """The ONNX tensor's shape."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> str:
        """Its element type."""
        return str(self.array.dtype)


@dataclass(frozen=True)
class Given:
    """A value of the step. In the program it is `[1, *shape]`: each step is one frame of the ONNX tensor."""

    value: str
    dtype: str
    shape: Shape


Symbol = Known | Given


@dataclass(frozen=True)
class Node:
    """One operation of an ONNX graph with its operands; None stands for one that was left out."""

    op_type: str
    name: str
    inputs: tuple[Symbol | None, ...]
    outputs: tuple[str, ...]  # "" for a result that nobody asked for
    attributes: Mapping[str, Any]
    opset: int

    def input(self, index: int) -> Symbol | None:
        """An operand, or None where the node has fewer."""
        return self.inputs[index] if index < len(self.inputs) else None

    def wants(self, index: int) -> bool:
        """Whether a result has a name."""
        return index < len(self.outputs) and bool(self.outputs[index])
