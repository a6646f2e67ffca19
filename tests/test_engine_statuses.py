"""Every `ernn_status`, each from the very bytes or calls that make it."""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from edgernn.export.to_ernn import pack
from edgernn.export.to_ernn.format import OPS

from engine_library import STATUSES, File, library
from ernn_file import FIELDS, NONE, ErnnFile
from small_programs import PROGRAMS

PROGRAM, PORT, VALUE, NODE, BLOB, DATA, TEXT = range(7)


@dataclass(frozen=True)
class Files:
    """The library and what the cases start from."""

    lib: ctypes.CDLL
    raw: dict[str, bytes]

    def edit(self, name: str = "two") -> ErnnFile:
        """A file to break."""
        return ErnnFile(self.raw[name])

    def open(self, file: ErnnFile | bytes, shift: int = 0) -> str:
        """The status of opening it; a model that was refused has no programs."""
        opened = File.of(self.lib, bytes(file.raw) if isinstance(file, ErnnFile) else file, shift)
        status = opened.open()
        assert (self.lib.ernn_model_programs(opened.model.ctypes.data) == 0) == (status != "OK")
        return status

    def opened(self, name: str = "two") -> File:
        """A whole file."""
        file = File.of(self.lib, self.raw[name])
        assert file.open() == "OK"
        return file


@pytest.fixture(scope="module")
def files() -> Files:
    """`two` holds `cells` and `indices`."""
    raw = {name: pack(PROGRAMS[name]()) for name in ("cells", "indices", "times", "elements", "layers", "pools")}
    raw["two"] = pack({name: PROGRAMS[name]() for name in ("cells", "indices")})
    return Files(library(), raw)


Case = Callable[[Files], str]
CASES: list[tuple[str, str, Case]] = []


def gives(status: str, name: str = "") -> Callable[[Case], Case]:
    """Register a case."""

    def register(case: Case) -> Case:
        CASES.append((status, name or getattr(case, "__name__", ""), case))
        return case

    return register


def broken(status: str, name: str, edit: Callable[[ErnnFile], Any], base: str = "two") -> None:
    """A file that does not open once `edit` has changed it."""

    def case(files: Files) -> str:
        file = files.edit(base)
        assert files.open(file) == "OK"
        changed = edit(file)
        return files.open(changed if isinstance(changed, ErnnFile) else file)

    gives(status, name)(case)


def field(
    status: str, record: str, index: int, name: str, value: int | float, word: int = 0, base: str = "two"
) -> None:
    """One field of another value."""
    label = f"{record}.{name}[{word}]={value}" if word else f"{record}.{name}={value}"
    broken(status, label, lambda file: file.set(record, index, name, value, word), base)


def part(status: str, name: str, kind: int, change: Callable[[bytes], bytes], base: str = "two") -> None:
    """One section of other bytes, the file laid out anew."""

    def edit(file: ErnnFile) -> ErnnFile:
        parts = file.parts()
        parts[kind] = change(parts[kind])
        return ErnnFile.of(parts)

    broken(status, name, edit, base)


# --- the header and the sections ---------------------------------------------------------------------------------

gives("OK", "whole")(lambda files: files.open(files.raw["two"]))
gives("ALIGNMENT", "file")(lambda files: files.open(files.raw["two"], shift=1))
gives("ALIGNMENT", "file by half")(lambda files: files.open(files.raw["two"], shift=32))
for cut in (0, 1, 63, 64, 231, -1):
    gives("TRUNCATED", f"first {cut} bytes")(lambda files, cut=cut: files.open(files.raw["two"][:cut]))
field("TRUNCATED", "header", 0, "size", 1 << 40)
broken("TRUNCATED", "header alone", lambda f: ErnnFile(f.raw[:64]).set("header", 0, "size", 64))
broken("MAGIC", "letter", lambda file: file.poke(3))
field("NEWER", "header", 0, "format", 2)
field("NEWER", "header", 0, "generation", 2)
field("HEADER", "header", 0, "format", 0)
field("HEADER", "header", 0, "generation", 0)
field("HEADER", "header", 0, "zero", 1, 8)
gives("HEADER", "more bytes than said")(lambda files: files.open(files.raw["two"] + b"\0"))
field("SECTIONS", "header", 0, "sections", 6)
field("SECTIONS", "section", 2, "kind", 3)
field("SECTIONS", "section", 2, "zero", 1)
broken("SECTIONS", "gap", lambda f: f.set("section", 3, "offset", f.get("section", 3, "offset") + 64))
broken("SECTIONS", "overlap", lambda f: f.set("section", 3, "offset", f.get("section", 3, "offset") - 64))
broken("SECTIONS", "part of a record", lambda f: f.set("section", 2, "size", f.get("section", 2, "size") - 1))
field("SECTIONS", "section", 6, "size", (1 << 64) - 1)
field("SECTIONS", "section", 6, "offset", (1 << 64) - 64)


@gives("SECTIONS", "bytes behind the last")
def _(files: Files) -> str:
    file = ErnnFile(files.raw["two"] + bytes(64))
    return files.open(file.set("header", 0, "size", len(file.raw)))


broken("PADDING", "behind the table", lambda file: file.poke(64 + 7 * 24))
broken(
    "PADDING", "between sections", lambda f: f.poke(next(sum(f.section(k)) for k in range(6) if f.section(k)[1] % 64))
)
broken("PADDING", "between blobs", lambda f: f.poke(f.section(DATA)[0] + f.get("blob", 0, "size")))
broken("PADDING", "behind the last blob", lambda file: file.poke(sum(file.section(DATA)) - 1))

# --- constants and texts -----------------------------------------------------------------------------------------

broken("BLOBS", "gap", lambda file: file.set("blob", 1, "offset", file.get("blob", 1, "offset") + 64))
field("BLOBS", "blob", 0, "size", 1 << 63)
field("BLOBS", "blob", 1, "offset", (1 << 64) - 64)
part("BLOBS", "more data", DATA, lambda data: data + bytes(64))
part("BLOBS", "less data", DATA, lambda data: data[:-1])


@gives("BLOBS", "never mentioned")
def _(files: Files) -> str:
    parts = files.edit().parts()
    end = len(parts[DATA]) - 64
    start = -(-end // 64) * 64
    parts[BLOB] += struct.pack("<QQ", start, 8)
    parts[DATA] = parts[DATA][:end] + bytes(start - end) + bytes(8) + bytes(64)
    return files.open(ErnnFile.of(parts))


broken("TEXT", "gap", lambda file: file.set("port", 0, "name", file.get("port", 0, "name") + 1))
part("TEXT", "never mentioned", TEXT, lambda text: text + b"!")
part("TEXT", "too short", TEXT, lambda text: text[:-1])
broken("TEXT", "of a program", lambda file: file.set("program", 1, "spec", 0))

# --- programs, values, ports ---------------------------------------------------------------------------------------

for name, value in (("exact", 2), ("zero", 1), ("hop", 0), ("vector_steps", 65537), ("ports", 1)):
    field("PROGRAMS", "program", 0, name, value)
for name in ("values", "node_words"):
    broken("PROGRAMS", name, lambda f, name=name: f.set("program", 0, name, f.get("program", 0, name) + 1))
field("PROGRAMS", "program", 1, "values", NONE)


@gives("PROGRAMS", "no input")
def _(files: Files) -> str:
    file = files.edit()
    moved = file.get("program", 0, "inputs")
    return files.open(
        file.set("program", 0, "inputs", 0).set("program", 0, "states", file.get("program", 0, "states") + moved)
    )


gives("PROGRAMS", "none")(lambda files: files.open(ErnnFile.of([b""] * 7)))
field("ARENA", "program", 0, "arena", 1 << 63)
broken("VALUES", "beyond the arena", lambda file: file.set("program", 0, "arena", file.get("program", 0, "arena") - 64))
field("VALUES", "value", 0, "dtype", 7)
field("VALUES", "value", 0, "offset", 32)
field("VALUES", "value", 0, "offset", (1 << 64) - 64)
field("VALUES", "value", 0, "count", 1 << 32)
field("VALUES", "value", 0, "count", 1 << 30)


def constant(file: ErnnFile) -> int:
    """A value that lies in the file."""
    return next(i for i in range(file.count("value")) if file.get("value", i, "constant") != NONE)


broken("VALUES", "constant of another size", lambda f: f.set("value", constant(f), "count", 5))
broken("VALUES", "constant in the arena", lambda f: f.set("value", constant(f), "offset", 64))
broken("VALUES", "constant that is not there", lambda f: f.set("value", constant(f), "constant", f.count("blob")))
broken("VALUES", "constant before its turn", lambda f: f.set("value", constant(f), "constant", 1))


def port(file: ErnnFile, kind: int) -> int:
    """The first input, output or state."""
    return next(i for i in range(file.count("port")) if file.get("port", i, "kind") == kind)


def in_port(kind: int, name: str, value: int | float, word: int = 0) -> None:
    """One field of an input's, output's or state's record."""
    label = f"{('input', 'output', 'state')[kind]}.{name}={value}"
    broken("PORTS", label, lambda file: file.set("port", port(file, kind), name, value, word))


for kind in range(3):
    in_port(kind, "kind", 3)
    in_port(kind, "value", 1 << 20)
    in_port(kind, "rank", 9)
    in_port(kind, "dims", 1, 7)
    in_port(kind, "dims", 5)
in_port(0, "next", 0)
in_port(0, "init", 0)
in_port(0, "period", 1)
in_port(0, "group", 1)
in_port(0, "extra", 1)
in_port(0, "low", math.nan)
in_port(0, "high", math.nan)
in_port(0, "high", math.inf)
in_port(0, "low", 2.0)
in_port(0, "rank", 0)
in_port(1, "next", 0)
in_port(1, "init", 0)
in_port(1, "low", 1.0)
in_port(1, "period", 0)
in_port(1, "period", 2)
in_port(1, "group", 0)
in_port(1, "group", 2)
in_port(1, "extra", 1 << 30)
in_port(1, "extra", 3 << 30)
in_port(1, "offset", 1 << 30)
in_port(1, "offset", 3 << 30)
in_port(1, "delay", 1 << 30)
in_port(2, "next", 1 << 20)
in_port(2, "next", 0)
in_port(2, "init", 1 << 20)
in_port(2, "delay", 1)
in_port(2, "group", 1)
in_port(2, "high", 1.0)
for kind in (0, 2):
    broken("PORTS", f"constant {kind}", lambda f, k=kind: f.set("port", port(f, k), "value", constant(f)))
field("PORTS", "program", 0, "left", 1 << 20)
field("PORTS", "program", 0, "left", 0)
broken("PORTS", "integers beyond 2^30", lambda f: f.set("port", f.count("port") - 3, "high", 2.0**30))

# --- nodes ---------------------------------------------------------------------------------------------------------

broken("NODES", "value that is not there", lambda file: file.set_word(2, 1 << 20))
broken("NODES", "more attributes than words", lambda file: file.set_word(1, NONE))
broken("NODES", "13 operands", lambda file: file.set_word(0, file.words()[0] & 0xFF00FFFF | 13 << 16))
broken("NODES", "4 results", lambda file: file.set_word(0, file.words()[0] & 0x00FFFFFF | 4 << 24))
broken("NODES", "fewer nodes than words", lambda f: f.set("program", 0, "nodes", f.get("program", 0, "nodes") - 1))
broken("NODES", "more nodes than words", lambda f: f.set("program", 0, "nodes", f.get("program", 0, "nodes") + 1))


@gives("NODES", "result that is a constant")
def _(files: Files) -> str:
    file = files.edit()
    first = file.words()
    return files.open(file.set_word(2 + (first[0] >> 16 & 255), constant(file)))


broken("OPCODE", "first behind the last", lambda file: file.set_word(0, file.words()[0] & 0xFFFF0000 | len(OPS)))
broken("OPCODE", "last", lambda file: file.set_word(0, file.words()[0] | 0xFFFF))
broken("OPERANDS", "absent", lambda file: file.set_word(2, NONE))
broken("OPERANDS", "another operation", lambda file: file.set_word(0, file.words()[0] & 0xFFFF0000 | OPS.index("copy")))


def nodes(file: ErnnFile, kind: str) -> list[tuple[int, int]]:
    """Of the nodes of a kind, the words where attributes start and their number."""
    words, at, found = file.words(), 0, []
    while at < len(words):
        ins, outs, attributes = words[at] >> 16 & 255, words[at] >> 24, words[at + 1]
        if words[at] & 0xFFFF == OPS.index(kind):
            found.append((at + 2 + ins + outs, attributes))
        at += 2 + ins + outs + attributes
    return found


for base, kind, word, value in (
    ("indices", "take", 1, 0),
    ("indices", "take", 3, 1 << 31),
    ("times", "copy", 0, 7),
    ("times", "copy", 1, 1 << 20),
    ("times", "copy", 6, 1),
    ("times", "copy", 7, 1 << 31),
    ("times", "copy", 13, 1 << 31),
    ("times", "copy", 19, 1 << 31),
    ("times", "copy", 20, 1 << 31),
    ("times", "validity", 1, 0),
    ("times", "validity", 4, 0),
    ("times", "reflect", 0, 1 << 20),
    ("times", "frame_index", 0, 3),
    ("times", "where", 0, 7),
    ("times", "stft", 2, 1 << 21),
    ("times", "stft", 3, 1 << 31),
    ("elements", "unary", 0, 19),
    ("elements", "binary", 25, 14),
    ("elements", "binary", 18, 1),
    ("layers", "reduce", 2, 5),
    ("layers", "reduce", 1, 0),
    ("layers", "softmax", 1, 0),
    ("layers", "layer_norm", 1, 1),
    ("layers", "matmul", 3, 1 << 31),
    ("layers", "cumsum", 0, 0),
    ("pools", "pool", 1, 1),
    ("pools", "pool", 3, 0),
    ("pools", "pool", 4, 1 << 31),
    ("pools", "pool", 7, 1 << 31),
    ("pools", "pool", 8, 3),
    ("pools", "running_mean", 0, 0),
    ("pools", "running_mean", 1, 5),
    ("pools", "cummax", 1, 1 << 31),
    ("pools", "irfft", 0, 1 << 31),
    ("pools", "irfft", 1, 1 << 21),
):
    broken(
        "OPERANDS",
        f"{kind}[{word}]={value}",
        lambda f, kind=kind, word=word, value=value: f.set_word(nodes(f, kind)[0][0] + word, value),
        base,
    )


def handmade(kind: str, values: list[tuple[int, int]], ins: int, *attributes: int, port: int = 0) -> ErnnFile:
    """A program of one node: values (dtype, count) in the arena, number `port` is input and output."""
    arena, table = 0, b""
    for dtype, count in values:
        table += struct.pack("<IIQQ", dtype, NONE, arena, count)
        arena += -(-count * (4, 8, 4, 2, 1, 1, 1)[dtype] // 64) * 64 + 64
    shape = (2, 1, values[port][1], *[0] * 6)  # rank, dims
    ports = b"".join(
        struct.pack("<4I2I9IIiIffIi", k, port, NONE, NONE, 0, 0, *shape, k, 0, 0, 0, 0, k, 0)
        for k in (0, 1)  # input and output: period and group are 0 and 1
    )
    outs = len(values) - ins
    words = [OPS.index(kind) | ins << 16 | outs << 24, len(attributes), *range(len(values)), *attributes]
    program = struct.pack(
        "<6I3I4I5I3Q", *[0] * 6, 1, 1, 0, 2, len(values), len(words), 1, NONE, 1, 0, 0, 0, arena, 0, 0
    )
    return ErnnFile.of([program, ports, table, struct.pack(f"<{len(words)}I", *words), b"", b"", b""])


@gives("OK", "handmade")
def _(files: Files) -> str:
    return files.open(handmade("matmul", [(0, 6), (0, 3), (0, 2)], 2, 1, 2, 3, 1))


@gives("WORK", "one product")
def _(files: Files) -> str:
    return files.open(handmade("matmul", [(0, 1 << 22), (0, 1 << 21), (0, 1 << 31)], 2, 1, 1 << 16, 1 << 6, 1 << 15))


@gives("WORK", "test vectors")
def _(files: Files) -> str:
    """Each step is bounded, and so are all of them."""
    file = handmade("matmul", [(0, 1 << 15), (0, 1 << 12), (0, 1 << 15)], 2, 1, 1 << 9, 1 << 6, 1 << 6)
    assert files.open(file.set("program", 0, "vector_steps", 16384)) == "OK"
    return files.open(file.set("program", 0, "vector_steps", 65536))


@gives("WORK", "nothing, very often")
def _(files: Files) -> str:
    return files.open(handmade("take", [(0, 0), (1, 1 << 20), (0, 0)], 2, NONE, 7, 0, 1 << 20, port=1))


# --- streams -------------------------------------------------------------------------------------------------------

gives("NO_PROGRAM", "by name")(lambda files: files.opened().find("cell")[0])
gives("NO_PROGRAM", "by number")(lambda files: files.opened().stream(2, room=1 << 16).status)
gives("OK", "stream")(lambda files: files.opened().stream(1).status)
gives("NO_ISA", "unknown")(lambda files: files.opened().stream(isa="none").status)
gives("NO_ISA", "of another architecture")(lambda files: files.opened().stream(isa="neon dotprod").status)
gives("MEMORY", "none")(lambda files: files.opened().stream(room=0).status)
gives("VECTORS", "hash")(lambda files: _selftest(files.edit().set("program", 0, "vector_hash", 1), files))
gives("OK", "vectors")(lambda files: files.opened().selftest(1))


def _selftest(file: ErnnFile, files: Files) -> str:
    opened = File.of(files.lib, bytes(file.raw))
    assert opened.open() == "OK"
    return opened.selftest()


@gives("MEMORY", "one byte less")
def _(files: Files) -> str:
    file = files.opened()
    return file.stream(room=files.lib.ernn_stream_size(file.model.ctypes.data, 0) - 1).status


@gives("ALIGNMENT", "stream")
def _(files: Files) -> str:
    file = files.opened()
    size = files.lib.ernn_stream_size(file.model.ctypes.data, 0)
    memory, handle = np.zeros(size + 128, np.uint8), ctypes.c_void_p()
    at = memory.ctypes.data + -memory.ctypes.data % 64 + 8
    return STATUSES[files.lib.ernn_stream_init(ctypes.byref(handle), file.model.ctypes.data, 0, at, size, None)]


def _ids(*ids: int) -> bytes:
    return struct.pack(f"<{len(ids)}q", *ids)


@gives("INDEX")
def _(files: Files) -> str:
    """Row 0 stands in, and the next step is right again."""
    file = files.opened("indices")
    for bad in (7, -8, 1 << 40, -(1 << 63)):
        stream, other = file.stream(), file.stream()
        stream.buffer(0)[:] = np.frombuffer(_ids(bad, 3), np.uint8)
        other.buffer(0)[:] = np.frombuffer(_ids(0, 3), np.uint8)
        assert other.step() == "OK"
        if (status := stream.step()) != "INDEX":
            return status
        assert bytes(stream.buffer(1)) == bytes(other.buffer(1))
        assert stream.step() == "INDEX"
        stream.buffer(0)[:] = np.frombuffer(_ids(-1, 6), np.uint8)
        assert stream.step() == "OK"
    assert file.stream().push(_ids(1, 9), frames=2)[0] == "INDEX"
    return "INDEX"


@gives("FLUSHED")
def _(files: Files) -> str:
    """By every verb that takes frames; reset starts anew."""
    stream = files.opened("cells").stream()
    assert stream.push(bytes(12), frames=1)[0] == "OK"
    while (status := stream.flush()[0]) == "OK":
        pass
    assert {stream.step(), stream.push(bytes(12), frames=1)[0], stream.process(bytes(12), 1, 12)[0], status} == {
        "FLUSHED"
    }
    stream.reset()
    assert stream.step() == "OK"
    return status


gives("FLUSHED", "nothing came")(lambda files: files.opened("cells").stream().flush()[0])


@gives("WAITING")
def _(files: Files) -> str:
    stream = files.opened("cells").stream()
    assert stream.push(bytes(12), frames=1)[0] == "OK"
    return stream.step()


gives("RATES", "two outputs")(lambda files: files.opened("indices").stream().process(bytes(8), 1, 12)[0])


def _restored(files: Files, edit: Callable[[bytearray], Any], sealed: bool = True) -> str:
    stream = files.opened("cells").stream()
    assert stream.push(bytes(36), frames=3)[0] == "OK"
    state = bytearray(stream.save())
    assert stream.restore(bytes(state)) == "OK"
    changed = edit(state)
    state = changed if isinstance(changed, bytearray) else state
    return stream.restore(_sealed(state) if sealed else bytes(state))


def _sealed(state: bytearray) -> bytes:
    """With the hash that belongs to the bytes."""
    at, size = FIELDS["saved state"]["hash"]
    state[at : at + size] = bytes(size)
    hash_ = 0xCBF29CE484222325
    for byte in state:
        hash_ = ((hash_ ^ byte) * 0x100000001B3) % (1 << 64)
    state[at : at + size] = hash_.to_bytes(size, "little")
    return bytes(state)


def _state_field(name: str, value: int) -> Callable[[bytearray], None]:
    at, size = FIELDS["saved state"][name]
    return lambda state: state.__setitem__(slice(at, at + size), value.to_bytes(size, "little"))


gives("OK", "restored")(lambda files: _restored(files, lambda state: state))
gives("STATE", "one bit")(lambda files: _restored(files, lambda s: s.__setitem__(60, s[60] ^ 1), sealed=False))
gives("STATE", "empty")(lambda files: _restored(files, lambda state: bytearray(), sealed=False))
gives("STATE", "cut")(lambda files: _restored(files, lambda state: state[:-1]))
gives("STATE", "longer")(lambda files: _restored(files, lambda state: state + b"\0"))
for name, value in (("magic", 0), ("format", 0), ("flushed", 2), ("held", 2), ("size", 1 << 60)):
    gives("STATE", name)(lambda files, name=name, value=value: _restored(files, _state_field(name, value)))
gives("NEWER", "state")(lambda files: _restored(files, _state_field("format", 2)))
gives("OTHER_MODEL", "fingerprint")(lambda files: _restored(files, _state_field("fingerprint", 5)))
gives("OTHER_MODEL", "program")(lambda files: _restored(files, _state_field("program", 1)))
gives("OTHER_MODEL", "file")(lambda files: files.opened("two").stream().restore(files.opened("cells").stream().save()))


@pytest.mark.parametrize(("status", "case"), [pytest.param(s, case, id=f"{s}-{name}") for s, name, case in CASES])
def test_status(status: str, case: Case, files: Files) -> None:
    assert case(files) == status


def test_every_status_has_a_case(files: Files) -> None:
    """A new code needs its broken bytes here, and words."""
    assert {status for status, _, _ in CASES} == set(STATUSES)
    texts = [files.lib.ernn_status_text(number) for number in range(len(STATUSES))]
    assert len(set(texts)) == len(STATUSES)
    assert b"unknown status" not in texts
    assert files.lib.ernn_status_text(len(STATUSES)) == b"unknown status"
