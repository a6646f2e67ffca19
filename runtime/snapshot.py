"""Saved states as bytes: versioned, checksummed, bound to one model.

Layout, little-endian: magic `ERNS`, u32 version, 32 bytes of the model's SHA-256, u32 number of counters, the counters
(i64), u32 number of arrays, each array as u32 length of its first axis and its bytes, and at the end the SHA-256 of all
before. Dtypes and the other axes are the model's, so they are not repeated.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgernn.errors import StateError

Array = npt.NDArray[Any]
Layout = tuple[Any, tuple[int | None, ...]]  # dtype, shape; None: any length

MAGIC = b"ERNS"
VERSION = 1
_HEAD = struct.Struct("<4sI32s")
HINT = "save the state again with this version of edgernn"


def pack(model_sha256: str, counters: Sequence[int], arrays: Sequence[Array]) -> bytes:
    """A snapshot's bytes."""
    parts = [_HEAD.pack(MAGIC, VERSION, bytes.fromhex(model_sha256))]
    parts.append(struct.pack(f"<I{len(counters)}q", len(counters), *counters))
    parts.append(struct.pack("<I", len(arrays)))
    for array in arrays:
        parts.append(struct.pack("<I", array.shape[0] if array.ndim else 1))
        parts.append(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    body = b"".join(parts)
    return body + hashlib.sha256(body).digest()


def unpack(
    data: bytes, model_sha256: str, counters: int, layouts: Sequence[Layout]
) -> tuple[tuple[int, ...], list[Array]]:
    """Counters and arrays of a snapshot. Raises `StateError` when it is damaged, or not of this model."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise StateError(f"a saved state is bytes; {type(data).__name__} came", hint="give what `save()` returned")
    if len(data) < _HEAD.size + 32 or data[:4] != MAGIC:
        raise StateError("these bytes are no saved state")
    _, version, model = _HEAD.unpack_from(data)
    if version != VERSION:
        raise StateError(f"the saved state has version {version}; this edgernn reads {VERSION}", hint=HINT)
    if hashlib.sha256(data[:-32]).digest() != data[-32:]:
        raise StateError("the saved state is damaged: its checksum does not match")
    if model.hex() != model_sha256:
        raise StateError("the saved state belongs to another model", hint="restore it into the model that saved it")
    reader = _Reader(data[_HEAD.size : -32])
    if reader.u32() != counters:
        raise StateError("the saved state has another layout", hint=HINT)
    numbers = struct.unpack(f"<{counters}q", reader.take(8 * counters))
    if reader.u32() != len(layouts):
        raise StateError("the saved state has another layout", hint=HINT)
    arrays = [reader.array(layout) for layout in layouts]
    if reader.rest():
        raise StateError("the saved state has another layout", hint=HINT)
    return numbers, arrays


class _Reader:
    """Takes bytes off the front of a snapshot's body."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise StateError("the saved state has another layout", hint=HINT)
        self._at += count
        return self._data[self._at - count : self._at]

    def u32(self) -> int:
        return int(struct.unpack("<I", self.take(4))[0])

    def rest(self) -> int:
        return len(self._data) - self._at

    def array(self, layout: Layout) -> Array:
        dtype, shape = np.dtype(layout[0]).newbyteorder("<"), layout[1]
        first = self.u32()
        if shape and shape[0] is not None and shape[0] != first:
            raise StateError("the saved state has another layout", hint=HINT)
        full = (first, *(size or 0 for size in shape[1:])) if shape else ()
        raw = self.take(math.prod(full) * dtype.itemsize)
        return np.frombuffer(raw, dtype).reshape(full).astype(layout[0])
