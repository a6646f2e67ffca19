"""The records of a `.ernn` file: runtime/engine/FORMAT.md draws them, src/format.h declares them."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

FORMAT, GENERATION = 1, 1
ALIGN, SLACK, NONE = 64, 64, 0xFFFFFFFF
DTYPES = ("float32", "int64", "int32", "int16", "int8", "uint8", "bool")
INPUT, OUTPUT, STATE = range(3)

# the operations in the order of src/node.h
OPS = (
    *("linear", "gru", "lstm", "rnn", "unary", "softmax", "quantize", "dequantize"),
    *("qlinear", "qgru", "qlstm", "qrnn", "qunary"),
    *("copy", "take", "binary", "clip", "where", "cast", "frame_index", "validity", "reflect", "reduce", "cumsum"),
    *("layer_norm", "matmul", "stft", "rescale", "qadd", "qmul"),
    *("pool", "running_mean", "cummax", "irfft"),
)

_HEADER = struct.Struct("<4sHHQQI36x")
_SECTION = struct.Struct("<IIQQ")
_PROGRAM = struct.Struct("<6I3I4I5I3Q")
_PORT = struct.Struct("<4I2II8IIiIffIi")
_VALUE = struct.Struct("<IIQQ")
_BLOB = struct.Struct("<QQ")


def align(size: int) -> int:
    """The next multiple of 64."""
    return -(-size // ALIGN) * ALIGN


@dataclass
class Texts:
    """The last section: names and contracts one behind the other."""

    data: bytearray = field(default_factory=bytearray)

    def add(self, text: str) -> tuple[int, int]:
        """Where a text lies: offset and size in bytes."""
        raw = text.encode("utf-8")
        self.data += raw
        return len(self.data) - len(raw), len(raw)


@dataclass
class Blobs:
    """The constants: equal ones are kept once."""

    data: bytearray = field(default_factory=bytearray)
    records: list[tuple[int, int]] = field(default_factory=list)
    known: dict[bytes, int] = field(default_factory=dict)

    def add(self, raw: bytes) -> int:
        """The number of a constant with these bytes."""
        key = hashlib.sha256(raw).digest()
        if key not in self.known:
            self.data += bytes(align(len(self.data)) - len(self.data))
            self.known[key] = len(self.records)
            self.records.append((len(self.data), len(raw)))
            self.data += raw
        return self.known[key]


def value_record(dtype: str, constant: int, offset: int, count: int) -> bytes:
    """A value: `constant` is a blob's number or NONE, `offset` lies in the arena, `count` is of elements."""
    return _VALUE.pack(DTYPES.index(dtype), constant, offset, count)


def port_record(
    kind: int,
    value: int,
    name: tuple[int, int],
    shape: tuple[int, ...],
    *,
    following: int = NONE,
    init: int = NONE,
    timing: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0),
    limits: tuple[float, float] = (0.0, 0.0),
) -> bytes:
    """An input, output or state; `timing` is an output's period to extra, `limits` an input's test range."""
    dims = (*shape, *[0] * (8 - len(shape)))
    return _PORT.pack(kind, value, following, init, *name, len(shape), *dims, *timing[:3], *limits, *timing[3:])


def program_record(
    texts: tuple[tuple[int, int], tuple[int, int], tuple[int, int]],
    ports: tuple[int, int, int],
    tables: tuple[int, int, int, int],
    rest: tuple[int, int, int, int],
    arena: int,
    vectors: tuple[int, int],
) -> bytes:
    """A program: texts name, spec, summary; inputs, outputs, states; entries of the tables; left, hop, exact, steps."""
    flat = [number for text in texts for number in text]
    return _PROGRAM.pack(*flat, *ports, *tables, *rest, 0, arena, *vectors)


@dataclass(frozen=True)
class Tables:
    """One program's records."""

    program: bytes
    ports: bytes
    values: bytes
    nodes: bytes


def assemble(programs: Sequence[Tables], blobs: Blobs, texts: Texts) -> bytes:
    """The file."""
    records = b"".join(_BLOB.pack(*record) for record in blobs.records)
    data = bytes(blobs.data) + bytes(SLACK if blobs.records else 0)
    tables = [b"".join(part) for part in zip(*((p.program, p.ports, p.values, p.nodes) for p in programs), strict=True)]
    sections = [*tables, records, data, bytes(texts.data)]
    start = _HEADER.size + len(sections) * _SECTION.size
    body, table = bytearray(), b""
    for kind, section in enumerate(sections):
        body += bytes(align(start + len(body)) - start - len(body))
        table += _SECTION.pack(kind, 0, start + len(body), len(section))
        body += section
    digest = hashlib.sha256(b"".join(sections[:-1])).digest()
    fingerprint = int.from_bytes(digest[:8], "little")
    size = start + len(body)
    return _HEADER.pack(b"ERNN", FORMAT, GENERATION, size, fingerprint, len(sections)) + table + bytes(body)
