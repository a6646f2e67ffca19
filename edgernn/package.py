"""A package of an encoder and a decoder: what it is called on disk, and how the decoder starts from the encoder."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from edgernn.spec import StartSpec, StateSpec

Array = npt.NDArray[Any]

ENCODER, DECODER = "encoder", "decoder"
INDEX = "package.json"  # in a folder: {"package_version": 1, "programs": {name: file}}
INDEX_VERSION = 1


def started(start: StartSpec, state: StateSpec, output: Array) -> Array:
    """A state that starts from its piece of an encoder's output, in the state's own numbers."""
    piece = output.reshape(-1)[start.offset : start.offset + math.prod(state.shape)].reshape(state.shape)
    if start.limit is None:
        return piece
    whole = np.rint(piece.astype(np.float64) / start.unit)
    return np.clip(whole, -start.limit, start.limit).astype(state.dtype)
