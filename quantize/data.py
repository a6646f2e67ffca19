"""Sequences to calibrate with or to compare on: npz, csv, folders of wav or npy, or an iterable of the caller's."""

from __future__ import annotations

import importlib
import os
import re
import sys
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgernn.errors import CalibrationError
from edgernn.program import Array
from edgernn.runtime import read_recording
from edgernn.spec import InputSpec, StreamSpec

Source = str | Path | Iterable[Any]


@dataclass(frozen=True)
class Sequences:
    """Each item has one array `[frames, …frame]` per input, all of whole hops; `lengths` counts their input frames."""

    items: list[dict[str, Array]]
    lengths: list[int]
    targets: list[Any]  # one per item where the source has them, else empty

    def limited(self, frames: int) -> Sequences:
        """The first `frames` input frames, over as many sequences as they need."""
        items: list[dict[str, Array]] = []
        lengths: list[int] = []
        for item, length in zip(self.items, self.lengths, strict=True):
            take = min(length, frames - sum(lengths))
            if take > 0:
                items.append({name: array[:take] for name, array in item.items()})
                lengths.append(take)
        return Sequences(items, lengths, self.targets[: len(items)])


def read_sequences(source: Source, spec: StreamSpec) -> Sequences:
    """Read and check sequences against a contract.

    `source` is a file (npz: an array per input, `[frames, …]` or `[sequences, frames, …]`, or ragged as `name/0`,
    `name/1`; csv: a header of feature names; wav), a folder of wav or npy files, `pkg.module:name` of an iterable or
    a function that gives one, or an iterable itself. Its items are arrays, or a mapping of them by input name. Raises
    `CalibrationError`, or `InputError` for a file that can't be read.
    """
    place = str(source) if isinstance(source, (str, Path)) else "the sequences"
    targets: list[Any] = []
    if isinstance(source, (str, Path)):
        path = Path(source)
        if path.is_dir():
            found = list(_folder(path, spec))
        elif path.suffix.lower() == ".npz":
            found, targets = _npz(path, spec)
        elif ":" in str(source) and not path.exists():
            found = [_named(item, spec) for item in _imported(str(source))]
        else:
            found = [read_recording(path, spec)]
    else:
        found = [_named(item, spec) for item in source]
    if not found:
        raise CalibrationError("has no sequences", place=place)
    items = [_checked(item, spec, f"{place}, sequence {index}") for index, item in enumerate(found)]
    lengths = [len(item[spec.inputs[0].name]) for item in items]
    return Sequences(items, lengths, targets)


def check_calibration(sequences: Sequences, spec: StreamSpec, place: str) -> None:
    """Refuse sequences that say too little: fewer steps than a scale needs, or a feature that never changes."""
    needed = 16 * spec.hop + spec.latency
    if sum(sequences.lengths) < needed:
        raise CalibrationError(
            f"has {sum(sequences.lengths)} frames; {needed} are the least", place=place, hint="some seconds are right"
        )
    for port in spec.inputs:
        if port.dtype != "float32" or not port.frame:
            continue
        frames = [item[port.name].reshape(-1, int(np.prod(port.frame))) for item in sequences.items]
        still = np.max([f.max(0) for f in frames], axis=0) == np.min([f.min(0) for f in frames], axis=0)
        if still.any():
            raise CalibrationError(
                f"feature {int(np.flatnonzero(still)[0])} of `{port.name}` is constant: its range cannot be known",
                place=place,
                hint="take calibration data in which every feature moves, or drop the feature from the model",
            )


def _checked(item: Mapping[str, Array], spec: StreamSpec, place: str) -> dict[str, Array]:
    result = {}
    for port in spec.inputs:
        array = np.asarray(item[port.name])
        if array.shape[1:] != port.frame:
            raise CalibrationError(
                f"`{port.name}` has shape {list(array.shape)}; the model takes [frames"
                f"{''.join(f', {size}' for size in port.frame)}]",
                place=place,
            )
        if np.dtype(port.dtype).kind in "iu" and array.dtype.kind not in "iu":
            raise CalibrationError(f"`{port.name}` is {array.dtype}; the model takes {port.dtype}", place=place)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = int(np.argwhere(~np.isfinite(array))[0][0])
            raise CalibrationError(f"`{port.name}` has NaN or infinity in frame {bad}", place=place)
        result[port.name] = array.astype(port.dtype)
    lengths = {len(array) for array in result.values()}
    if len(lengths) > 1:
        raise CalibrationError(f"its inputs have different lengths: {sorted(lengths)}", place=place)
    length = min(lengths)
    if length < spec.hop:
        raise CalibrationError(f"has {length} frames; a step takes {spec.hop}", place=place)
    whole = length - length % spec.hop
    return {name: array[:whole] for name, array in result.items()}


def _named(item: Any, spec: StreamSpec) -> dict[str, Array]:
    if isinstance(item, Mapping):
        missing = [port.name for port in spec.inputs if port.name not in item]
        if missing:
            raise CalibrationError(f"an item has no `{missing[0]}`", hint=f"it has: {', '.join(map(str, item))}")
        return {port.name: np.asarray(item[port.name]) for port in spec.inputs}
    if len(spec.inputs) > 1:
        raise CalibrationError("the model has several inputs", hint="give mappings by input name")
    return {spec.inputs[0].name: np.asarray(item)}


def _imported(text: str) -> Iterable[Any]:
    name, _, attribute = text.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise CalibrationError(f"cannot be imported ({error})", place=text) from None
    finally:
        sys.path.pop(0)
    items = found() if callable(found) else found
    if not isinstance(items, Iterable):
        raise CalibrationError("is no iterable of sequences", place=text)
    return items


def _folder(path: Path, spec: StreamSpec) -> Iterable[dict[str, Array]]:
    files = sorted(item for item in path.iterdir() if item.suffix.lower() in (".wav", ".npy"))
    if not files:
        raise CalibrationError("has no wav or npy files", place=str(path))
    for file in files:
        if file.suffix.lower() == ".wav":
            yield read_recording(file, spec)
            continue
        try:
            yield _named(np.load(file, allow_pickle=False), spec)
        except (ValueError, EOFError) as error:
            raise CalibrationError(f"cannot be read as npy ({error})", place=str(file)) from None


def _npz(path: Path, spec: StreamSpec) -> tuple[list[dict[str, Array]], list[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except OSError as error:
        raise CalibrationError(f"cannot be read: {error.strerror or error}", place=str(path)) from None
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CalibrationError(f"cannot be read as npz ({error})", place=str(path)) from None
    targets = _pieces(arrays, "targets", None) or []
    arrays = {name: item for name, item in arrays.items() if name.split("/")[0] != "targets"}
    by_input: dict[str, list[Array]] = {}
    for port in spec.inputs:
        stems = {name.split("/")[0] for name in arrays}
        stem = port.name if port.name in stems or len(spec.inputs) > 1 or len(stems) != 1 else stems.pop()
        pieces = _pieces(arrays, stem, port)
        if pieces is None:
            raise CalibrationError(
                f"has no array `{port.name}`", place=str(path), hint=f"it has: {', '.join(sorted(arrays)) or 'none'}"
            )
        by_input[port.name] = pieces
    counts = {name: len(pieces) for name, pieces in by_input.items()}
    if len(set(counts.values())) > 1:
        raise CalibrationError(f"its inputs have different numbers of sequences: {counts}", place=str(path))
    names = list(by_input)
    found = [dict(zip(names, parts, strict=True)) for parts in zip(*by_input.values(), strict=True)]
    return found, targets if len(targets) == len(found) else []


def _pieces(arrays: Mapping[str, Array], stem: str, port: InputSpec | None) -> list[Array] | None:
    """Sequences of one name: ragged ones in the order of their numbers, or the rows of one array."""
    ragged = [name for name in arrays if re.fullmatch(re.escape(stem) + r"/\d+", name)]
    if ragged:
        return [arrays[name] for name in sorted(ragged, key=lambda name: int(name.rpartition("/")[2]))]
    if stem not in arrays:
        return None
    array = arrays[stem]
    return list(array) if port is None or array.ndim == len(port.frame) + 2 else [array]
