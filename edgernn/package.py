"""A package of an encoder and a decoder: what it is called on disk, and how the decoder starts from the encoder."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgernn.errors import ModelFileError
from edgernn.spec import StartSpec, StateSpec

Array = npt.NDArray[Any]
ENCODER, DECODER = "encoder", "decoder"
INDEX = "package.json"  # in a folder: {"package_version": 1, "programs": {name: file}}
INDEX_VERSION = 1


def index_of(names: Iterable[str]) -> bytes:
    """The index of a folder with an ONNX file for each program."""
    index = {"package_version": INDEX_VERSION, "programs": {name: f"{name}.onnx" for name in names}}
    return (json.dumps(index, indent=2) + "\n").encode()


def files_in(folder: str | os.PathLike[str]) -> dict[str, str]:
    """The files of a folder's programs by name, the encoder's and the decoder's among them.

    Raises `ModelFileError` for a folder without an index, with one of another version, or without those two.
    """
    place = os.path.join(folder, INDEX)
    try:
        with open(place, encoding="utf-8") as index:
            data = json.load(index)
        version, listed = data["package_version"], data["programs"]
        files = {str(name): os.path.join(folder, os.path.basename(file)) for name, file in listed.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelFileError(f"is no index of a package ({error})", place=place) from None
    if version != INDEX_VERSION:
        raise ModelFileError(f"has version {version!r}; this edgernn reads {INDEX_VERSION}", place=place)
    check_names(files, place)
    return files


def check_names(programs: Iterable[str], place: str) -> None:
    """Raise `ModelFileError` unless there are an encoder and a decoder."""
    missing = sorted({ENCODER, DECODER} - set(programs), reverse=True)
    if missing:
        raise ModelFileError(f"has no program `{missing[0]}`: it is no package", place=place)


def started(start: StartSpec, state: StateSpec, output: Array) -> Array:
    """A state that starts from its piece of an encoder's output, in the state's own numbers."""
    piece = output.reshape(-1)[start.offset : start.offset + math.prod(state.shape)].reshape(state.shape)
    if start.limit is None:
        return piece
    whole = np.rint(piece.astype(np.float64) / start.unit)
    return np.clip(whole, -start.limit, start.limit).astype(state.dtype)
