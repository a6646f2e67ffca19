"""The library call behind `edgernn export` of an ONNX file that others made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgernn.errors import ExportError
from edgernn.export.api import ExportResult, write_proved
from edgernn.export.formats import check_path
from edgernn.export.modes import check_rate
from edgernn.export.onnx_in import Step, StepOptions, has_contract, read_model, read_step
from edgernn.export.onnx_in.original import prove_step
from edgernn.export.translate import Label
from edgernn.program import Array
from edgernn.spec import OFFLINE, STREAM


@dataclass(frozen=True)
class StepResult(ExportResult):
    """What an export of a file made, and how the file was understood."""

    step: Step

    def report(self) -> str:
        """A few lines for a person."""
        return "\n".join(filter(None, (self.found(), super().report())))

    def found(self) -> str:
        """A line for each state of the file."""
        return "\n".join(f"state `{pair.input}` comes back as `{pair.output}` ({pair.how})" for pair in self.step.pairs)


def export_onnx(
    source: str | Path,
    path: str | Path,
    *,
    states: Mapping[str, str] | None = None,
    held: Mapping[str, str | Array] | None = None,
    inputs: Sequence[str] = (),
    time_axis: int | None = None,
    context: int = 0,
    mode: str = STREAM,
    name: str | None = None,
    model_version: str = "1",
    labels: Sequence[str] = (),
    rate_hz: float | None = None,
    meta: Mapping[str, str] | None = None,
    train_length: int | None = None,
    **options: Any,
) -> StepResult:
    """Write a streaming ONNX file that others made as a model file of ours, and prove that both give the same.

    One run of `source` is one step; its states are inputs that come back as outputs, and start at zero. They are
    found by their names, by the graph and by their shapes; `states` (input → output, or "" for none) goes before
    that. `held` gives inputs one value for all steps: an array, or a number as text for all elements. `inputs`
    describe axes that the file leaves open, as `name=float32[1,1,40]`: an open axis has one element otherwise.

    A run takes one frame, which is the whole tensor without its axes of one element. With `time_axis`, it takes as
    many frames as the tensor has on that axis; the first `context` of them are the newest of the run before, which
    the stream then keeps. `mode` is `stream`, or `offline` for a file that takes whole sequences. The others are as
    in `export_model`.

    Raises `UnsupportedError` with node and operation for what has no streaming form, `ProofError` when the stream
    differs from the file, `ExportError` for anything else. No file is left then.
    """
    source, path = Path(source), Path(path)
    check_path(path, options)
    check_rate(rate_hz)
    if mode not in (STREAM, OFFLINE):
        raise ExportError(f"a file has no mode `{mode}`", hint="modes: stream, offline")
    model = read_model(source)
    if has_contract(model):
        raise ExportError("is a file of edgernn's already", place=str(source), hint="convert it: convert_model")
    if path.exists() and path.samefile(source):
        raise ExportError("would be written over its source", place=str(path), hint="give -o another name")
    label = Label(
        name=name or path.name.split(".")[0],
        model_version=model_version,
        labels=labels,
        rate_hz=rate_hz,
        meta=meta or {},
        train_length=train_length,
    )
    asked = StepOptions(
        states=states or {}, held=held or {}, inputs=inputs, time_axis=time_axis, context=context, mode=mode
    )
    step = read_step(model, label, asked, str(source))
    made = write_proved(step.program, path, lambda file: (prove_step(step, file), None), options)
    return StepResult(made.path, made.program, made.proof, step)
