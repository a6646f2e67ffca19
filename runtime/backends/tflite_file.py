"""The metadata of a `.tflite` file, read from its bytes: a device has no flatbuffer library.

A flatbuffer table is an int32 that leads back to its vtable, which holds for each field its place in the table, 0 where
absent. Field numbers are those of the TFLite schema. Every place is checked before it is read.
"""

from __future__ import annotations

import struct

from edgernn.errors import ModelFileError

_MODEL_BUFFERS, _MODEL_METADATA = 4, 6
_METADATA_NAME, _METADATA_BUFFER = 0, 1
_BUFFER_DATA = 0


def read_metadata(data: bytes, place: str) -> dict[str, bytes]:
    """The metadata's buffers by name. Raises `ModelFileError` when the bytes are no TFLite file."""
    if data[4:8] != b"TFL3":
        raise ModelFileError("is truncated, or no TFLite file at all", place=place)
    try:
        model = _follow(data, 0)
        buffers = _tables(data, model, _MODEL_BUFFERS)
        found = {}
        for entry in _tables(data, model, _MODEL_METADATA):
            index = _field(data, entry, _METADATA_BUFFER)
            buffer = buffers[_unsigned(data, index) if index else 0]
            found[_vector(data, entry, _METADATA_NAME).decode()] = _vector(data, buffer, _BUFFER_DATA)
        return found
    except (struct.error, IndexError, UnicodeDecodeError):
        raise ModelFileError("is damaged: its flatbuffer leads outside the file", place=place) from None


def _unsigned(data: bytes, at: int) -> int:
    if at < 0:
        raise IndexError
    number: int = struct.unpack_from("<I", data, at)[0]
    return number


def _follow(data: bytes, at: int) -> int:
    """Where the offset at `at` leads."""
    return at + _unsigned(data, at)


def _field(data: bytes, table: int, number: int) -> int:
    """Where a table's field lies, 0 when it is absent."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    if vtable < 0:
        raise IndexError
    size = struct.unpack_from("<H", data, vtable)[0]
    if 4 + 2 * number >= size:
        return 0
    offset = struct.unpack_from("<H", data, vtable + 4 + 2 * number)[0]
    return table + offset if offset else 0


def _tables(data: bytes, table: int, number: int) -> list[int]:
    """Where the tables of a vector lie."""
    at = _field(data, table, number)
    if not at:
        return []
    start = _follow(data, at)
    count = _unsigned(data, start)
    if start + 4 + 4 * count > len(data):
        raise IndexError
    return [_follow(data, start + 4 + 4 * index) for index in range(count)]


def _vector(data: bytes, table: int, number: int) -> bytes:
    """Bytes of a vector or string."""
    at = _field(data, table, number)
    if not at:
        return b""
    start = _follow(data, at)
    count = _unsigned(data, start)
    if start + 4 + count > len(data):
        raise IndexError
    return data[start + 4 : start + 4 + count]
