"""The library call behind `edgernn export`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgernn.export.capture import capture, describe
from edgernn.export.formats import check_path, check_vectors, encode
from edgernn.export.likeness import check_likeness
from edgernn.export.proof import Proof, prove
from edgernn.export.translate import Label, translate
from edgernn.files import draft
from edgernn.program import Program


@dataclass(frozen=True)
class ExportResult:
    """What an export made: the file, its program, and the proof that both do what the module does."""

    path: Path
    program: Program
    proof: Proof

    def report(self) -> str:
        """A few lines for a person."""
        spec = self.program.spec
        rate = spec.inputs[0].rate_hz
        late = f"{spec.latency} input frames" + (f" ({1000 * spec.latency / rate:g} ms)" if rate else "")
        return "\n".join(
            (
                f"wrote {self.path} ({self.path.stat().st_size} bytes, {len(self.program.ops)} operations,"
                f" {len(spec.states)} states)",
                f"hop {spec.hop}, delay {spec.delay} output frames, latency {late}",
                self.proof.report(),
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
    **options: Any,
) -> ExportResult:
    """Write `module` as a streaming model file, by its suffix, and prove that it does what the module does.

    `module` is an ordinary sequence module; it is exported as in eval mode and left in the mode it was in.
    `example` is a tensor, or a tuple of them, as `module(*example)` takes: float32 or integers, a few dozen frames
    or more, one sequence (of a batch only the first). `time_axis` is the position of time in every input, or one
    entry per input; an input without frames (None) is the initial state of a recurrent layer. `rate_hz` is the rate
    of the input's frames; it, `name`, `model_version`, `labels` and `meta` go into the contract. `options` are those
    of `convert_model`; the proof is then of the file without them.

    Raises `UnsupportedError` with module path, operation and remedy for what cannot stream, `ProofError` when the
    stream differs from the module, `ExportError` for anything else. No file is left then.
    """
    path = Path(path)
    check_path(path, options)
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
        return _write(program, path, lambda file: prove(source, file, places), options)
    finally:
        for item in training:
            item.training = True


def _write(program: Program, path: Path, check: Callable[[Path], Proof], options: Mapping[str, Any]) -> ExportResult:
    """Write, prove what was written, write again with the proof in it, and only then give the file its name."""
    with draft(path) as file:
        file.write_bytes(encode(program, path))
        proof = check(file)
        proved = replace(program, spec=replace(program.spec, proof=proof.as_dict()))
        file.write_bytes(encode(proved, path, **options))
        check_vectors(file)
        if options:
            check_likeness(program, file, options.get("precision", ""))
    return ExportResult(path, proved, proof)


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
