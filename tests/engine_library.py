"""The engine's shared library through ctypes: its C interface as it is, with memory that Python owns."""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
ENGINE = ROOT / "runtime" / "engine"
HEADER = ENGINE / "include" / "edgernn.h"
BUILD = ROOT / "build" / "engine"
_ENUM = re.compile(r"typedef enum \{(.*?)\} ernn_status;", re.S)
_COMMENT = re.compile(r"/\*.*?\*/", re.S)


def statuses() -> list[str]:
    """The names of `ernn_status` in the header, without their prefix, in order."""
    found = _ENUM.search(HEADER.read_text("utf-8"))
    assert found is not None
    names = [line.split("=")[0].strip() for line in _COMMENT.sub("", found[1]).split(",")]
    return [name.removeprefix("ERNN_") for name in names if name and not name.endswith("_COUNT")]


STATUSES = statuses()


def needs(*tools: str) -> None:
    """Skip the test where a tool is missing."""
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"`{tool}` is not installed (make system-tools)")


def run(*command: str | Path, stdout: int | IO[bytes] = subprocess.PIPE, **options: Any) -> str:
    """A command's output, where it goes to no file; its whole talk when it fails."""
    parts = [str(part) for part in command]
    done = subprocess.run(parts, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, **options)
    assert done.returncode == 0, f"{' '.join(parts)}\n{done.stdout}{done.stderr}"
    return done.stdout


def cmake(source: Path, build: Path, *options: str, compiler: str = "cc", target: str = "all") -> Path:
    """Configure and build; processes that want the same wait for each other."""
    needs("cmake", *shlex.split(compiler)[:1])
    build.mkdir(parents=True, exist_ok=True)
    with open(build / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run("cmake", "-S", source, "-B", build, *options, env={**os.environ, "CC": compiler})
        run("cmake", "--build", build, "--target", target, "--parallel", "2")
    return build


def aligned(size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Zeroed bytes at a 64-byte boundary."""
    room = np.zeros(size + 128, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + max(size, 1)]


class Port(ctypes.Structure):
    """`ernn_port`."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_size_t),
        ("dtype", ctypes.c_int),
        ("rank", ctypes.c_uint32),
        ("dims", ctypes.c_uint32 * 8),
        ("bytes", ctypes.c_size_t),
        ("period", ctypes.c_uint32),
        ("offset", ctypes.c_int32),
        ("group", ctypes.c_uint32),
        ("extra", ctypes.c_int32),
        ("delay", ctypes.c_uint32),
    )


class _Options(ctypes.Structure):
    _fields_ = (("isa", ctypes.c_char_p), ("exact", ctypes.c_int))


_POINTER, _SIZE, _U32, _U64 = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32, ctypes.c_uint64
_SIGNATURES: dict[str, tuple[Any, Sequence[Any]]] = {
    "ernn_model_open": (ctypes.c_int, (_POINTER, _POINTER, _SIZE)),
    "ernn_model_find": (ctypes.c_int, (_POINTER, ctypes.c_char_p, _SIZE, ctypes.POINTER(_U32))),
    "ernn_model_programs": (_U32, (_POINTER,)),
    "ernn_model_ports": (_U32, (_POINTER, _U32, ctypes.c_int)),
    "ernn_model_port": (ctypes.c_int, (_POINTER, _U32, ctypes.c_int, _U32, ctypes.POINTER(Port))),
    "ernn_model_hop": (_U32, (_POINTER, _U32)),
    "ernn_model_work": (_U64, (_POINTER, _U32)),
    "ernn_stream_size": (_SIZE, (_POINTER, _U32)),
    "ernn_stream_init": (ctypes.c_int, (ctypes.POINTER(_POINTER), _POINTER, _U32, _POINTER, _SIZE, _POINTER)),
    "ernn_input": (_POINTER, (_POINTER, _U32)),
    "ernn_output": (_POINTER, (_POINTER, _U32)),
    "ernn_step": (ctypes.c_int, (_POINTER,)),
    "ernn_step_all": (ctypes.c_int, (_POINTER, _U32)),
    "ernn_process": (ctypes.c_int, (_POINTER, _POINTER, _POINTER, _SIZE)),
    "ernn_push": (ctypes.c_int, (_POINTER, _POINTER, _SIZE, _POINTER, ctypes.POINTER(_SIZE))),
    "ernn_flush": (ctypes.c_int, (_POINTER, _POINTER, ctypes.POINTER(_SIZE))),
    "ernn_reset": (None, (_POINTER,)),
    "ernn_state_size": (_SIZE, (_POINTER,)),
    "ernn_state_save": (None, (_POINTER, _POINTER)),
    "ernn_state_restore": (ctypes.c_int, (_POINTER, _POINTER, _SIZE)),
    "ernn_selftest": (ctypes.c_int, (_POINTER, _U32, _POINTER, _SIZE, ctypes.c_char_p)),
    "ernn_isa_name": (ctypes.c_char_p, (_U32,)),
    "ernn_isa_usable": (ctypes.c_int, (ctypes.c_char_p,)),
    "ernn_status_text": (ctypes.c_char_p, (ctypes.c_int,)),
}


def library(path: Path | None = None) -> ctypes.CDLL:
    """The shared library, built from the sources of this tree where no other is named."""
    if path is None:
        path = cmake(ENGINE, BUILD) / "libernn.so"
    lib = ctypes.CDLL(str(path))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


@dataclass
class File:
    """A file's bytes in memory and, once opened, the engine's view of them."""

    lib: ctypes.CDLL
    data: np.ndarray[Any, np.dtype[np.uint8]]
    size: int
    model: np.ndarray[Any, np.dtype[np.uint8]]

    @classmethod
    def of(cls, lib: ctypes.CDLL, raw: bytes, shift: int = 0) -> File:
        """`shift` bytes behind a 64-byte boundary."""
        data = aligned(len(raw) + shift)[shift:]
        data[: len(raw)] = np.frombuffer(raw, np.uint8)
        return cls(lib, data, len(raw), aligned(256))

    def open(self) -> str:
        """The status of opening it."""
        return STATUSES[self.lib.ernn_model_open(self.model.ctypes.data, self.data.ctypes.data, self.size)]

    def stream(self, program: int = 0, isa: str | None = None, room: int | None = None, exact: bool = True) -> Stream:
        """A stream in its initial state; `room` bytes instead of those it needs."""
        size = self.lib.ernn_stream_size(self.model.ctypes.data, program) if room is None else room
        memory, handle = aligned(size), ctypes.c_void_p()
        options = _Options(isa.encode() if isa else None, int(exact))
        status = self.lib.ernn_stream_init(
            ctypes.byref(handle), self.model.ctypes.data, program, memory.ctypes.data, size, ctypes.byref(options)
        )
        return Stream(self, memory, handle, STATUSES[status])

    def selftest(self, program: int = 0, isa: str | None = None) -> str:
        """The status of running the file's own test vectors."""
        size = self.lib.ernn_stream_size(self.model.ctypes.data, program)
        memory = aligned(size)
        name = isa.encode() if isa else None
        return STATUSES[self.lib.ernn_selftest(self.model.ctypes.data, program, memory.ctypes.data, size, name)]

    def find(self, name: str) -> tuple[str, int]:
        """Status and number of the program of that name."""
        number, raw = _U32(), name.encode()
        status = self.lib.ernn_model_find(self.model.ctypes.data, raw, len(raw), ctypes.byref(number))
        return STATUSES[status], number.value

    def port(self, kind: int, index: int = 0, program: int = 0) -> Port:
        """An input (0), output (1) or state (2)."""
        port = Port()
        status = self.lib.ernn_model_port(self.model.ctypes.data, program, kind, index, ctypes.byref(port))
        assert STATUSES[status] == "OK"
        return port

    def isas(self) -> list[str]:
        """Instruction sets that this build has and this CPU can run."""
        names = [self.lib.ernn_isa_name(index) for index in range(16)]
        return [name.decode() for name in names if name and self.lib.ernn_isa_usable(name)]


@dataclass
class Stream:
    """A stream and the memory it lives in; `status` is that of its making."""

    file: File
    memory: np.ndarray[Any, np.dtype[np.uint8]]
    handle: ctypes.c_void_p
    status: str

    def buffer(self, kind: int, index: int = 0, program: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The bytes of an input's (0) or output's (1) own place."""
        lib = self.file.lib
        at = (lib.ernn_input if kind == 0 else lib.ernn_output)(self.handle, index)
        size = self.file.port(kind, index, program).bytes
        return np.frombuffer((ctypes.c_uint8 * size).from_address(at), np.uint8)

    def step(self) -> str:
        """One hop."""
        return STATUSES[self.file.lib.ernn_step(self.handle)]

    def process(self, x: bytes, frames: int, out: int) -> tuple[str, bytes]:
        """Frames in, `out` bytes of frames out."""
        given, room = ctypes.create_string_buffer(x, max(len(x), 1)), ctypes.create_string_buffer(max(out, 1))
        status = self.file.lib.ernn_process(self.handle, given, room, frames)
        return STATUSES[status], room.raw[:out]

    def _outputs(self, frames: int, program: int) -> tuple[list[Any], Any, Any]:
        lib, model = self.file.lib, self.file.model.ctypes.data
        count = lib.ernn_model_ports(model, program, 1)
        steps = frames // max(lib.ernn_model_hop(model, program), 1) + 1
        rooms = [ctypes.create_string_buffer(self.file.port(1, o, program).bytes * steps) for o in range(count)]
        return rooms, (ctypes.c_void_p * count)(*map(ctypes.addressof, rooms)), (ctypes.c_size_t * count)()

    def _taken(self, rooms: list[Any], got: Any, program: int) -> list[bytes]:
        sizes = [(port.bytes // port.dims[0]) for port in (self.file.port(1, o, program) for o in range(len(rooms)))]
        return [room.raw[: count * size] for room, count, size in zip(rooms, got, sizes, strict=True)]

    def push(self, *inputs: bytes, frames: int, program: int = 0) -> tuple[str, list[bytes]]:
        """Frames in, those that are due out."""
        rooms, out, got = self._outputs(
            frames + self.file.lib.ernn_model_hop(self.file.model.ctypes.data, program), program
        )
        given = [ctypes.create_string_buffer(x, max(len(x), 1)) for x in inputs]
        pointers = (ctypes.c_void_p * len(given))(*map(ctypes.addressof, given))
        status = self.file.lib.ernn_push(self.handle, pointers, frames, out, got)
        return STATUSES[status], self._taken(rooms, got, program)

    def flush(self, program: int = 0) -> tuple[str, list[bytes]]:
        """The frames of one more step."""
        rooms, out, got = self._outputs(0, program)
        status = self.file.lib.ernn_flush(self.handle, out, got)
        return STATUSES[status], self._taken(rooms, got, program)

    def reset(self) -> None:
        """Back to the initial state."""
        self.file.lib.ernn_reset(self.handle)

    def save(self) -> bytes:
        """The whole state."""
        room = ctypes.create_string_buffer(self.file.lib.ernn_state_size(self.handle))
        self.file.lib.ernn_state_save(self.handle, room)
        return room.raw

    def restore(self, state: bytes) -> str:
        """From saved bytes."""
        return STATUSES[self.file.lib.ernn_state_restore(self.handle, state, len(state))]
