"""Frames from a file or from stdin: wav, npz, csv, raw samples."""

from __future__ import annotations

import csv
import wave
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from edgernn.errors import InputError
from edgernn.runtime.frames import by_name
from edgernn.spec import InputSpec, StreamSpec

Array = npt.NDArray[Any]

RAW_FORMATS = {"s16le": "<i2", "f32le": "<f4"}
SUFFIXES = (".wav", ".npz", ".csv")


def read(path: Path, spec: StreamSpec) -> dict[str, Array]:
    """All frames of a file by input name, `[frames, …frame]`, checked against the contract.

    A wav must have the model's rate; an npz has one array per input (or one array for one input); a csv has a header
    of feature names and one frame a line. Raises `InputError`.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"is none of {', '.join(SUFFIXES)}", place=str(path), hint="pipe raw samples into `--input -`")
    if suffix != ".npz" and len(spec.inputs) > 1:
        raise InputError("the model has several inputs", place=str(path), hint="give an npz with an array for each")
    try:
        if suffix == ".npz":
            return by_name(spec.inputs, _npz(path, spec))
        port = spec.inputs[0]
        return by_name(spec.inputs, _wav(path, port) if suffix == ".wav" else _csv(path, port))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", place=str(path)) from None


def raw(source: BinaryIO, port: InputSpec, kind: str, frames: int) -> Iterator[Array]:
    """Frames from a pipe as they come, at most `frames` at a time; bytes behind the last whole frame are dropped."""
    dtype = np.dtype(RAW_FORMATS[kind])
    width = dtype.itemsize * int(np.prod(port.frame, dtype=int))
    rest = b""
    read_some = getattr(source, "read1", source.read)
    while chunk := read_some(frames * width):
        data = rest + chunk
        whole = len(data) - len(data) % width
        rest = data[whole:]
        if whole:
            samples = np.frombuffer(data[:whole], dtype)
            yield _scaled(samples).reshape(-1, *port.frame)


def _scaled(samples: Array) -> Array:
    """Samples as float32; 16-bit ones in [-1, 1)."""
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / np.float32(2 ** (8 * samples.dtype.itemsize - 1))
    return samples.astype(np.float32)


def _wav(path: Path, port: InputSpec) -> Array:
    try:
        with wave.open(str(path)) as file:
            rate, width, channels = file.getframerate(), file.getsampwidth(), file.getnchannels()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise InputError(f"is no PCM wav file ({error})", place=str(path)) from None
    if port.rate_hz is not None and rate != port.rate_hz:
        raise InputError(
            f"is sampled at {rate} Hz; the model takes {port.rate_hz:g} Hz",
            place=str(path),
            hint=f"resample it: sox {path.name} -r {port.rate_hz:g} out.wav",
        )
    if width not in (1, 2, 4):
        raise InputError(f"has {8 * width}-bit samples; 8, 16 and 32 are read", place=str(path))
    if channels != int(np.prod(port.frame, dtype=int)):
        raise InputError(
            f"has {channels} channels; the model takes frames of shape {list(port.frame)}",
            place=str(path),
            hint="take one channel: sox in.wav out.wav remix 1" if channels > 1 else "",
        )
    whole = len(data) - len(data) % (width * channels)  # a recorder that was killed leaves half a sample
    samples: Array = np.frombuffer(data[:whole], {1: "u1", 2: "<i2", 4: "<i4"}[width])
    scaled = samples.astype(np.float32) / 128 - 1 if width == 1 else _scaled(samples)
    return scaled.reshape(-1, *port.frame)


def _npz(path: Path, spec: StreamSpec) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"cannot be read as npz ({error})", place=str(path)) from None
    names = [port.name for port in spec.inputs]
    if len(names) == len(arrays) == 1:
        return {names[0]: next(iter(arrays.values()))}
    missing = sorted(set(names) - set(arrays))
    if missing:
        raise InputError(f"has no array `{missing[0]}`", place=str(path), hint=f"it has: {', '.join(sorted(arrays))}")
    return {name: arrays[name] for name in names}


def _csv(path: Path, port: InputSpec) -> Array:
    number = int if np.dtype(port.dtype).kind in "iu" else float
    width = int(np.prod(port.frame, dtype=int))
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = list(csv.reader(file)) or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"is no csv text ({error})", place=str(path)) from None
    if header and all(map(_is_number, header)):
        raise InputError("its first line has numbers; it must name the features", place=str(path))
    if len(header) != width:
        raise InputError(f"has {len(header)} columns; the model takes {width}", place=str(path))
    values = []
    for line, row in enumerate(rows, 2):
        if len(row) != width:
            raise InputError(f"line {line} has {len(row)} columns, the header {width}", place=str(path))
        try:
            values.append([number(item) for item in row])
        except ValueError:
            kind = "integer" if number is int else "number"
            raise InputError(f"line {line} has something that is no {kind}", place=str(path)) from None
    return np.array(values, "int64" if number is int else "float32").reshape(-1, *port.frame)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
