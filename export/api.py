"""The library call behind `edgernn export`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgernn.errors import ExportError
from edgernn.export.capture import capture, describe
from edgernn.export.formats import check_path, check_vectors, encode
from edgernn.export.likeness import check_likeness
from edgernn.export.modes import parse_modes
from edgernn.export.proof import Proof, prove
from edgernn.export.translate import Label, translate
from edgernn.export.warmup import measure_warmup
from edgernn.export.windows import translate_windows
from edgernn.files import draft
from edgernn.nn import limited_attention
from edgernn.nn import lookahead as look_ahead
from edgernn.program import Program
from edgernn.spec import STREAM, StreamSpec


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
    train_length: int | None = None,
    mode: str = STREAM,
    lookahead: str | int | None = None,
    attention_window: str | int | None = None,
    **options: Any,
) -> ExportResult:
    """Write `module` as a streaming model file, by its suffix, and prove that it does what the module does.

    `module` is an ordinary sequence module; it is exported as in eval mode and left in the mode it was in.
    `example` is a tensor, or a tuple of them, as `module(*example)` takes: float32 or integers, a few dozen frames
    or more, one sequence (of a batch only the first). `time_axis` is the position of time in every input, or one
    entry per input; an input without frames (None) is the initial state of a recurrent layer. `rate_hz` is the rate
    of the input's frames, `train_length` how many of them the sequences had that the module was trained on; both,
    `name`, `model_version`, `labels` and `meta` go into the contract. `options` are those of `convert_model`; the
    proof is then of the file without them.

    `mode` is `stream`; `window:N` or `window:N/SLIDE`, where the module sees N frames as a whole and starts anew with
    each window; or `offline`, one window as long as the example. With `lookahead` (frames of the layer, `16`; with
    the size of a block, `16/4`; or a time, `320ms`), bidirectional layers run their backward half over so much of the
    future only (`edgernn.nn.lookahead` has the definition). With `attention_window` (`64`; or `64/8`, with 8 frames of
    the future where the module sees them), each frame attends to so many of the newest frames, itself one of them
    (`edgernn.nn.limited_attention`). docs/streaming.md has more of all three.

    Raises `UnsupportedError` with module path, operation and remedy for what cannot stream, `ProofError` when the
    stream differs from the module, `ExportError` for anything else. No file is left then.
    """
    path = Path(path)
    check_path(path, options)
    with in_eval_mode(module):
        source = describe(module, one_sequence(example, time_axis), time_axis)
        window, reach = parse_modes(mode, lookahead, attention_window, source.length, rate_hz)
        label = Label(
            name=name or path.name.split(".")[0],
            model_version=model_version,
            labels=labels,
            rate_hz=rate_hz,
            meta=meta or {},
            train_length=train_length,
        )
        if window is not None:
            program, windowed, places = translate_windows(source, window, label)
            return write_proved(
                program, path, lambda file: (prove(windowed, file, places), program.spec.warmup), options
            )
        program, places, limited = translate(capture(source), label, reach)
        with look_ahead(module, limited.looked), limited_attention(module, limited.windowed):
            return write_proved(
                program, path, lambda file: (prove(source, file, places), measure_warmup(source, file)), options
            )


@contextmanager
def in_eval_mode(module: nn.Module) -> Iterator[None]:
    """`module` in eval mode within the block, and as it was behind it."""
    training = [item for item in module.modules() if item.training]
    module.eval()
    try:
        yield
    finally:
        for item in training:
            item.training = True


def write_proved(
    program: Program, path: Path, check: Callable[[Path], tuple[Proof, int | None]], options: Mapping[str, Any]
) -> ExportResult:
    """Write, prove what was written, write again with what was found, and only then give the file its name.

    `check` gives the proof of a file and the stream's warm-up in frames, None where it is not known.
    """
    _check_labels(program.spec)
    with draft(path) as file:
        file.write_bytes(encode(program, path))
        proof, warmup = check(file)
        proved = replace(program, spec=replace(program.spec, proof=proof.as_dict(), warmup=warmup))
        file.write_bytes(encode(proved, path, **options))
        check_vectors(file)
        if options:
            check_likeness(program, file, options.get("precision", ""))
    return ExportResult(path, proved, proof)


def _check_labels(spec: StreamSpec) -> None:
    """Raise `ExportError` unless the labels, if any, name the features of an output, or a decoder's first tokens."""
    features = {port.name: port.frame[-1] if port.frame else 1 for port in spec.outputs}
    given = len(spec.labels)
    if spec.decoding is not None:
        tokens = features[spec.decoding.logits]
        if given > tokens:
            raise ExportError(f"{given} labels for {tokens} tokens", hint="labels name the tokens, in their order")
    elif given and given not in features.values():
        found = ", ".join(f"{count} of `{name}`" for name, count in features.items())
        raise ExportError(
            f"{given} labels for the output's features, {found}", hint="give one for each feature, in their order"
        )


def one_sequence(
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
