"""Asks a microcontroller for its measurement over a serial line; `edgernn targets firmware` builds what answers."""

from __future__ import annotations

import contextlib
import json
import os
import select
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgernn.errors import TargetError
from edgernn.targets.mcu import Vectors, read_vectors

PREFIX = "serial:"
MOST_ANSWER = 4096  # bytes
SECONDS = 120.0  # until a board counts as silent: it runs the test vectors before it answers
BUILD_HINT = "edgernn targets firmware BOARD MODEL.ernn -o bench.elf builds the program that answers"


@dataclass(frozen=True)
class SerialReport:
    """What a microcontroller measured. Times are None where they would mean nothing."""

    target: str
    file: str
    isa: str
    steps: int
    vectors_hash: str  # of the outputs on the file's test vectors, as the file has it
    stream_bytes: int
    stack_bytes: int  # the most since reset
    counter: str  # DWT counts the CPU's cycles; SysTick is all that emulators have, and theirs counts nothing of a CPU
    least_cycles: int
    mean_cycles: float
    most_cycles: int
    clock_mhz: float | None
    mean_us: float | None
    most_us: float | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def report(self) -> str:
        """A few lines for a person."""
        cycles = f"{self.least_cycles:,} to {self.most_cycles:,}, mean {self.mean_cycles:,.0f}, by {self.counter}"
        return "\n".join(
            [
                f"{self.target}: {self.file}, engine {self.isa}, {self.steps:,} steps",
                f"bits    those of the file's maker ({self.vectors_hash})",
                f"ram     {self.stream_bytes:,} bytes of a stream, {self.stack_bytes:,} of the stack at most",
                f"cycles  {cycles}",
                f"time    {self._time}",
            ]
        )

    @property
    def _time(self) -> str:
        if self.mean_us is not None:
            return f"{self.mean_us:,.1f} µs a step, at most {self.most_us:,.1f}, at {self.clock_mhz:g} MHz"
        if self.counter != "DWT":
            return "not known: this counter may be an emulator's"
        return "not known: --clock-mhz says at what the board runs"


def bench_serial(
    target: str, path: Path, steps: int, clock_mhz: float | None = None, seconds: float = SECONDS
) -> SerialReport:
    """Have a board run `steps` steps of the `.ernn` file that its firmware was built of; `target` is `serial:DEV`.

    `clock_mhz` is the board's clock: with it, cycles of the CPU's own counter become times. Raises `TargetError` when
    the line can't be opened, nothing or nonsense comes within `seconds`, the firmware is of another model, or the
    outputs on the file's test vectors are not those of its maker.
    """
    expected = read_vectors(path)
    answer = _ask(target, f"\n{steps}\n".encode(), seconds)  # the first line's end clears what the board had read
    return _checked(answer, target, path, expected, clock_mhz)


def _checked(
    answer: Mapping[str, Any], target: str, path: Path, expected: Vectors, clock_mhz: float | None
) -> SerialReport:
    if "error" in answer:
        raise TargetError(f"its program says: {answer['error']}", place=target)
    try:
        fingerprint, outputs = (int(answer[key], 16) for key in ("fingerprint", "vectors_hash"))
        steps, mean = int(answer["steps"]), answer["total_cycles"] / answer["steps"]
        numbers = {key: int(answer[key]) for key in ("stream_bytes", "stack_bytes", "least_cycles", "most_cycles")}
        isa, counter = str(answer["isa"]), str(answer["counter"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise TargetError(f"answered with something that is no report ({error!r})", place=target) from None
    if fingerprint != expected.fingerprint:
        raise TargetError(f"its firmware is of another model than {path.name}", place=target, hint=BUILD_HINT)
    if outputs != expected.hash:
        raise TargetError(
            f"its outputs on the file's test vectors have the hash {outputs:016x}, not {expected.hash:016x}",
            place=target,
            hint="was the engine compiled with -ffast-math?",
        )
    clock = clock_mhz if counter == "DWT" else None
    return SerialReport(
        target=target,
        file=path.name,
        isa=isa,
        steps=steps,
        vectors_hash=f"{outputs:016x}",
        counter=counter,
        mean_cycles=mean,
        clock_mhz=clock,
        mean_us=None if clock is None else mean / clock,
        most_us=None if clock is None else numbers["most_cycles"] / clock,
        **numbers,
    )


def _ask(target: str, question: bytes, seconds: float) -> dict[str, Any]:
    """The line of JSON that comes back. Raises `TargetError` when none does."""
    heard = b""
    with _opened(target) as line:
        end = time.monotonic() + seconds
        try:
            os.write(line, question)
            while (left := end - time.monotonic()) > 0 and len(heard) < MOST_ANSWER:
                if not select.select([line], [], [], left)[0]:
                    break
                more = os.read(line, MOST_ANSWER)
                if not more:
                    raise TargetError("the line was closed", place=target)
                heard += more
                whole = [part for part in heard.split(b"\n")[:-1] if part.startswith(b"{")]
                if whole:
                    return _parsed(whole[0], target)
        except OSError as error:
            raise TargetError(f"the line broke off ({error.strerror})", place=target) from None
    if heard:
        raise _no_report(heard, target)
    raise TargetError(
        f"nothing came within {seconds:g} s",
        place=target,
        hint=f"reset the board, or ask for fewer --steps; {BUILD_HINT}",
    )


def _parsed(line: bytes, target: str) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(line)
    except ValueError:
        raise _no_report(line, target) from None
    return answer


def _no_report(heard: bytes, target: str) -> TargetError:
    hint = f"is it this board, at 115200 baud? {BUILD_HINT}"
    return TargetError(f"answered with something that is no report: {heard[:80]!r}", place=target, hint=hint)


@contextlib.contextmanager
def _opened(target: str) -> Iterator[int]:
    """The line's descriptor: raw bytes at 115200 baud, 8 bits, no parity; what lies in it from before is dropped."""
    try:
        import termios
        import tty
    except ImportError:
        raise TargetError("serial lines are read on POSIX systems alone", place=target) from None
    path = target.removeprefix(PREFIX)
    try:
        line = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        hint = (
            "a user of serial lines is in the group `dialout`" if isinstance(error, PermissionError) else "ls /dev/tty*"
        )
        raise TargetError(f"cannot be opened ({error.strerror})", place=target, hint=hint) from None
    try:
        try:
            tty.setraw(line)
            settings = termios.tcgetattr(line)
            settings[2] = settings[2] & ~termios.CRTSCTS | termios.CLOCAL | termios.CREAD
            settings[4] = settings[5] = termios.B115200
            termios.tcsetattr(line, termios.TCSANOW, settings)
            termios.tcflush(line, termios.TCIFLUSH)
        except termios.error as error:
            raise TargetError(f"is no serial line ({error.args[1]})", place=target) from None
        yield line
    finally:
        os.close(line)
