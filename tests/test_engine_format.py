"""FORMAT.md is what the engine reads and the packer writes: its records, its operations, its constants."""

from __future__ import annotations

import hashlib
import re
import struct

import numpy as np
import pytest

from edgernn.export.to_ernn import format as packer
from edgernn.export.to_ernn import integers, islands, pack
from edgernn.export.to_ernn.vectors import fnv1a, splitmix

from engine_library import ENGINE, STATUSES
from ernn_file import FIELDS, FORMAT_MD, NONE, SECTIONS, SIZES, ErnnFile, align
from small_programs import PROGRAMS

TEXT = FORMAT_MD.read_text("utf-8")
_STRUCT = re.compile(r"typedef struct \{([^{}]*)\}\s*(\w+)_attr;")
_RULE = re.compile(r"RULE\((\w+), (\d+), (\d+), (\d+), \w+\)|\[OP_(\w+)\] = \{(\d+), (\d+), (\d+), 0,")


def attributes() -> dict[str, list[str]]:
    """The words of each operation's attributes as `attrs.h` declares them."""
    header = re.sub(r"/\*.*?\*/", "", (ENGINE / "src" / "attrs.h").read_text("utf-8"), flags=re.S)
    found = {}
    for body, name in _STRUCT.findall(header):
        names = [part.strip() for line in body.split(";") for part in line.strip().split(" ", 1)[-1].split(",")]
        found[name] = [re.sub(r"\[\d\]", "", part) for part in names if part]
    return found


def operations() -> list[tuple[str, list[str], list[str], list[str]]]:
    """The rows of FORMAT.md's list: name, operands, results, attributes."""
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| ([^|]*) \| ([^|]*) \|([^|]*)\|", TEXT, re.M)
    assert [int(number) for number, *_ in rows] == list(range(len(rows)))
    return [
        (name, *([part.strip() for part in cell.split(",") if part.strip()] for cell in cells))
        for _, name, *cells in rows
    ]


@pytest.mark.parametrize("record", [name for name in FIELDS if name != "header"])
def test_records_have_no_holes(record: str) -> None:
    """Each field starts where the one before it ends."""
    end = 0
    for offset, size in FIELDS[record].values():
        assert offset == end
        end = offset + size


def test_records_are_the_headers() -> None:
    """`format.h` asserts the same sizes, and `edgernn.h` knows every status that the text names."""
    header = (ENGINE / "src" / "format.h").read_text("utf-8")
    declared = dict(re.findall(r"sizeof\((?:file_)?(\w+)\) == (\d+)", header))
    assert {name: int(size) for name, size in declared.items()} == {
        "header": SIZES["header"],
        "section": SIZES["section"],
        "program": SIZES["program"],
        "port": SIZES["port"],
        "value": SIZES["value"],
        "blob": SIZES["blob"],
        "state_header": SIZES["saved state"],
    }
    constants = {"format", "generation", "most_steps"}
    numbers = {name: re.search(rf"#define ERNN_{name.upper()} (\d+)u", header) for name in constants}
    assert {name: int(found[1]) for name, found in numbers.items() if found} == {
        "format": packer.FORMAT,
        "generation": packer.GENERATION,
        "most_steps": 65536,
    }
    named = set(re.findall(r"`ERNN_(\w+)`", TEXT))
    assert named <= set(STATUSES)
    refusals = STATUSES[STATUSES.index("TRUNCATED") : STATUSES.index("NO_PROGRAM")]
    assert named >= set(refusals), "each way to refuse a file is where its rule is"


def test_operations_are_those_of_the_engine() -> None:
    """Names in the order of their numbers; operands, results and attributes as `rules.c` and `attrs.h` have them."""
    node = (ENGINE / "src" / "node.h").read_text("utf-8").replace("\\\n", " ")
    lists = re.findall(r"^#define ERNN_\w+\(X\)(.*)", node, re.M)
    listed = re.findall(r"\bX\((\w+)\)", " ".join(lists))
    rows = operations()
    assert [name for name, *_ in rows] == list(packer.OPS)
    assert listed == list(packer.OPS)
    rules = {}
    for found in _RULE.findall((ENGINE / "src" / "rules.c").read_text("utf-8")):
        name, *numbers = found[:4] if found[0] else found[4:]
        rules[name] = tuple(map(int, numbers))
    words = attributes()
    alike = {"lstm": "cell", "gru": "cell", "rnn": "cell", "qlstm": "qcell", "qgru": "qcell", "qrnn": "qcell"}
    alike |= {"layer_norm": "norm", "where": "spread", "running_mean": "cumsum", "cummax": "cumsum"}
    for name, operands, results, drawn in rows:
        least = len([operand for operand in operands if not operand.startswith("[")])
        assert all(operand.startswith("[") for operand in operands[least:])
        assert (least, len(operands), len(results)) == rules[name], name
        assert drawn == words.get(alike.get(name, name), []), name


def test_a_file_read_by_the_text_alone() -> None:
    """Every byte of a packed file is where FORMAT.md says, down to the hash of its constants' sections."""
    file = ErnnFile(pack({name: PROGRAMS[name]() for name in ("integer_cells", "times")}))
    parts, end = file.parts(), 64 + 7 * 24
    for kind in range(len(SECTIONS)):
        start, size = file.section(kind)
        assert start == align(end)
        assert not any(file.raw[end:start])
        end = start + size
    assert end == len(file.raw) == file.get("header", 0, "size")
    digest = hashlib.sha256(b"".join(parts[:6])).digest()[:8]
    assert file.get("header", 0, "fingerprint") == int.from_bytes(digest, "little")
    totals = {
        table: sum(file.get("program", p, field) for p in range(2)) * size
        for table, field, size in (("port", "ports", 88), ("value", "values", 24), ("node", "node_words", 4))
    }
    assert totals == {name: len(parts[SECTIONS.index(name)]) for name in totals}
    at, mentioned = 0, 0
    ports = iter(range(file.count("port")))
    values = iter(range(file.count("value")))
    for program in range(2):
        blobs = [file.get("value", next(values), "constant") for _ in range(file.get("program", program, "values"))]
        names = []
        for _ in range(file.get("program", program, "ports")):
            number = next(ports)
            blobs.append(file.get("port", number, "init"))
            names.append(file.place("port", number, "name")[0])
        names += [file.place("program", program, field)[0] for field in ("name", "spec", "summary")]
        for place in names:
            offset, size = struct.unpack_from("<II", file.raw, place)
            assert offset == at
            at += size
        for blob in blobs:
            assert blob == NONE or blob <= mentioned
            mentioned += blob == mentioned
    assert at == len(parts[6])
    assert mentioned == file.count("blob")


def test_weights_lie_as_drawn() -> None:
    """One element of each layout, by its index."""
    rng = np.random.default_rng(0)
    whole = rng.integers(-127, 128, (3 * 21, 18)).astype(np.int8)
    packed = integers.panels(whole, 3)
    assert packed.shape == (2, 8, 3, 16, 4)
    assert packed[1, 3, 2, 4, 1] == whole[2 * 21 + 16 + 4, 3 * 4 + 1]
    assert not packed[1, :, :, 5:].any()
    assert not packed[:, 5:].any()
    real = rng.standard_normal((3 * 21, 18)).astype(np.float32)
    rows = islands.panels(real, 3)
    assert rows.shape == (2, 18, 3, 16)
    assert rows[1, 7, 1, 3] == real[21 + 16 + 3, 7]
    assert integers.by_panel(np.arange(63), 3)[1, 2, 4] == 2 * 21 + 16 + 4


def test_generator_and_hash_are_the_published_ones() -> None:
    """SplitMix64's first words from seed 0, and FNV-1a's test vectors."""
    words = splitmix(0)
    assert [next(words) for _ in range(3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert fnv1a(b"") == 0xCBF29CE484222325
    assert fnv1a(b"a") == 0xAF63DC4C8601EC8C
    assert fnv1a(b"foobar") == 0x85944171F73967E8
