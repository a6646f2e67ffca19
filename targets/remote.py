"""Measures on boards over the system's own `ssh`, which knows the user's hosts, keys and jumps, or over `adb`.

What runs there is the static `ernn_bench`, or `edgernn bench` of the device's wheel under the board's Python. Nothing
is installed on a board. One connection carries everything: its input the program and the models, its output the result.
They lie in a temporary folder, which a shell on the board removes when the run ends, however it ends: the end of its
input tells it that nobody is left to listen.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from edgernn.errors import InputError, MissingExtraError, TargetError
from edgernn.targets.board import Board, find_board
from edgernn.targets.build import HERE, build_runner
from edgernn.targets.on_board import CANNOT_RUN, LACKING
from edgernn.targets.wheel import platform_wheel, wheel_tag

Runtime = Literal["static", "python"]
SSH = "EDGERNN_SSH"  # in the environment: another command than `ssh`
ADB = "EDGERNN_ADB"  # in the environment: another command than `adb`
ADB_PREFIX = "adb:"
ADB_FOLDER = "/data/local/tmp"  # where programs may be run
OPTIONS = ("-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=10")
NO_CONNECTION = 255  # ssh's own status
NO_ROOM, CUT_OFF = 74, 75  # the script's
NOT_FOUND, ILLEGAL_INSTRUCTION = 127, 132  # a shell's
# the board whose runner suits a machine, by its `uname -m`
MACHINES = {"aarch64": "pi-4", "armv6l": "pi-zero", "armv7l": "pi-2", "armv8l": "pi-2", "x86_64": "x86-64"}
# and by Android's `ro.product.cpu.abi`: its kernel runs the static programs for Linux
ABIS = {"arm64-v8a": "pi-4", "armeabi-v7a": "pi-2", "x86_64": "x86-64"}


@dataclass(frozen=True)
class RemoteReport:
    """What one board answered: a report of `edgernn bench --json`."""

    target: str
    board: str
    report: dict[str, Any]


def bench_remotely(
    targets: Sequence[str],
    files: Sequence[Path],
    options: Sequence[str] = (),
    board: str | None = None,
    runtime: Runtime = "static",
) -> list[RemoteReport]:
    """Measure `.ernn` files on every target, all at once.

    A target is `user@host`, a name of the user's ssh configuration, or `adb:SERIAL`, a device that `adb devices` lists.

    `options` are those of `ernn_bench`. `board` says what the targets are; otherwise each is asked for its kind of
    CPU. `runtime` is what runs there: the static program, or the device's wheel under the board's `python3`, which
    must have numpy and click. Raises `TargetError` for a target that can't be reached, or on which the program fails;
    and whatever happens, nothing is left on a target.
    """
    for file in files:
        if file.suffix != ".ernn" or not file.is_file():
            raise InputError("boards take .ernn files", place=str(file), hint="edgernn export model.onnx -o model.ernn")
    for target in targets:
        if target.removeprefix(ADB_PREFIX).startswith("-") or not target.removeprefix(ADB_PREFIX).strip():
            raise TargetError(f"`{target}` is no host")
    chosen = None if board is None else find_board(board)
    connections = _Connections()
    with ThreadPoolExecutor(max_workers=len(targets)) as pool:
        try:
            jobs = [pool.submit(_bench, target, files, options, chosen, runtime, connections) for target in targets]
            return [job.result() for job in jobs]
        finally:  # of a failure, or Ctrl-C: the others end too, and the boards see the end of their input
            connections.end()


class _Connections:
    """The processes that talk to the targets, so that they can be ended together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[subprocess.Popen[bytes]] = []
        self._ended = False

    def start(self, words: Sequence[str], talk: IO[bytes]) -> subprocess.Popen[bytes]:
        """A process, which is ended at once when the others have been."""
        with self._lock:
            process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=talk)
            self._open.append(process)
            if self._ended:
                process.terminate()
            return process

    def end(self) -> None:
        """End those that run."""
        with self._lock:
            self._ended = True
            for process in self._open:
                process.terminate()


def _bench(
    target: str,
    files: Sequence[Path],
    options: Sequence[str],
    board: Board | None,
    runtime: Runtime,
    connections: _Connections,
) -> RemoteReport:
    board = board or _board_of(target, connections)
    names = [file.name for file in files]
    if runtime == "static":
        programs = {"ernn_bench": (build_runner(board) / "ernn_bench").read_bytes()}
        words = ["./ernn_bench", *names, *options]
    else:
        wheel, data = platform_wheel(wheel_tag(board))
        programs = {wheel: data, "on_board.py": (HERE / "on_board.py").read_bytes()}
        further = [word for name in names[1:] for word in ("--against", name)]
        words = ["python3", "on_board.py", wheel, "bench", names[0], *further, *options, "--json"]
    archive = _packed(programs, files)
    command = " ".join(f'"{word}"' for word in words)  # file names are checked: see `_packed`
    lines = (HERE / "on_board.sh").read_text("utf-8").splitlines()
    script = " ".join(line for line in lines if not line.startswith("#"))
    script = script.replace("SIZE", str(len(archive))).replace("COMMAND", command)
    room = f"TMPDIR={ADB_FOLDER} " if target.startswith(ADB_PREFIX) else ""
    output = _run(target, f"{room}exec sh -c {shlex.quote(script)}", archive, connections)
    try:
        report = json.loads(output)
    except ValueError:
        raise TargetError(f"answered with something that is no report: {output[:200]!r}", place=target) from None
    return RemoteReport(target, board.name, report)


def _board_of(target: str, connections: _Connections) -> Board:
    android = target.startswith(ADB_PREFIX)
    known, question = (ABIS, "getprop ro.product.cpu.abi") if android else (MACHINES, "uname -m")
    machine = _run(target, question, b"", connections).decode(errors="replace").strip()
    if machine not in known:
        raise TargetError(f"is a `{machine}`, for which there is no runner", place=target, hint="name it: --board")
    return find_board(known[machine])


def _packed(programs: Mapping[str, bytes], files: Sequence[Path]) -> bytes:
    """An uncompressed archive of flat names."""
    names = [file.name for file in files]
    odd = next((name for name in names if not name.isascii() or any(c in "\"'`$\\!" or c < " " for c in name)), None)
    if odd is not None or len(set(names)) < len(names) or set(programs) & set(names):
        raise InputError("files for a board have plain names, each another", place=odd or ", ".join(names))
    room = io.BytesIO()
    with tarfile.open(fileobj=room, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in {**programs, **{file.name: file.read_bytes() for file in files}}.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o700 if name in programs else 0o600
            archive.addfile(entry, io.BytesIO(data))
    return room.getvalue()


def _run(target: str, command: str, data: bytes, connections: _Connections) -> bytes:
    """What a command printed on a target, whose input was `data` and stayed open until it ended."""
    if target.startswith(ADB_PREFIX):
        serial = target.removeprefix(ADB_PREFIX)
        words = [*shlex.split(os.environ.get(ADB, "adb")), "-s", serial, "shell", "-T", command]
        package = "adb"
    else:
        words = [*shlex.split(os.environ.get(SSH, "ssh")), *OPTIONS, target, command]
        package = "openssh-client"
    with tempfile.TemporaryFile() as talk:
        try:
            process = connections.start(words, talk)
        except OSError as error:
            raise MissingExtraError(
                f"`{words[0]}` cannot be run ({error.strerror})", hint=f"Debian: apt install {package}"
            ) from None
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdout:
            with contextlib.suppress(BrokenPipeError):  # it ended early: its status says why
                process.stdin.write(data)
                process.stdin.flush()
            output = process.stdout.read()
        status = process.wait()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        talk.seek(0)
        said = talk.read().decode(errors="replace").strip()
    if status:
        raise _failure(target, status, said)
    return output


_HINTS = {
    "Host key verification failed": "connect by hand once: ssh {target}; a changed key may be an attack",
    "Permission denied": "log in without a password: ssh-copy-id {target}",
    "Could not resolve": "is the name right, and the board on?",
    "refused": "does the board run an ssh server? On a Raspberry Pi: sudo raspi-config, Interface Options",
    "timed out": "is the board on, and in this network?",
}


_CLOSED = ("closed by remote", "Broken pipe", "Connection reset", "not responding", "error: closed")
# what adb says itself, with the status 1 that a program can have too
_ADB_ERROR = re.compile(
    r"(adb|error): (device (unauthorized|offline|still|'.*' not found)|no devices|insufficient permissions"
    r"|cannot connect to daemon)|\* failed to start daemon"
)
_ADB_HINTS = {
    "unauthorized": "unlock the device and allow this computer to debug it",
    "not found": "is it connected, with USB debugging on? adb devices lists those that are",
    "no devices": "is it connected, with USB debugging on? adb devices lists those that are",
    "authorizing": "unlock the device and try again",
    "offline": "unplug it and plug it in again: adb reconnect",
    "insufficient permissions": "udev rules let a user in: Debian: apt install android-sdk-platform-tools-common",
    "daemon": "adb start-server says more",
}


def _failure(target: str, status: int, said: str) -> TargetError:
    lines = said.splitlines()
    last = next((line for line in lines if line.startswith("error: ")), lines[-1] if lines else "")
    if target.startswith(ADB_PREFIX):
        own = next((line for line in lines if _ADB_ERROR.match(line)), None)
        if own is not None:
            hint = next((hint for word, hint in _ADB_HINTS.items() if word in own), "adb devices")
            return TargetError(f"cannot be reached: {own}", place=target, hint=hint)
    midway = any(word in said for word in _CLOSED)
    lost = 1 if target.startswith(ADB_PREFIX) else NO_CONNECTION
    if status < 0 or status in (CUT_OFF, 129) or (status == lost and midway):
        return TargetError("the connection ended midway; the board removes what was copied", place=target)
    if status == NO_CONNECTION:
        hint = next((hint for word, hint in _HINTS.items() if word in said), f"try: ssh {target}")
        return TargetError(f"cannot be reached: {last or 'ssh failed'}", place=target, hint=hint.format(target=target))
    if status == NO_ROOM:
        return TargetError(f"has no room in its temporary folder: {last}", place=target, hint="TMPDIR names another")
    if status in (LACKING, NOT_FOUND):
        return TargetError(
            f"cannot run Python there: {last}",
            place=target,
            hint="Debian: apt install python3-numpy python3-click; or without --runtime python",
        )
    if status in (CANNOT_RUN, ILLEGAL_INSTRUCTION) or "not executable" in last:  # mksh says so with status 1
        return TargetError(f"cannot run the program: {last or status}", place=target, hint="--board names another kind")
    return TargetError(f"the program ended with status {status}: {last}", place=target)
