"""Where a module that cannot be captured goes wrong: the innermost module, and what it did."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Sequence

import torch
from torch import fx, nn
from torch.nn.utils.rnn import PackedSequence

from edgernn.errors import ExportError, UnsupportedError
from edgernn.export.nodes import module_path, op_name

CELLS = {"gru_cell": "GRU", "lstm_cell": "LSTM", "rnn_tanh_cell": "RNN", "rnn_relu_cell": "RNN"}


def failed_module(module: nn.Module, error: Exception) -> str:
    """Path of the innermost module whose code raised the error, as a place; "" for the outermost."""
    names = {id(item): name for name, item in module.named_modules()}
    path = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        path = names.get(id(frame.f_locals.get("self")), path)
    return f"`{path}`" if path else ""


def refuse_packed(module: nn.Module, error: Exception) -> None:
    """Raise `UnsupportedError` when the error comes from packing a batch of padded sequences."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    packing = any(frame.f_code.co_name in ("pack_padded_sequence", "pack_sequence") for frame in frames)
    if packing or any(isinstance(item, PackedSequence) for frame in frames for item in frame.f_locals.values()):
        raise UnsupportedError(
            "takes a PackedSequence",
            place=f"{failed_module(module, error) or '`forward`'}, `pack_padded_sequence`",
            hint="export without packing, `self.rnn(x)`: one sequence at a time has no padding to skip",
        ) from error


def refuse_scripted(module: nn.Module) -> None:
    """Raise `ExportError` for a module that is TorchScript, or has such inside."""
    for name, item in module.named_modules():
        if isinstance(item, torch.jit.ScriptModule):
            raise ExportError(
                "is TorchScript, which `torch.export` does not take",
                place=f"`{name}`" if name else "",
                hint="export the nn.Module, as it was before torch.jit",
            )


def other_floats(module: nn.Module) -> str:
    """A parameter that is no float32, and what it is; "" where there is none."""
    for name, item in module.named_parameters():
        if item.is_floating_point() and item.dtype != torch.float32:
            return f"`{name}` is {item.dtype}"
    return ""


def not_finite(module: nn.Module) -> str:
    """A parameter or buffer with NaN, or a parameter with infinite elements; "" where there is none."""
    for name, item in (*module.named_parameters(), *module.named_buffers()):
        if item.isnan().any():
            return f"`{name}` has NaN"
        if isinstance(item, nn.Parameter) and item.isinf().any():
            return f"`{name}` has infinite elements"
    return ""


def most_repeated(short: Sequence[fx.Node], long: Sequence[fx.Node]) -> tuple[str, str]:
    """The operation that a longer sequence has most more of, as a place; and PyTorch's layer for it, if it is a cell.

    A cell counts before all other operations of the loop, and the innermost module before the others.
    """
    more = Counter((module_path(node), op_name(node).split(".")[0]) for node in long if node.op == "call_function")
    more.subtract((module_path(node), op_name(node).split(".")[0]) for node in short if node.op == "call_function")
    grown = [pair for pair, count in more.items() if count > 0]
    if not grown:
        return "", ""
    path, name = max(grown, key=lambda pair: (pair[1] in CELLS, len(pair[0]), more[pair]))
    return f"`{path or 'forward'}`, `{name}`", CELLS.get(name, "")


def first_line(error: Exception) -> str:
    """An error's kind and the first line of what it says."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"{type(error).__name__}: {lines[0]}"
