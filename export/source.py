"""What `edgernn export SRC` names: a factory in a Python module, or a saved `torch.export` program."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgernn.errors import ExportError
from edgernn.export.saved import load_saved
from edgernn.named import named

EXAMPLE_FRAMES = 64  # of an input that is only described
OTHER_FILES = (".tflite", ".pt", ".pth", ".ckpt", ".safetensors", ".h5", ".keras", ".bin", ".c")
_INPUT = re.compile(r"^(?:(?P<name>\w+)=)?(?P<dtype>float32|int64|int32)\[(?P<shape>[\w\s,]+)\]$")


def resolve(source: str, inputs: Sequence[str]) -> tuple[nn.Module, Any, int | list[int | None] | None]:
    """The module, its example, and its time axes where the descriptions name them.

    `source` is `pkg.module:factory` or the path of a `.pt2`; `inputs` describe the example as `float32[1,T,40]`.
    A factory returns the module, or `(module, example)`. Raises `ExportError`.
    """
    module, example = load_module(source)
    if inputs:
        example, axes = describe_inputs(inputs)
        return module, example, axes
    if example is None:
        raise ExportError(
            "the factory returns a module without an example",
            place=source,
            hint="describe its input: `--input 'float32[1,T,40]'`, T marking time",
        )
    return module, example, None


def load_module(source: str) -> tuple[nn.Module, Any]:
    """The module that `source` names, and its example or None. Raises `ExportError`."""
    if ":" not in source and Path(source).suffix in OTHER_FILES:
        raise ExportError(
            "is no file that becomes a model",
            place=source,
            hint="take `package.module:factory`, with `--weights` for a checkpoint, or a .pt2, .onnx or .ernn file"
            "; of a TorchScript file, the nn.Module that it was made from",
        )
    return load_saved(Path(source)) if source.endswith(".pt2") else _called(source)


def describe_inputs(inputs: Sequence[str]) -> tuple[tuple[torch.Tensor, ...], list[int | None]]:
    """Examples and time axes for descriptions such as `float32[1,T,40]`."""
    tensors, axes = [], []
    random = torch.Generator().manual_seed(0)
    for text in inputs:
        found = _INPUT.match(text.strip())
        if found is None:
            raise ExportError(f"`{text}` describes no input", hint="write `float32[1,T,40]`, T marking time")
        words = [word.strip() for word in found["shape"].split(",")]
        marks = [index for index, word in enumerate(words) if word == "T"]
        if len(marks) > 1 or any(word != "T" and not word.isdecimal() for word in words):
            raise ExportError(f"`{text}` describes no input", hint="every axis but one `T` is a number")
        shape = [EXAMPLE_FRAMES if word == "T" else int(word) for word in words]
        if found["dtype"] == "float32":
            tensors.append(torch.randn(shape, generator=random))
        else:
            tensors.append(torch.zeros(shape, dtype=getattr(torch, found["dtype"])))
        axes.append(marks[0] if marks else None)
    return tuple(tensors), axes


def _called(source: str) -> tuple[nn.Module, Any]:
    factory = named(source, "factory", ExportError)
    if not callable(factory):
        hint = "name a function that returns the module, or (module, example)"
        raise ExportError(f"is of type {type(factory).__name__}, not a factory", place=source, hint=hint)
    made = factory if isinstance(factory, nn.Module) else factory()
    module, example = made if isinstance(made, tuple) else (made, None)
    if not isinstance(module, nn.Module):
        raise ExportError(f"returned a {type(module).__name__}, not a module", place=source)
    return module, example
