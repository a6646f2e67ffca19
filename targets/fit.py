"""Whether a model fits into a board's memory."""

from __future__ import annotations

from dataclasses import dataclass

from edgernn.errors import TargetError
from edgernn.runtime import Model
from edgernn.targets.board import Board

STACK_BYTES = 12 << 10  # more than any step took on the emulated microcontrollers: tests/test_c_export.py


@dataclass(frozen=True)
class Fit:
    """Bytes that a model takes, and that the board has; None where it has none of that kind."""

    board: str
    flash_bytes: int | None  # the model file and the engine, where both lie in flash
    flash: int | None
    ram_bytes: int  # one stream and the stack; without flash the model file and the engine too
    ram: int
    fits: bool

    def report(self) -> str:
        """A few lines for a person."""
        lines = [f"{self.board}: {'fits' if self.fits else 'does not fit'}"]
        if self.flash is not None and self.flash_bytes is not None:
            lines.append(f"flash  {self.flash_bytes:,} of {self.flash:,} bytes: the model and the engine")
        what = "a stream and the stack" if self.flash is not None else "the model, a stream and the stack"
        lines.append(f"ram    {self.ram_bytes:,} of {self.ram:,} bytes: {what}, at most")
        return "\n".join(lines)


def fit_on(board: Board, model: Model) -> Fit:
    """Compare a `.ernn` model's needs with a board's memory.

    A stream's bytes are those of 64-bit pointers, so at most what a microcontroller needs. Raises `TargetError` when
    the board names no memory, or the model is of another format.
    """
    if model.backend != "engine":
        raise TargetError("the engine alone runs on boards", place=model.path, hint="convert it to .ernn")
    memory = board.memory
    if memory.ram is None:
        raise TargetError("its file names no `ram`", place=board.name)
    file, stream = int(model.details["file_bytes"]), int(model.details["stream_bytes"])
    engine = board.build.engine_bytes if board.build is not None else None
    if memory.flash is None:
        ram = file + stream + STACK_BYTES
        return Fit(board.name, None, None, ram, memory.ram, ram <= memory.ram)
    flash, ram = file + (engine or 0), stream + STACK_BYTES
    return Fit(board.name, flash, memory.flash, ram, memory.ram, flash <= memory.flash and ram <= memory.ram)
