"""Decoders, language models, and encoder-decoders as one package of programs that share weights.

A decoder is written as in training: `forward(tokens, *start) -> logits` over the tokens of a sequence, or with
attention as a step, `step(token, memory, length, *state) -> (logits, *state)`. Each program is proved on its own, from
a random start, before the package is written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from edgernn.errors import ExportError, ModelFileError
from edgernn.export.api import ExportResult, in_eval_mode, write_proved
from edgernn.export.capture import capture, describe
from edgernn.export.formats import check_path, check_vectors, encode
from edgernn.export.modes import Reach, parse_modes
from edgernn.export.onnx_in import read_program
from edgernn.export.proof import prove
from edgernn.export.translate import Label, translate
from edgernn.export.windows import translate_windows
from edgernn.files import draft, write_bytes, write_folder
from edgernn.package import DECODER, ENCODER, INDEX, files_in, index_of
from edgernn.program import Program
from edgernn.spec import STREAM, DecodingSpec, OutputSpec, StartSpec, StateSpec

_SEED = 20260


@dataclass(frozen=True)
class PackageResult:
    """What an export made: the package, its programs by name, and how each was proved."""

    path: Path
    programs: Mapping[str, Program]

    def report(self) -> str:
        """A few lines for a person."""
        lines = [f"wrote {self.path} ({size_of(self.path)} bytes)"]
        for name, program in self.programs.items():
            proof = program.spec.proof
            lines.append(
                f"{name}: {len(program.ops)} operations, {len(program.spec.states)} states,"
                f" proved on {proof['frames']} frames, largest error {proof['max_error']:.1e}"
            )
        return "\n".join(lines)


def export_decoder(
    decoder: nn.Module, tokens: Tensor, path: str | Path, decoding: DecodingSpec, *, labels: Sequence[str] = ()
) -> ExportResult:
    """Write a language model: one program, the last token in, logits of the next one out.

    `decoder` is `forward(tokens) -> logits`, int64 `[1, T]` to `[1, T, vocabulary]`; `tokens` is an example. Of
    `decoding` the caller gives tokens and maxima, the names are filled in; `labels` name the tokens. Raises as
    `export_model`.
    """
    path = Path(path)
    check_path(path)
    with in_eval_mode(decoder):
        made = _decoder(decoder, tokens, decoding, labels, (), None, "", path)
    return made


def export_package(
    encoder: nn.Module,
    inputs: Tensor,
    decoder: nn.Module,
    tokens: Tensor,
    path: str | Path,
    decoding: DecodingSpec,
    *,
    time_axis: int = 1,
    mode: str = STREAM,
    max_memory: int = 64,
    labels: Sequence[str] = (),
    rate_hz: float | None = None,
) -> PackageResult:
    """Write an encoder and a decoder as one package: a `.ernn` file, or a folder of ONNX files with `package.json`.

    `encoder(inputs)` returns what the decoder starts from, in the order of its arguments: final states of recurrent
    layers, or whatever has no time axis. In front of them, for a decoder with a `step`, stands the memory `[1, T,
    features]`, of which the decoder sees at most `max_memory` frames, filled up with zeros. `mode` is the encoder's,
    as of `export_model`. `tokens` `[1, T]` is a sequence as the decoder saw it in training; `decoding` holds tokens and
    maxima; `labels` name the tokens. Raises as `export_model`; nothing is left then.
    """
    path = Path(path)
    check_package_path(path)
    suffix = path.suffix or ".onnx"
    with ExitStack() as stack:
        stack.enter_context(in_eval_mode(encoder))
        stack.enter_context(in_eval_mode(decoder))
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        first = _encoder(encoder, inputs, home / f"{ENCODER}{suffix}", time_axis, mode, rate_hz).program
        with torch.no_grad():
            results = tree_leaves(encoder(inputs[:1]))
        outputs = list(first.spec.outputs)
        if len(outputs) != len(results):
            raise ExportError("returns an output twice", place="the encoder")
        memory = None
        if _steps(decoder):
            memory, *results = results
            port, *outputs = outputs
            if port.newest or memory.ndim != 3:
                raise ExportError("returns no memory [1, T, features] first", place="the encoder")
            decoding = replace(decoding, frames=port.name)
            memory = memory.new_zeros(max_memory, memory.shape[2])
        for port in outputs:
            if not port.newest:
                raise ExportError(
                    f"returns frames, `{port.name}`, for a decoder to start from",
                    place="the encoder",
                    hint="return its final state; a decoder that attends has `step(token, memory, length, *state)`",
                )
        starts = tuple(zip(results, outputs, strict=True))
        decoder_file = home / f"{DECODER}{suffix}"
        second = _decoder(decoder, tokens, decoding, labels, starts, memory, DECODER, decoder_file).program
    programs = {ENCODER: first, DECODER: second}
    write_package(programs, path)
    return PackageResult(path, programs)


def write_package(programs: Mapping[str, Program], path: str | Path) -> None:
    """Write programs by name as one package, and test what has test vectors. Nothing half-written is left."""
    path = Path(path)
    if path.suffix == ".ernn":
        from edgernn.export.to_ernn import pack  # it needs the reference, whose package needs this one

        with draft(path) as file:
            file.write_bytes(pack(programs))
            for name in programs:
                check_vectors(file, name)
        return
    files = {f"{name}.onnx": encode(program, path / f"{name}.onnx") for name, program in programs.items()}
    write_folder(path, {**files, INDEX: index_of(programs)})


def read_package(folder: str | Path) -> dict[str, Program]:
    """The programs of a package's folder of ONNX files, by name. Raises `ModelFileError` for what is none."""
    folder = Path(folder)
    if not (folder / INDEX).is_file():
        raise ModelFileError(
            "is no folder of a package", place=str(folder), hint="export the package to a folder first"
        )
    return {name: read_program(file) for name, file in files_in(folder).items()}


def convert_package(folder: str | Path, path: str | Path) -> PackageResult:
    """Write a package's folder of ONNX files, float or int8, as one `.ernn` file or as another folder.

    Raises `ModelFileError` for what is no package, and as `write_package`.
    """
    path = Path(path)
    check_package_path(path)
    programs = read_package(folder)
    write_package(programs, path)
    return PackageResult(path, programs)


def check_package_path(path: Path) -> None:
    """Raise `ExportError` for a path that no package can be written to."""
    if path.suffix not in ("", ".ernn"):
        raise ExportError("a package is a .ernn file, or a folder of .onnx files", place=str(path))
    if path.suffix:
        check_path(path)


def size_of(path: Path) -> int:
    """Bytes of a package."""
    return sum(file.stat().st_size for file in path.iterdir()) if path.is_dir() else path.stat().st_size


def _encoder(
    encoder: nn.Module, inputs: Tensor, path: Path, time_axis: int, mode: str, rate_hz: float | None
) -> ExportResult:
    source = describe(encoder, inputs[:1], time_axis)
    window, _ = parse_modes(mode, None, None, source.length, rate_hz)
    label = Label(name=ENCODER, rate_hz=rate_hz)
    if window is not None:
        program, windowed, places = translate_windows(source, window, label)
        return write_proved(program, path, lambda file: (prove(windowed, file, places), None), {})
    program, places, _ = translate(capture(source), label, Reach(), final_states=True)
    return write_proved(program, path, lambda file: (prove(source, file, places), None), {})


def _decoder(
    decoder: nn.Module,
    tokens: Tensor,
    decoding: DecodingSpec,
    labels: Sequence[str],
    starts: Sequence[tuple[Tensor, OutputSpec]],
    memory: Tensor | None,
    name: str,
    path: Path,
) -> ExportResult:
    """Proved from random starts, by which the states are known that take them; written to start from zeros."""
    random = torch.Generator().manual_seed(_SEED)
    drawn = [torch.rand(start.shape, generator=random) - 0.5 for start, _ in starts]
    tokens, module = tokens[:1], decoder
    example, axes = [tokens], [1]
    if memory is not None:
        module = _Stepped(decoder)
        length = torch.randint(1, len(memory) + 1, tokens.shape, generator=random)
        example += [torch.randn(1, tokens.shape[1], *memory.shape, generator=random), length]
        axes += [1, 1]
    source = describe(module, (*example, *drawn), [*axes, *[None] * len(drawn)])
    label = Label(name=name or path.name.split(".")[0], labels=labels)
    program, places, _ = translate(capture(source), label, Reach())
    inputs = [port.name for port in program.spec.inputs]
    room, count = inputs[1:] or (None, None)
    found, states = _started(program, drawn, [port for _, port in starts])
    logits = program.spec.outputs[0].name
    loop = replace(decoding, token=inputs[0], logits=logits, memory=room, length=count, starts=found)
    program = replace(program, spec=replace(program.spec, decoding=loop))
    made = write_proved(program, path, lambda file: (prove(source, file, places), None), {})
    zeroed = replace(made.program, spec=replace(made.program.spec, states=states))
    if starts:
        write_bytes(path, encode(zeroed, path))
    return replace(made, program=zeroed)


def _started(
    program: Program, drawn: Sequence[Tensor], ports: Sequence[OutputSpec]
) -> tuple[tuple[StartSpec, ...], tuple[StateSpec, ...]]:
    """The states whose initial values are pieces of those drawn at random, and all states with zeros in their place."""
    found, states, taken = [], [], 0
    for state in program.spec.states:
        initial = state.initial().reshape(-1)
        for tensor, port in zip(drawn, ports, strict=True):
            pieces = tensor.numpy().reshape(-1, initial.size) if tensor.numel() % max(1, initial.size) == 0 else ()
            for index, piece in enumerate(pieces):
                if initial.size and initial.dtype == piece.dtype and np.array_equal(piece, initial):
                    found.append(StartSpec(state=state.input, output=port.name, offset=index * initial.size))
                    state = replace(state, init=0.0)
                    taken += initial.size
        states.append(state)
    if taken != sum(tensor.numel() for tensor in drawn):
        raise ExportError(
            "does not start from all that the encoder returns", place="the decoder", hint="return its states only"
        )
    return tuple(found), tuple(states)


def _steps(decoder: nn.Module) -> bool:
    return callable(getattr(decoder, "step", None))


class _Stepped(nn.Module):
    """A decoder's `step` over the tokens of a sequence, with the memory beside each of them."""

    def __init__(self, decoder: Any) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, token: Tensor, memory: Tensor, length: Tensor, *start: Tensor) -> Tensor:
        """token, length `[1, T]`, memory `[1, T, frames, features]`, start `[1, …]` to logits `[1, T, vocabulary]`."""
        if torch.compiler.is_exporting():
            from torch._higher_order_ops.scan import scan

            def advance(carried: list[Tensor], frame: tuple[Tensor, ...]) -> tuple[list[Tensor], Tensor]:
                logits, *new = self.decoder.step(*frame, *carried)
                return [item.clone() for item in new], logits.clone()

            _, rows = scan(advance, list(start), tuple(x.movedim(1, 0) for x in (token, memory, length)))
            result: Tensor = rows.movedim(0, 1)
            return result
        state, found = list(start), []
        for frame in zip(token.unbind(1), memory.unbind(1), length.unbind(1), strict=True):
            logits, *state = self.decoder.step(*frame, *state)
            found.append(logits)
        return torch.stack(found, 1)
