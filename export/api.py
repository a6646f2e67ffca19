"""The library call behind `edgernn export`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgernn.errors import ExportError
from edgernn.export.capture import capture, describe
from edgernn.export.proof import Proof, prove
from edgernn.export.to_onnx import to_onnx
from edgernn.export.translate import Label, translate
from edgernn.program import Program

SUFFIXES = (".onnx",)


@dataclass(frozen=True)
class ExportResult:
    """What an export made: the file, its program, and the proof that both do what the module does."""

    path: Path
    program: Program
    proof: Proof

    def report(self) -> str:
        """A few lines for a person."""
        spec, proof = self.program.spec, self.proof
        rate = spec.inputs[0].rate_hz
        late = f"{spec.latency} input frames" + (f" ({1000 * spec.latency / rate:g} ms)" if rate else "")
        return "\n".join(
            (
                f"wrote {self.path} ({self.path.stat().st_size} bytes, {len(self.program.ops)} operations,"
                f" {len(spec.states)} states)",
                f"hop {spec.hop}, delay {spec.delay} output frames, latency {late}",
                f"proved on {proof.frames} frames in {proof.pieces} pieces of {len(proof.lengths)} sequences:"
                f" largest error {proof.max_error:.1e} of the largest magnitude",
            )
        )


def export_model(
    module: nn.Module,
    example: torch.Tensor | Sequence[torch.Tensor],
    path: str | Path,
    time_axis: int | Sequence[int | None] = 1,
    *,
    name: str | None = None,
    model_version: str = "1",
    labels: Sequence[str] = (),
    rate_hz: float | None = None,
    meta: Mapping[str, str] | None = None,
) -> ExportResult:
    """Write `module` as a streaming ONNX file, and prove that the stream does what the module does.

    `module` is an ordinary sequence module; it is exported as in eval mode and left in the mode it was in.
    `example` is a tensor, or a tuple of them, as `module(*example)` takes: float32 or integers, a few dozen frames
    or more, one sequence (of a batch only the first). `time_axis` is the position of time in every input, or one
    entry per input; an input without frames (None) is the initial state of a recurrent layer. `rate_hz` is the rate
    of the input's frames; it, `name`, `model_version`, `labels` and `meta` go into the contract.

    Raises `UnsupportedError` with module path, operation and remedy for what cannot stream, `ProofError` when the
    stream differs from the module, `ExportError` for anything else. No file is left then.
    """
    path = Path(path)
    _check_path(path)
    training = [item for item in module.modules() if item.training]
    module.eval()
    try:
        source = describe(module, _first_sequence(example, time_axis), time_axis)
        captured = capture(source)
        label = Label(
            name=name or path.name.split(".")[0],
            model_version=model_version,
            labels=labels,
            rate_hz=rate_hz,
            meta=meta or {},
        )
        program, places = translate(captured, label)
        return _write(program, path, lambda draft: prove(source, draft, places))
    finally:
        for item in training:
            item.training = True


def _write(program: Program, path: Path, check: Any) -> ExportResult:
    """Write, prove what was written, write again with the proof in it, and only then give the file its name."""
    handle, temporary = tempfile.mkstemp(suffix=path.suffix, prefix=f".{path.stem}-", dir=path.parent)
    os.close(handle)
    draft = Path(temporary)
    try:
        draft.write_bytes(to_onnx(program))
        proof: Proof = check(draft)
        proved = replace(program, spec=replace(program.spec, proof=proof.as_dict()))
        draft.write_bytes(to_onnx(proved))
        draft.chmod(0o644)
        draft.replace(path)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()
    return ExportResult(path, proved, proof)


def _check_path(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise ExportError(f"`{path.suffix}` is no format of edgernn's", place=str(path), hint="write a .onnx file")
    if not path.parent.is_dir():
        raise ExportError("its folder does not exist", place=str(path))
    if path.is_dir():
        raise ExportError("is a folder", place=str(path))


def _first_sequence(
    example: torch.Tensor | Sequence[torch.Tensor], time_axis: int | Sequence[int | None]
) -> torch.Tensor | Sequence[torch.Tensor]:
    """The example with one sequence of its batch, where time is behind a batch axis."""
    if isinstance(example, torch.Tensor):
        axis = time_axis if isinstance(time_axis, int) else time_axis[0]
        return example[:1] if axis is not None and axis % example.ndim > 0 else example
    axes = [time_axis] * len(example) if isinstance(time_axis, int) else time_axis
    return tuple(
        tensor[:1] if isinstance(tensor, torch.Tensor) and axis is not None and tensor.ndim > axis > 0 else tensor
        for tensor, axis in zip(example, axes, strict=False)
    )
