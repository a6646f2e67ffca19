"""The model files that are written, by their suffix: from a `Program`, and from one another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import edgernn
from edgernn.errors import ExportError
from edgernn.export.onnx_in import read_program
from edgernn.export.to_onnx import to_onnx
from edgernn.files import draft
from edgernn.program import Program

SUFFIXES = (".onnx", ".ernn")


@dataclass(frozen=True)
class ConvertResult:
    """What a conversion made, and the instruction sets that its test vectors ran on."""

    path: Path
    program: Program
    tested: tuple[str, ...]

    def report(self) -> str:
        """A few lines for a person."""
        return (
            f"wrote {self.path} ({self.path.stat().st_size} bytes)\n"
            f"its test vectors give the reference's outputs, bit for bit, on {', '.join(self.tested)}"
        )


def convert_model(source: str | Path, path: str | Path) -> ConvertResult:
    """Write the model file `source` (.onnx) in another format, `path` (.ernn), and run its test vectors.

    Raises `ExportError` for a format that is not known or an operation that it lacks, `ModelFileError` for a source
    that can't be read. No file is left then.
    """
    source, path = Path(source), Path(path)
    check_path(path)
    program = read_program(source)
    if path.suffix == source.suffix:
        raise ExportError(
            f"is a {path.suffix} file already",
            place=str(source),
            hint="--calibration, or `edgernn quantize`, makes it int8",
        )
    return ConvertResult(path, program, write_model(path, encode(program, path)))


def check_path(path: Path) -> None:
    """Raise `ExportError` unless a model file can be written there, as far as one can tell beforehand."""
    if path.suffix not in SUFFIXES:
        known = " or ".join(SUFFIXES)
        raise ExportError(f"`{path.suffix}` is no format of edgernn's", place=str(path), hint=f"write a {known} file")
    if not path.parent.is_dir():
        raise ExportError("its folder does not exist", place=str(path))
    if path.is_dir():
        raise ExportError("is a folder", place=str(path))


def encode(program: Program, path: Path) -> bytes:
    """The bytes of a program in the format of the path's suffix."""
    if path.suffix == ".ernn":
        from edgernn.export.to_ernn import pack  # it needs the reference, whose package needs this one

        return pack(program)
    return to_onnx(program)


def write_model(path: Path, data: bytes) -> tuple[str, ...]:
    """Write a file and run the test vectors that are in it. Gives the instruction sets that they ran on.

    Raises `ExportError` when the outputs are not the reference's; no file is left then.
    """
    with draft(path) as file:
        file.write_bytes(data)
        return check_vectors(file)


def check_vectors(file: Path) -> tuple[str, ...]:
    """The instruction sets on which a file's test vectors give the reference's outputs: all usable, or it raises."""
    if file.suffix != ".ernn":
        return ()
    results = edgernn.load(file).selftest()
    wrong = [isa for isa, same in results.items() if not same]
    if wrong:
        raise ExportError(
            f"the engine's outputs are not the reference's on {', '.join(wrong)}",
            hint="this is a defect of edgernn: please report it with the model",
        )
    return tuple(results)
