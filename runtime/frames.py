"""Check what a caller hands in, and say what was wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgernn.errors import InputError
from edgernn.spec import InputSpec

Array = npt.NDArray[Any]


def by_name(ports: tuple[InputSpec, ...], given: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
    """The caller's arrays by input name, checked: `[frames, …frame]` each, all with as many frames."""
    if not isinstance(given, Mapping):
        if len(ports) > 1:
            names = ", ".join(port.name for port in ports)
            raise InputError(f"the model has {len(ports)} inputs ({names})", hint="give a dict of arrays by name")
        return {ports[0].name: check(ports[0], given)}
    known = {port.name for port in ports}
    if set(given) != known:
        raise InputError(f"inputs {sorted(given)} came; the model takes {sorted(known)}")
    arrays = {port.name: check(port, given[port.name]) for port in ports}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"the inputs have different numbers of frames: {lengths}")
    return arrays


def check(port: InputSpec, given: npt.ArrayLike) -> Array:
    """One input's frames `[frames, …frame]` in its dtype.

    float64 becomes float32, integers of any width an integer input's. Raises `InputError` for another shape or kind.
    """
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise InputError(f"no array can be made of it ({error})", place=port.name) from None
    if not array.size and not isinstance(given, np.ndarray):  # an empty list says nothing of its elements
        array = array.astype(port.dtype)
    array = _convert(port, array)
    frame = port.frame
    if array.shape[1:] != frame or array.ndim != len(frame) + 1:
        wanted = ", ".join(["frames", *map(str, frame)])
        raise InputError(
            f"an array of shape {list(array.shape)} came; the model takes [{wanted}]",
            place=port.name,
            hint=_shape_hint(port, array),
        )
    return array


def _convert(port: InputSpec, array: Array) -> Array:
    wanted = np.dtype(port.dtype)
    if array.dtype == wanted:
        return array
    if wanted.kind == "f" and array.dtype.kind == "f":
        return array.astype(wanted)
    if wanted.kind in "iu" and array.dtype.kind in "iu":
        bounds = np.iinfo(wanted)
        if array.size and not (bounds.min <= array.min() and array.max() <= bounds.max):
            raise InputError(f"integers beyond {port.dtype} came", place=port.name)
        return array.astype(wanted)
    hint = ""
    if wanted.kind == "f" and array.dtype == np.int16:
        hint = "16-bit audio as float32 is `samples / 32768`"
    elif wanted.kind == "f" and array.dtype.kind in "iu":
        hint = "convert it with .astype(np.float32), scaled as in training"
    raise InputError(f"{array.dtype} came; the model takes {port.dtype}", place=port.name, hint=hint)


def _shape_hint(port: InputSpec, array: Array) -> str:
    frame = port.frame
    if array.ndim == len(frame) + 2 and 1 in array.shape[:2] and array.shape[2:] == frame:
        return "leave the batch axis out: a stream is one sequence"
    if array.ndim == len(frame) + 2 and array.shape[2:] == frame:
        return "a stream is one sequence: give one of these"
    if array.shape == frame and frame:
        return "one frame is x[None]: time is the first axis"
    if array.ndim == 2 and len(frame) == 1 and array.shape[0] == frame[0]:
        return "time is the first axis: x.T"
    return ""
