"""The model files that are written, by their suffix: from a `Program`, and from one another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edgernn
from edgernn.errors import ExportError, MissingExtraError
from edgernn.export.likeness import check_likeness
from edgernn.export.onnx_in import read_program
from edgernn.export.to_onnx import to_onnx
from edgernn.files import draft
from edgernn.program import Program

Encoder = Callable[..., bytes]


@dataclass(frozen=True)
class ConvertResult:
    """What a conversion made, and how it was tested.

    An .ernn has test vectors: `tested` are the instruction sets they ran on. Of another file `snr_db` tells by output
    how near it is to the program, over random input.
    """

    path: Path
    program: Program
    tested: tuple[str, ...] = ()
    snr_db: Mapping[str, float] | None = None

    def report(self) -> str:
        """A few lines for a person."""
        size = f"wrote {self.path} ({self.path.stat().st_size} bytes)"
        if self.snr_db is None:
            return f"{size}\nits test vectors give the reference's outputs, bit for bit, on {', '.join(self.tested)}"
        figures = ", ".join(f"`{name}` {db:.1f} dB" for name, db in self.snr_db.items())
        return f"{size}\nSNR against its source, over random input: {figures}"


def convert_model(source: str | Path, path: str | Path, **options: Any) -> ConvertResult:
    """Write the model file `source` (.onnx) in another format, `path` (.ernn, .tflite), and test what was written.

    `options` are the format's: of .tflite `precision` and `per_channel`, see `to_tflite`. Raises `ExportError` for a
    format or option that is not known, or an operation that the format lacks, `ModelFileError` for a source that
    can't be read, `ProofError` for a file that gives something else than its source. No file is left then.
    """
    source, path = Path(source), Path(path)
    check_path(path, options)
    program = read_program(source)
    if path.suffix == source.suffix:
        raise ExportError(
            f"is a {path.suffix} file already",
            place=str(source),
            hint="--calibration, or `edgernn quantize`, makes it int8",
        )
    data = encode(program, path, **options)
    if path.suffix == ".ernn":
        return ConvertResult(path, program, write_model(path, data))
    with draft(path) as file:
        file.write_bytes(data)
        return ConvertResult(path, program, snr_db=check_likeness(program, file, options.get("precision", "")))


def check_path(path: Path, options: Mapping[str, Any] | None = None) -> None:
    """Raise `ExportError` unless a model file can be written there so, as far as one can tell beforehand."""
    if path.suffix not in SUFFIXES:
        known = " or ".join(SUFFIXES)
        raise ExportError(f"`{path.suffix}` is no format of edgernn's", place=str(path), hint=f"write a {known} file")
    for option in options or ():
        if path.suffix != ".tflite":
            raise ExportError(f"a {path.suffix} file has no option `{option}`", place=str(path))
    if not path.parent.is_dir():
        raise ExportError("its folder does not exist", place=str(path))
    if path.is_dir():
        raise ExportError("is a folder", place=str(path))


def encode(program: Program, path: Path, **options: Any) -> bytes:
    """The bytes of a program in the format of the path's suffix."""
    return _ENCODERS[path.suffix](program, **options)


def _ernn(program: Program) -> bytes:
    from edgernn.export.to_ernn import pack  # it needs the reference, whose package needs this one

    return pack(program)


def _tflite(program: Program, **options: Any) -> bytes:
    try:
        from edgernn.export.to_tflite import to_tflite  # as above
    except ImportError as error:
        raise MissingExtraError(
            f"`{error.name}` is not installed", place="writing .tflite", hint="pip install 'edgernn[litert]'"
        ) from error
    return to_tflite(program, **options)


_ENCODERS: dict[str, Encoder] = {".onnx": to_onnx, ".ernn": _ernn, ".tflite": _tflite}
SUFFIXES = tuple(_ENCODERS)


def write_model(path: Path, data: bytes, program: Program | None = None) -> tuple[str, ...]:
    """Write a file and run the test vectors that are in it. Gives the instruction sets that they ran on.

    A .tflite has none: it is run against `program`. Raises `ExportError` when the outputs are not the reference's,
    `ProofError` when they are too far from the program's; no file is left then.
    """
    with draft(path) as file:
        file.write_bytes(data)
        if path.suffix == ".tflite" and program is not None:
            check_likeness(program, file, "")
        return check_vectors(file)


def check_vectors(file: Path, program: str | None = None) -> tuple[str, ...]:
    """The instruction sets on which a program's test vectors give the reference's outputs: all usable, or it raises."""
    if file.suffix != ".ernn":
        return ()
    results = edgernn.load(file, program=program).selftest()
    wrong = [isa for isa, same in results.items() if not same]
    if wrong:
        raise ExportError(
            f"the engine's outputs are not the reference's on {', '.join(wrong)}",
            hint="this is a defect of edgernn: please report it with the model",
        )
    return tuple(results)
