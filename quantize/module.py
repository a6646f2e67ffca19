"""From a PyTorch module, or an ONNX file that others made, to an int8 file in one call."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from edgernn.export import Proof, StepResult, check_path, export_model, export_onnx
from edgernn.quantize.api import QuantizeResult, quantize_model
from edgernn.quantize.data import Source


def quantize_module(
    module: nn.Module,
    example: Tensor | Sequence[Tensor],
    calibration: Source,
    path: str | Path,
    time_axis: int | Sequence[int | None] = 1,
    *,
    name: str | None = None,
    model_version: str = "1",
    labels: Sequence[str] = (),
    rate_hz: float | None = None,
    meta: Mapping[str, str] | None = None,
    train_length: int | None = None,
    mode: str = "stream",
    lookahead: str | int | None = None,
    attention_window: str | int | None = None,
    **options: Any,
) -> tuple[Proof, QuantizeResult]:
    """`export_model` and `quantize_model` in one; the float file, which the proof is of, is not kept.

    `path` ends in `.onnx` or `.ernn`; `options` are those of `quantize_model`. Raises what the two raise; no file is
    left then.
    """
    path = Path(path)
    check_path(path)
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent) as folder:
        exported = export_model(
            module,
            example,
            Path(folder) / "float.onnx",
            time_axis,
            name=name or path.name.split(".")[0],
            model_version=model_version,
            labels=labels,
            rate_hz=rate_hz,
            meta=meta,
            train_length=train_length,
            mode=mode,
            lookahead=lookahead,
            attention_window=attention_window,
        )
        return exported.proof, quantize_model(exported.path, calibration, path, **options)


def quantize_onnx(
    source: str | Path, calibration: Source, path: str | Path, contract: Mapping[str, Any], **options: Any
) -> tuple[StepResult, QuantizeResult]:
    """`export_onnx` with `contract`, its named arguments, and `quantize_model` with `options` in one.

    Raises what the two raise; no file is left then.
    """
    path = Path(path)
    check_path(path)
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent) as folder:
        named = {**contract, "name": contract.get("name") or path.name.split(".")[0]}
        exported = export_onnx(source, Path(folder) / "float.onnx", **named)
        return exported, quantize_model(exported.path, calibration, path, **options)
