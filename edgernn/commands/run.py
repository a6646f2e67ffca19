"""`edgernn run`."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from edgernn.commands.rate import hertz
from edgernn.errors import InputError, StateError
from edgernn.files import write_bytes
from edgernn.runtime import Model, load, recording

Array = npt.NDArray[Any]


@click.command("run")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-i", "--input", "source", required=True, metavar="FILE|-", help="wav, npz or csv file, or - for stdin.")
@click.option("--format", "kind", type=click.Choice(list(recording.RAW_FORMATS)), default="s16le", show_default=True,
              help="Samples on stdin.")  # fmt: skip
@click.option("--rate", type=hertz, metavar="HZ", help="Rate of the frames that come; refused when it is another.")
@click.option("--chunk", type=click.IntRange(1), help="Frames to push at a time.  [default: the hop]")
@click.option("--reset-every", type=click.IntRange(1), metavar="M", help="A fresh state fades in every M frames.")
@click.option("--state-in", type=click.Path(path_type=Path), help="Go on from this saved state.")
@click.option("--state-out", type=click.Path(path_type=Path), help="Save the state behind the last frame; no flush.")
@click.option("--hash", "hashed", is_flag=True, help="Print a SHA-256 of all outputs at the end.")
@click.option("--backend", default="auto", show_default=True, help="What runs the step.")
@click.option("--threads", default=1, show_default=True, help="Threads of a step.")
def command(
    model: Path,
    source: str,
    kind: str,
    rate: float | None,
    chunk: int | None,
    reset_every: int | None,
    state_in: Path | None,
    state_out: Path | None,
    hashed: bool,
    backend: str,
    threads: int,
) -> None:
    """Stream a recording, or stdin, through MODEL; prints one JSON line per output frame."""
    loaded = load(model, backend, threads)
    stream = loaded.stream(rate, reset_every=reset_every)
    if state_in is not None:
        try:
            stream.restore(state_in.read_bytes())
        except OSError as error:
            raise StateError(f"cannot be read ({error.strerror})", place=str(state_in)) from None
    printer = _Printer(loaded, stream.given)
    digest = hashlib.sha256()

    def show(result: Any) -> None:
        outputs = result if isinstance(result, dict) else {loaded.spec.outputs[0].name: result}
        for array in outputs.values():
            digest.update(np.ascontiguousarray(array).tobytes())
        printer.show(outputs)

    try:
        with contextlib.suppress(KeyboardInterrupt):
            for frames in _chunks(loaded, source, kind, chunk or loaded.spec.hop):
                show(stream.push(frames))
        if state_out is not None:
            write_bytes(state_out, stream.save())
        else:
            show(stream.flush())
        if hashed:
            click.echo(json.dumps({"sha256": digest.hexdigest()}))
    except BrokenPipeError:  # whoever read the lines has enough of them
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _chunks(model: Model, source: str, kind: str, size: int) -> Iterator[dict[str, Array]]:
    spec = model.spec
    if source == "-":
        if len(spec.inputs) > 1 or spec.inputs[0].dtype != "float32":
            raise InputError("stdin carries the samples of one float32 input", place=spec.name, hint="give an npz")
        for frames in recording.raw(sys.stdin.buffer, spec.inputs[0], kind, size):
            yield {spec.inputs[0].name: frames}
        return
    arrays = recording.read(Path(source), spec)
    length = max(len(array) for array in arrays.values())
    for start in range(0, length, size):
        yield {name: array[start : start + size] for name, array in arrays.items()}


class _Printer:
    """Prints output frames, numbered since the reset; outputs of several rates get a line each."""

    def __init__(self, model: Model, given: Mapping[str, int]) -> None:
        self._spec = model.spec
        self._next = dict(given)

    def show(self, outputs: dict[str, Array]) -> None:
        for port in self._spec.outputs:
            for frame in outputs[port.name]:
                index = self._next[port.name]
                self._next[port.name] += 1
                line: dict[str, Any] = {"frame": index}
                if port.rate_hz is not None:
                    line["time_s"] = round(index / port.rate_hz, 6)
                line[port.name] = [_plain(item) for item in frame.tolist()] if frame.ndim else _plain(frame.item())
                if self._spec.labels and frame.shape == (len(self._spec.labels),):
                    line["label"] = self._spec.labels[int(np.argmax(frame))]
                click.echo(json.dumps(line))


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if not isinstance(value, float) or np.isfinite(value) else None
