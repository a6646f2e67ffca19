"""A `.ernn` file's fields by the names and places that runtime/engine/FORMAT.md gives them: to read, and to break."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from pathlib import Path

FORMAT_MD = Path(__file__).parent.parent / "runtime" / "engine" / "FORMAT.md"
NONE = 0xFFFFFFFF
SECTIONS = ("program", "port", "value", "node", "blob", "data", "text")
_ROW = re.compile(r"^\| (\d+) \| (\d+) \| `(\w+)` \|")


def drawn() -> dict[str, dict[str, tuple[int, int]]]:
    """Of each record that FORMAT.md draws, each field's offset and size."""
    records: dict[str, dict[str, tuple[int, int]]] = {}
    heading = ""
    for line in FORMAT_MD.read_text("utf-8").splitlines():
        if line.startswith("## "):
            heading = line[3:]
        elif found := _ROW.match(line):
            records.setdefault(heading, {})[found[3]] = (int(found[1]), int(found[2]))
    return records


FIELDS = drawn()
SIZES = {record: sum(size for _, size in fields.values()) for record, fields in FIELDS.items()}
_INTEGER = {2: "<H", 4: "<I", 8: "<Q"}


def align(size: int) -> int:
    """The next multiple of 64."""
    return -(-size // 64) * 64


class ErnnFile:
    """A file's bytes. A record is `header`, `section`, `program`, `port`, `value` or `blob`, and its number."""

    def __init__(self, raw: bytes) -> None:
        self.raw = bytearray(raw)

    def section(self, kind: int) -> tuple[int, int]:
        """Where a section starts and how long it is."""
        return self.get("section", kind, "offset"), self.get("section", kind, "size")

    def place(self, record: str, index: int, field: str) -> tuple[int, int]:
        """Where a field is and how long."""
        offset, size = FIELDS[record][field]
        start = {"header": 0, "section": SIZES["header"]}.get(record)
        if start is None:
            start = self.section(SECTIONS.index(record))[0]
        return start + index * SIZES[record] + offset, size

    def get(self, record: str, index: int, field: str) -> int:
        """A field as an unsigned integer; of a long one its first word."""
        at, size = self.place(record, index, field)
        return int(struct.unpack_from(_INTEGER.get(size, "<I"), self.raw, at)[0])

    def set(self, record: str, index: int, field: str, value: int | float, word: int = 0) -> ErnnFile:
        """Write a field; of one of several words, word `word`."""
        at, size = self.place(record, index, field)
        form = "<f" if isinstance(value, float) else _INTEGER.get(size, "<I")
        struct.pack_into(form, self.raw, at + 4 * word, value)
        return self

    def poke(self, at: int, value: int = 1) -> ErnnFile:
        """Write one byte."""
        self.raw[at] = value
        return self

    def count(self, record: str) -> int:
        """How many records of a kind there are."""
        return self.section(SECTIONS.index(record))[1] // SIZES[record]

    def words(self) -> list[int]:
        """The nodes' words."""
        start, size = self.section(3)
        return list(struct.unpack_from(f"<{size // 4}I", self.raw, start))

    def set_word(self, index: int, value: int) -> ErnnFile:
        """Write one of the nodes' words."""
        struct.pack_into("<I", self.raw, self.section(3)[0] + 4 * index, value & NONE)
        return self

    def parts(self) -> list[bytes]:
        """The sections' bytes."""
        return [bytes(self.raw[start : start + size]) for start, size in map(self.section, range(len(SECTIONS)))]

    @classmethod
    def of(cls, parts: Sequence[bytes]) -> ErnnFile:
        """A file of these sections, laid out."""
        start = SIZES["header"] + len(parts) * SIZES["section"]
        body, table = bytearray(), b""
        for kind, part in enumerate(parts):
            body += bytes(align(start + len(body)) - start - len(body))
            table += struct.pack("<IIQQ", kind, 0, start + len(body), len(part))
            body += part
        header = struct.pack("<4sHHQQI36x", b"ERNN", 1, 1, start + len(body), 1, len(parts))
        return cls(header + table + bytes(body))
