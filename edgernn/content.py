"""The hash that a model file carries of itself.

`content_sha256` in the contract is the SHA-256 of the file's bytes with the digest's own 64 digits taken as zeros, so
that a device can check a file without understanding its format.
"""

from __future__ import annotations

import hashlib
import re

UNSEALED = "0" * 64  # what the contract holds until the file is sealed
_FIELD = re.compile(rb'"content_sha256":"([0-9a-f]{64})"')


def content_hash(data: bytes) -> str:
    """The hash of a file's bytes, "" when they carry no contract."""
    found = _FIELD.search(data)
    if found is None:
        return ""
    start, end = found.span(1)
    digest = hashlib.sha256(data[:start])
    digest.update(UNSEALED.encode())
    digest.update(data[end:])
    return digest.hexdigest()


def stored_hash(data: bytes) -> str:
    """The hash that a file says it has, "" when its bytes carry no contract."""
    found = _FIELD.search(data)
    return "" if found is None else found[1].decode()


def seal(data: bytes) -> bytes:
    """A file's bytes with their hash in the place where its contract was written as `UNSEALED`."""
    found = _FIELD.search(data)
    assert found is not None, "a contract is in the file"
    return data[: found.start(1)] + content_hash(data).encode() + data[found.end(1) :]
