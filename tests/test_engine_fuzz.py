"""Hostile files: a minute of libFuzzer under sanitizers, and valid files that Hypothesis changes."""

from __future__ import annotations

import ctypes
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgernn.export.to_ernn import pack

from engine_library import ROOT, STATUSES, File, library, needs, run
from ernn_file import FIELDS, NONE, ErnnFile
from small_programs import PROGRAMS

SECONDS = int(os.environ.get("EDGERNN_FUZZ_SECONDS", "60"))
REFUSALS = set(STATUSES[: STATUSES.index("NO_PROGRAM")])  # what opening a file may give
NAMES = list(PROGRAMS)
RECORDS = ("header", "section", "program", "port", "value", "blob")
CORNERS = (0, 1, 2, 3, 15, 16, 17, 63, 64, 65, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


def test_a_minute_of_libfuzzer() -> None:
    """From the seeds, and from what earlier runs in this checkout found. `make fuzz-engine` runs for long."""
    needs("make", "clang", "cmake")
    if not any(Path("/usr/lib").glob("llvm-*/lib/clang/*/lib/*/libclang_rt.fuzzer*")):
        pytest.skip("clang's libFuzzer is not installed (make system-tools)")
    said = run(
        "make",
        "-C",
        ROOT,
        "-o",
        ".venv/installed",
        "fuzz-engine",
        f"FUZZ_SECONDS={SECONDS}",
        f"BIN={Path(sys.executable).parent}",
    )
    runs = int(said.rpartition("stat::number_of_executed_units:")[2].split()[0])
    assert runs > 50 * SECONDS, said[-2000:]


@pytest.fixture(scope="module")
def lib() -> ctypes.CDLL:
    """The library."""
    return library()


@pytest.fixture(scope="module")
def packed() -> dict[str, bytes]:
    """A file of each program."""
    return {name: pack(PROGRAMS[name]()) for name in NAMES}


Draw = Callable[[st.SearchStrategy[Any]], Any]


def _field(draw: Draw, whole: ErnnFile) -> tuple[int, bytes]:
    record = draw(st.sampled_from([name for name in RECORDS if name in ("header", "section") or whole.count(name)]))
    count = {"header": 1, "section": 7}.get(record) or whole.count(record)
    at, size = whole.place(record, draw(st.integers(0, count - 1)), draw(st.sampled_from(sorted(FIELDS[record]))))
    at += 4 * draw(st.integers(0, max(size // 4 - 1, 0)))
    value = draw(st.one_of(st.sampled_from(CORNERS), st.integers(0, 200)))
    return at, value.to_bytes(4, "little")[: min(size, 4)]


def _word(draw: Draw, whole: ErnnFile) -> tuple[int, bytes]:
    words = whole.words()
    index = draw(st.integers(0, len(words) - 1))
    value = draw(st.one_of(st.sampled_from(CORNERS), st.integers(-3, 3).map(lambda by: words[index] + by)))
    return whole.section(3)[0] + 4 * index, (value & NONE).to_bytes(4, "little")


def _byte(draw: Draw, whole: ErnnFile) -> tuple[int, bytes]:
    return draw(st.integers(0, len(whole.raw) - 1)), bytes([draw(st.integers(0, 255))])


def changed(draw: Draw, raw: bytes) -> bytes:
    """A file with one to three of its fields, words or bytes changed, and sometimes its end cut off."""
    whole, result = ErnnFile(raw), bytearray(raw)
    for change in draw(st.lists(st.sampled_from((_field, _field, _word, _word, _word, _byte)), min_size=1, max_size=3)):
        at, value = change(draw, whole)
        result[at : at + len(value)] = value
    return bytes(result[: draw(st.integers(0, len(raw)))] if draw(st.integers(0, 15)) == 15 else result)


@settings(max_examples=1000, deadline=None)
@given(data=st.data(), name=st.sampled_from(NAMES), seed=st.integers(0, 1 << 16))
def test_changed_files(data: st.DataObject, name: str, seed: int, lib: ctypes.CDLL, packed: dict[str, bytes]) -> None:
    """Are refused with a code that `open` may give, or run: all verbs, inside the memory that they asked for."""
    raw = changed(data.draw, packed[name])
    file = File.of(lib, raw)
    status = file.open()
    if status != "OK":
        assert status in REFUSALS
        return
    model = file.model.ctypes.data
    size, work = lib.ernn_stream_size(model, 0), lib.ernn_model_work(model, 0)
    if size > 1 << 22 or work > 1 << 20 or lib.ernn_model_ports(model, 0, 0) != 1:
        return
    noise = random.Random(seed)
    isa = noise.choice(file.isas())
    stream = file.stream(isa=isa)
    assert stream.status == "OK"
    hop, port = lib.ernn_model_hop(model, 0), file.port(0)
    if hop > 64:
        return
    each, steps = port.bytes // hop, {"OK", "INDEX"}
    stream.buffer(0)[:] = np.frombuffer(noise.randbytes(port.bytes), np.uint8)
    assert stream.step() in steps
    count = noise.randrange(1, 2 * hop + 2)
    assert stream.push(noise.randbytes(each * count), frames=count)[0] in steps
    state = stream.save()
    assert stream.restore(state) == "OK"
    assert stream.save() == state
    broken = bytearray(state)
    broken[noise.randrange(len(broken))] ^= 1 << noise.randrange(8)
    assert stream.restore(bytes(broken)) in {"STATE", "NEWER"}
    assert stream.flush()[0] in steps | {"FLUSHED"}
    if ErnnFile(raw).get("program", 0, "vector_steps") < 100:
        assert file.selftest(isa=isa) in {"OK", "VECTORS"}
