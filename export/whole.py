"""A PyTorch module over whole sequences, given and returned as a stream's frames are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from edgernn.errors import ExportError
from edgernn.program import Array
from edgernn.spec import StreamSpec


class WholeSequence:
    """Calls `module` as a file that was exported from it would be called; `time_axis` is that of all inputs."""

    def __init__(self, module: nn.Module, time_axis: int = 1) -> None:
        self._module, self._axis = module.eval(), time_axis

    def __call__(self, spec: StreamSpec, frames: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs `[frames, …frame]` by the contract's names, for inputs like that.

        Raises `ExportError` when the module returns no such frames.
        """
        given = []
        for source in spec.inputs:
            array = frames[source.name]
            tensor = np.moveaxis(array.reshape(len(array), *source.shape[1:]), 0, self._axis)
            given.append(torch.from_numpy(np.ascontiguousarray(tensor)))
        with torch.no_grad():
            leaves = [leaf.numpy() for leaf in tree_leaves(self._module(*given)) if isinstance(leaf, torch.Tensor)]
        length = len(next(iter(frames.values())))
        results = {}
        for port, leaf in zip(spec.outputs, leaves, strict=False):
            count = 1 if port.newest else port.length(length)
            if leaf.size != count * int(np.prod(port.frame)):
                raise ExportError(f"returns {list(leaf.shape)}, not {count} frames", place=f"output `{port.name}`")
            axis = 0 if port.newest or leaf.shape[self._axis] != count else self._axis
            results[port.name] = np.moveaxis(leaf, axis, 0).reshape(count, *port.frame)
        return results
