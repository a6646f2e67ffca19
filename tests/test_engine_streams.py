"""Programs, streams and saved states through the C interface."""

from __future__ import annotations

import ctypes
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import edgernn
from edgernn.content import UNSEALED, content_hash, seal, stored_hash
from edgernn.errors import ExportError, ModelFileError
from edgernn.export.to_ernn import pack
from edgernn.export.to_ernn.format import OPS

from engine_library import STATUSES, File, Stream, library
from ernn_file import ErnnFile
from small_programs import PROGRAMS

NAMES = list(PROGRAMS)


@pytest.fixture(scope="module")
def lib() -> ctypes.CDLL:
    """The library."""
    return library()


@pytest.fixture(scope="module")
def packed() -> dict[str, bytes]:
    """A file of each program."""
    return {name: pack(PROGRAMS[name]()) for name in NAMES}


def opened(lib: ctypes.CDLL, raw: bytes) -> File:
    """A file that opens."""
    file = File.of(lib, raw)
    assert file.open() == "OK"
    return file


def frames(name: str, count: int, seed: int = 0) -> bytes:
    """Random input frames of a program: indices of its table, or floats."""
    random = np.random.default_rng(seed)
    if name == "indices":
        return random.integers(-7, 7, count).astype(np.int64).tobytes()
    return random.standard_normal((count, 3)).astype(np.float32).tobytes()


def test_every_operation_is_in_a_program(packed: dict[str, bytes]) -> None:
    """So that every one is tested, and seeds the fuzzer."""
    kinds = set()
    for raw in packed.values():
        words, at = ErnnFile(raw).words(), 0
        while at < len(words):
            kinds.add(OPS[words[at] & 0xFFFF])
            at += 2 + (words[at] >> 16 & 255) + (words[at] >> 24) + words[at + 1]
    assert kinds == set(OPS)


@pytest.mark.parametrize("name", NAMES)
def test_vectors_on_every_instruction_set(name: str, lib: ctypes.CDLL, packed: dict[str, bytes]) -> None:
    """The reference computed the hash in the file."""
    file = opened(lib, packed[name])
    assert {isa: file.selftest(isa=isa) for isa in file.isas()} == dict.fromkeys(file.isas(), "OK")
    assert "scalar" in file.isas()


def test_programs_share_weights(lib: ctypes.CDLL, packed: dict[str, bytes]) -> None:
    """A program twice costs its tables, not its constants; each is found by its name and has its own vectors."""
    program = PROGRAMS["integer_cells"]()
    raw = pack({"encoder": program, "decoder": program, "other": PROGRAMS["cells"]()})
    both = ErnnFile(pack({"encoder": program, "decoder": program}))
    assert both.parts()[4:6] == ErnnFile(packed["integer_cells"]).parts()[4:6]
    file = opened(lib, raw)
    assert [file.find(name) for name in ("encoder", "decoder", "other")] == [("OK", 0), ("OK", 1), ("OK", 2)]
    assert file.find("encode") == ("NO_PROGRAM", 0)
    assert [file.selftest(number) for number in range(3)] == ["OK"] * 3
    assert content_hash(raw) == stored_hash(raw) != ""
    assert raw.count(stored_hash(raw).encode()) == 3
    assert pack({"encoder": program, "decoder": program, "other": PROGRAMS["cells"]()}) == raw
    with pytest.raises(ExportError, match="at least one program"):
        pack({})


def drain(stream: Stream) -> list[bytes]:
    """All that flush gives, by output."""
    status, parts = stream.flush()
    total = parts
    while status == "OK":
        status, parts = stream.flush()
        total = [whole + part for whole, part in zip(total, parts, strict=True)]
    assert status == "FLUSHED"
    return total


@pytest.mark.parametrize("name", NAMES)
def test_pieces_of_any_size(name: str, lib: ctypes.CDLL, packed: dict[str, bytes]) -> None:
    """Push gives the same frames in any pieces, and with flush as many as the whole sequence has."""
    file, count = opened(lib, packed[name]), 41
    x = frames(name, count)
    size = len(x) // count
    whole = file.stream()
    status, expected = whole.push(x, frames=count)
    assert status == "OK"
    ends = drain(whole)
    for number, end in enumerate(ends):
        port = file.port(1, number)
        assert len(expected[number] + end) == (count + port.offset) // port.period * (port.bytes // port.dims[0])
    stream, got, at = file.stream(), [b""] * len(expected), 0
    for piece in (1, 1, 5, 0, 2, 7, 3, 1, 16, 5):
        status, parts = stream.push(x[at * size : (at + piece) * size], frames=piece)
        assert status == "OK"
        got, at = [whole + part for whole, part in zip(got, parts, strict=True)], at + piece
    assert at == count
    assert got == expected
    assert drain(stream) == ends


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_state_goes_on(name: str, lib: ctypes.CDLL, packed: dict[str, bytes]) -> None:
    """In another stream, in the middle of a hop, for push and flush and for process, which lags into past outputs."""
    file = opened(lib, packed[name])
    x, more = frames(name, 7), frames(name, 5, seed=1)
    stream, other = file.stream(), file.stream(isa="scalar")
    assert stream.push(x, frames=7)[0] == "OK"
    state = stream.save()
    other.push(more, frames=5)
    assert other.restore(state) == "OK"
    assert other.save() == state
    if len(drain(file.stream())) == 1:
        size = file.port(1).bytes // file.port(1).dims[0]
        assert stream.process(more, 5, 5 * size) == other.process(more, 5, 5 * size)
    assert stream.push(more, frames=5) == other.push(more, frames=5)
    assert stream.flush() == other.flush()
    assert other.restore(stream.save()) == "OK"  # in the middle of the end
    assert drain(stream) == drain(other)
    stream.reset()
    assert stream.push(x, frames=7) == file.stream().push(x, frames=7)


def step_all(lib: ctypes.CDLL, streams: list[Stream]) -> str:
    """One hop of each."""
    handles = (ctypes.c_void_p * len(streams))(*(stream.handle for stream in streams))
    return STATUSES[lib.ernn_step_all(handles, len(streams))]


def filled(streams: list[Stream], seed: int) -> None:
    """Random inputs of their own."""
    random = np.random.default_rng(seed)
    for stream in streams:
        x = stream.buffer(0)
        x[...] = np.frombuffer(random.standard_normal(x.size // 4).astype(np.float32).tobytes(), np.uint8)


def test_streams_of_all_kinds_step_together(lib: ctypes.CDLL, packed: dict[str, bytes]) -> None:
    """More than are joined at once, of several programs, models and instruction sets, in turn and in runs."""
    both = pack({"one": PROGRAMS["integer_cells"](), "two": PROGRAMS["integers"]()})
    made: list[tuple[File, int]] = [(opened(lib, both), 0), (opened(lib, both), 1), (opened(lib, packed["cells"]), 0)]
    kinds = [0] * 35 + [1, 0, 1, 2, 2, 1, 1]
    isas = [None if index % 20 else "scalar" for index in range(len(kinds))]
    together, alone = (
        [made[kind][0].stream(made[kind][1], isa) for kind, isa in zip(kinds, isas, strict=True)] for _ in range(2)
    )
    for step in range(4):
        for group in (together, alone):
            filled(group, step)
        assert step_all(lib, together) == "OK"
        for one, other in zip(together, alone, strict=True):
            assert other.step() == "OK"
            assert one.save() == other.save()
    assert len({stream.save() for stream in together[:35]}) == 35
    assert step_all(lib, []) == "OK"


@pytest.mark.parametrize("refusal", ["WAITING", "FLUSHED"])
def test_none_steps_where_one_cannot(lib: ctypes.CDLL, packed: dict[str, bytes], refusal: str) -> None:
    file = opened(lib, packed["integer_cells"])
    streams = [file.stream() for _ in range(3)]
    if refusal == "WAITING":
        assert streams[2].push(frames("integer_cells", 1), frames=1)[0] == "OK"
    else:
        drain(streams[2])
    before = [stream.save() for stream in streams]
    assert step_all(lib, streams) == refusal
    assert [stream.save() for stream in streams] == before


def test_an_index_outside_its_table_is_told(lib: ctypes.CDLL, packed: dict[str, bytes]) -> None:
    file = opened(lib, packed["indices"])
    streams = [file.stream() for _ in range(3)]
    for stream in streams:
        stream.buffer(0)[...] = 0
    assert step_all(lib, streams) == "OK"
    streams[1].buffer(0)[...] = 127
    assert step_all(lib, streams) == "INDEX"


def test_process_is_push_that_lags(lib: ctypes.CDLL, packed: dict[str, bytes]) -> None:
    file = opened(lib, packed["cells"])
    x, size = frames("cells", 50), file.port(1).bytes // 2
    stream, got, at = file.stream(), b"", 0
    for piece in (1, 2, 3, 11, 1, 32):
        status, y = stream.process(x[at * 12 : (at + piece) * 12], piece, piece * size)
        assert status == "OK"
        got, at = got + y, at + piece
    _, (pushed,) = file.stream().push(x, frames=50)
    lag = file.port(1).delay + 1  # hop - 1
    assert got[:size] == bytes(size)
    assert got[lag * size :] == pushed[: (50 - lag) * size]


def test_a_file_that_asks_for_more_memory_than_there_is(packed: dict[str, bytes], tmp_path: Path) -> None:
    """It opens: what a stream takes is known before it is made. In Python that is an error of the file."""
    edited = ErnnFile(packed["cells"]).set("program", 0, "arena", 1 << 46)
    digest = re.compile(rb'(?<="content_sha256":")[0-9a-f]{64}')
    (tmp_path / "m.ernn").write_bytes(seal(digest.sub(UNSEALED.encode(), bytes(edited.raw))))
    model = edgernn.load(tmp_path / "m.ernn")
    assert model.details["stream_bytes"] > 1 << 46
    with pytest.raises(ModelFileError, match=r"m\.ernn: a stream of it takes 70,368,7\d\d,\d\d\d,\d\d\d bytes"):
        model.stream()


def test_threads_share_a_model(lib: ctypes.CDLL, packed: dict[str, bytes]) -> None:
    """ctypes lets go of the interpreter's lock: the streams do run at the same time."""
    file = opened(lib, packed["integer_cells"])
    inputs = [frames("cells", 4000, seed) for seed in range(8)]

    def run(x: bytes) -> tuple[str, list[bytes]]:
        return file.stream().push(x, frames=4000)

    alone = [run(x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, inputs)) == alone
