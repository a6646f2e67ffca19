"""Sequences to calibrate with or to compare on: npz, csv, folders of wav or npy, or an iterable of the caller's."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgernn.errors import CalibrationError, InputError
from edgernn.named import named
from edgernn.package import started
from edgernn.program import Array, Program
from edgernn.runtime import check_frames, read_recording
from edgernn.spec import InputSpec, StateSpec, StreamSpec

Source = str | Path | Iterable[Any]


@dataclass(frozen=True)
class Sequences:
    """Each item has one array `[frames, …frame]` per input, all of whole hops; `lengths` counts their input frames."""

    items: list[dict[str, Array]]
    lengths: list[int]
    targets: list[Any]  # one per item where the source has them, else empty
    starts: list[Mapping[str, Array]] = field(default_factory=list)  # of a decoder: the encoder's outputs, one per item

    def begun(self, program: Program, index: int) -> Program:
        """The program as it starts into a sequence: a decoder's states from what the encoder gave."""
        return begun(program, self.starts[index]) if self.starts else program

    def sha256(self) -> str:
        """The hash of all frames, by sequence and input."""
        digest = hashlib.sha256()
        for item in self.items:
            for name, array in sorted(item.items()):
                digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def limited(self, frames: int) -> Sequences:
        """The first `frames` input frames, over as many sequences as they need."""
        items: list[dict[str, Array]] = []
        lengths: list[int] = []
        for item, length in zip(self.items, self.lengths, strict=True):
            take = min(length, frames - sum(lengths))
            if take > 0:
                items.append({name: array[:take] for name, array in item.items()})
                lengths.append(take)
        return Sequences(items, lengths, self.targets[: len(items)], self.starts[: len(items)])


def begun(program: Program, outputs: Mapping[str, Array]) -> Program:
    """A decoder whose states start from an encoder's outputs."""
    loop = program.spec.decoding
    links = {start.state: start for start in loop.starts} if loop is not None else {}
    states = []
    for state in program.spec.states:
        if state.input in links:
            start = links[state.input]
            state = replace(state, init=StateSpec.encode(started(start, state, outputs[start.output])))
        states.append(state)
    return replace(program, spec=replace(program.spec, states=tuple(states)))


def read_sequences(source: Source, spec: StreamSpec) -> Sequences:
    """Read and check sequences against a contract.

    `source` is a file (npz: an array per input, `[frames, …]` or `[sequences, frames, …]`, or ragged as `name/0`,
    `name/1`; csv: a header of feature names; wav), a folder of wav or npy files, `pkg.module:name` of an iterable or
    a function that gives one, or an iterable itself. Its items are arrays, or mappings of them by input name.
    `targets`, one for each sequence, are an array of the npz, or a key of each mapping. Raises `CalibrationError`, or
    `InputError` for a file that can't be read.
    """
    place = str(source) if isinstance(source, (str, Path)) else "the sequences"
    items: list[dict[str, Array]] = []
    targets: list[Any] = []
    for given, target in _found(source, spec):
        items.append(_checked(given, spec, f"{place}, sequence {len(items)}"))
        if target is not None:
            targets.append(target)
    if not items:
        raise CalibrationError("has no sequences", place=place)
    lengths = [len(item[spec.inputs[0].name]) for item in items]
    if targets and len(targets) != len(items):
        raise CalibrationError(f"has {len(targets)} targets for {len(items)} sequences", place=place)
    return Sequences(items, lengths, targets)


def read_pairs(source: str | Iterable[Any]) -> list[tuple[Any, Sequence[int]]]:
    """What an encoder takes, and the tokens that belong to it: pairs, or `pkg.module:name` of them, or of a function
    that gives them. Raises `CalibrationError`.
    """
    place = source if isinstance(source, str) else "the sequences"
    items = named(source, "iterable", CalibrationError) if isinstance(source, str) else source
    pairs = list(_guarded(items, place))
    if not all(isinstance(pair, Sequence) and len(pair) == 2 for pair in pairs):
        raise CalibrationError("holds something else than pairs of an input and its tokens", place=place)
    return pairs


def check_calibration(sequences: Sequences, spec: StreamSpec, place: str) -> None:
    """Refuse sequences that say too little: fewer steps than a scale needs, or a feature that never changes."""
    needed = 16 * spec.hop + spec.latency
    if sum(sequences.lengths) < needed:
        raise CalibrationError(
            f"has {sum(sequences.lengths)} frames; {needed} are the least", place=place, hint="some seconds are right"
        )
    memory = spec.decoding.memory if spec.decoding is not None else None  # its last rows may be empty in all sequences
    for port in spec.inputs:
        if port.dtype != "float32" or not port.frame or port.name == memory:
            continue
        frames = [item[port.name].reshape(-1, int(np.prod(port.frame))) for item in sequences.items]
        still = np.max([f.max(0) for f in frames], axis=0) == np.min([f.min(0) for f in frames], axis=0)
        if still.any():
            raise CalibrationError(
                f"feature {int(np.flatnonzero(still)[0])} of `{port.name}` is constant: its range cannot be known",
                place=place,
                hint="take calibration data in which every feature moves, or drop the feature from the model",
            )


def _checked(given: Any, spec: StreamSpec, place: str) -> dict[str, Array]:
    """The arrays of one sequence by input name, cut to whole hops."""
    try:
        with np.errstate(over="ignore"):
            arrays = check_frames(spec.inputs, given)
    except InputError as error:
        inner = f"{place}, `{error.place}`" if error.place else place
        raise CalibrationError(error.cause, place=inner, hint=error.hint) from None
    length = len(arrays[spec.inputs[0].name])
    if length < spec.hop:
        raise CalibrationError(f"has {length} frames; a step takes {spec.hop}", place=place)
    for name, array in arrays.items():
        finite = np.isfinite(array).reshape(length, -1).all(1)
        if not finite.all():
            bad = int(np.argmin(finite))
            raise CalibrationError(f"`{name}` has NaN or infinity in frame {bad}", place=place)
    return {name: array[: length - length % spec.hop] for name, array in arrays.items()}


def _found(source: Source, spec: StreamSpec) -> Iterator[tuple[Any, Any]]:
    """Every sequence as it is given, and its target or None."""
    if not isinstance(source, (str, Path)):
        yield from map(_with_target, _guarded(source, "the sequences"))
        return
    path = Path(source)
    if path.is_dir():
        yield from ((item, None) for item in _folder(path, spec))
    elif path.suffix.lower() == ".npz":
        yield from _npz(path, spec)
    elif ":" in str(source) and not path.exists():
        items = named(str(source), "iterable", CalibrationError)
        yield from map(_with_target, _guarded(items, str(source)))
    elif path.suffix.lower() in (".csv", ".wav"):
        yield read_recording(path, spec), None
    else:
        known = "npz, csv, wav, a folder of wav or npy, package.module:iterable"
        raise CalibrationError("is no data of a known kind", place=str(source), hint=f"there are: {known}")


def _with_target(item: Any) -> tuple[Any, Any]:
    if not isinstance(item, Mapping):
        return item, None
    return {name: array for name, array in item.items() if name != "targets"}, item.get("targets")


def _guarded(items: Any, place: str) -> Iterator[Any]:
    """Items of the caller's own making, or those that a function of it gives."""
    try:
        yield from items() if callable(items) else items
    except Exception as error:
        raise CalibrationError(f"failed ({type(error).__name__}: {error})", place=place) from error


def _folder(path: Path, spec: StreamSpec) -> Iterator[Any]:
    files = sorted(item for item in path.iterdir() if item.suffix.lower() in (".wav", ".npy"))
    if not files:
        raise CalibrationError("has no wav or npy files", place=str(path))
    for file in files:
        if file.suffix.lower() == ".wav":
            yield read_recording(file, spec)
            continue
        try:
            yield np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            raise CalibrationError("is no npy file of numbers", place=str(file)) from None


def _npz(path: Path, spec: StreamSpec) -> Iterator[tuple[dict[str, Array], Any]]:
    try:
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, EOFError, zipfile.BadZipFile):
        raise CalibrationError("is no npz file of numbers", place=str(path)) from None
    except OSError as error:
        raise CalibrationError(f"cannot be read: {error.strerror or error}", place=str(path)) from None
    targets = _pieces(arrays, "targets", None) or []
    frames = {name: item for name, item in arrays.items() if name.split("/")[0] != "targets"}
    by_input: dict[str, list[Array]] = {}
    for port in spec.inputs:
        stems = {name.split("/")[0] for name in frames}
        stem = port.name if port.name in stems or len(spec.inputs) > 1 or len(stems) != 1 else stems.pop()
        pieces = _pieces(frames, stem, port)
        if pieces is None:
            raise CalibrationError(
                f"has no array `{port.name}`", place=str(path), hint=f"it has: {', '.join(sorted(frames)) or 'none'}"
            )
        by_input[port.name] = pieces
    counts = {name: len(pieces) for name, pieces in by_input.items()}
    if len(set(counts.values())) > 1:
        raise CalibrationError(f"its inputs have different numbers of sequences: {counts}", place=str(path))
    names = list(by_input)
    found = [dict(zip(names, parts, strict=True)) for parts in zip(*by_input.values(), strict=True)]
    if len(found) == 1 and len(targets) > 1:
        targets = [arrays["targets"]]  # one for each frame of the one sequence
    if targets and len(targets) != len(found):
        raise CalibrationError(f"has {len(targets)} targets for {len(found)} sequences", place=str(path))
    nothing: list[Any] = [None] * len(found)
    yield from zip(found, targets or nothing, strict=True)


def _pieces(arrays: Mapping[str, Array], stem: str, port: InputSpec | None) -> list[Array] | None:
    """Sequences of one name: ragged ones in the order of their numbers, or the rows of one array."""
    ragged = [name for name in arrays if re.fullmatch(re.escape(stem) + r"/\d+", name)]
    if ragged:
        return [arrays[name] for name in sorted(ragged, key=lambda name: int(name.rpartition("/")[2]))]
    if stem not in arrays:
        return None
    array = arrays[stem]
    if port is None:
        return list(np.atleast_1d(array))
    return list(array) if array.ndim == len(port.frame) + 2 else [array]
