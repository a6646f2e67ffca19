"""The hash that a model file carries of itself.

`content_sha256` in the contract is the SHA-256 of the file's bytes with the digest's own 64 digits taken as zeros (in
each contract, where a file holds several), so that a device can check a file without understanding its format.
"""

from __future__ import annotations

import hashlib
import re

UNSEALED = "0" * 64  # what the contract holds until the file is sealed
_FIELD = re.compile(rb'"content_sha256":"([0-9a-f]{64})"')


def content_hash(data: bytes) -> str:
    """The hash of a file's bytes, "" when they carry no contract."""
    if _FIELD.search(data) is None:
        return ""
    return hashlib.sha256(_with_digest(data, UNSEALED)).hexdigest()


def stored_hash(data: bytes) -> str:
    """The hash that a file says it has, "" when its bytes carry no contract."""
    found = _FIELD.search(data)
    return "" if found is None else found[1].decode()


def seal(data: bytes) -> bytes:
    """A file's bytes with their hash in the place where its contract was written as `UNSEALED`."""
    assert _FIELD.search(data) is not None, "a contract is in the file"
    return _with_digest(data, content_hash(data))


def _with_digest(data: bytes, digest: str) -> bytes:
    return _FIELD.sub(f'"content_sha256":"{digest}"'.encode(), data)
