"""Quantize a package: the encoder on its inputs, the decoder on the tokens that should come out of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgernn.errors import CalibrationError, QuantizeError
from edgernn.export import read_package, write_package
from edgernn.package import DECODER, ENCODER
from edgernn.program import Array, Program
from edgernn.quantize.api import make_options, quantized
from edgernn.quantize.data import Sequences, check_calibration, read_pairs, read_sequences
from edgernn.quantize.fold import fold
from edgernn.quantize.report import Report
from edgernn.quantize.whole import output_frames, padded, run_whole
from edgernn.spec import DecodingSpec


@dataclass(frozen=True)
class QuantizedPackage:
    """What a quantization made: the package, its programs by name, and what each cost."""

    path: Path
    programs: Mapping[str, Program]
    reports: Mapping[str, Report]


def quantize_package(
    folder: str | Path,
    calibration: str | Iterable[tuple[npt.ArrayLike, Sequence[int]]],
    path: str | Path,
    *,
    exclude: Sequence[str] = (),
    strict: bool = False,
    **choices: Any,
) -> QuantizedPackage:
    """Write the int8 form of a package of ONNX files, as such a folder or as `.ernn`.

    `calibration` holds pairs: an input of the encoder, `[frames, …frame]`, and the tokens that belong to it, without
    start token; the decoder is shown them whatever it would have chosen itself (teacher forcing), from the float
    encoder's states and memory. `pkg.module:name` names such pairs, or a function that gives them. `choices` are those
    of `quantize_model`, by name: `activation_type` and so on; so is `strict`, and `exclude` are patterns of names as
    there, with the program's in front: `decoder:logits`. Raises as `quantize_model`, and `ModelFileError` for what is
    no package.
    """
    folder, path = Path(folder), Path(path)
    options = make_options(**choices)
    for pattern in exclude:
        if pattern.partition(":")[0] not in (ENCODER, DECODER):
            raise QuantizeError(f"`{pattern}` excludes nothing", hint=f"write `{ENCODER}:…` or `{DECODER}:…`")
    programs = {name: fold(program) for name, program in read_package(folder).items()}
    encoder, decoder = programs[ENCODER], programs[DECODER]
    pairs = read_pairs(calibration)
    given = read_sequences([x for x, _ in pairs], encoder.spec)
    outputs = [_outputs(encoder, item) for item in given.items]
    forced = _forced(decoder, [tokens for _, tokens in pairs], outputs)
    made: dict[str, Program] = {}
    reports: dict[str, Report] = {}
    for name, sequences in ((ENCODER, given), (DECODER, forced)):
        check_calibration(sequences, programs[name].spec, name)
        patterns = [pattern.partition(":")[2] for pattern in exclude if pattern.startswith(f"{name}:")]
        made[name], reports[name] = quantized(
            programs[name], sequences, options, patterns, strict=strict, place=f"{folder}, {name}"
        )
    write_package(made, path)
    return QuantizedPackage(path, made, reports)


def _outputs(encoder: Program, item: Mapping[str, Array]) -> dict[str, Array]:
    inputs, length = padded(encoder.spec, item)
    values = run_whole(encoder, inputs, length=length)
    return {port.name: output_frames(values, port, length) for port in encoder.spec.outputs}


def _forced(decoder: Program, tokens: Sequence[Sequence[int]], outputs: Sequence[Mapping[str, Array]]) -> Sequences:
    loop = decoder.spec.decoding
    if loop is None:
        raise CalibrationError("is no decoder", place=decoder.spec.name)
    first = [] if loop.start_token is None else [loop.start_token]
    items: list[dict[str, Array]] = []
    for line, given in zip(tokens, outputs, strict=True):
        column = np.array([*first, *line], np.int64)
        items.append({loop.token: column, **_held(decoder, loop, given, len(column))})
    found = read_sequences(items, decoder.spec)
    return Sequences(found.items, found.lengths, [], list(outputs))


def _held(decoder: Program, loop: DecodingSpec, given: Mapping[str, Array], steps: int) -> dict[str, Array]:
    """The memory and its length beside each token."""
    if loop.memory is None or loop.length is None or loop.frames is None:
        return {}
    frames = given[loop.frames]
    room = next(port.frame for port in decoder.spec.inputs if port.name == loop.memory)
    if len(frames) > room[0]:
        raise CalibrationError(f"has {len(frames)} frames; the memory has room for {room[0]}", place=ENCODER)
    memory = np.zeros(room, np.float32)
    memory[: len(frames)] = frames
    return {
        loop.memory: np.broadcast_to(memory, (steps, *room)),
        loop.length: np.full(steps, len(frames), np.int64),
    }
