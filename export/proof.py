"""The proof that runs at every export: the stream gives what the whole sequence gives in PyTorch.

Sequences of several lengths go whole through the PyTorch module, and in random pieces through the file that was
written, on the runtime that will run it, with NaN behind the end. Every frame is compared, from the first to the last
that `flush` returns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_leaves

import edgernn
from edgernn.errors import ProofError
from edgernn.export.capture import BRANCH_HINT, Source, branches_at, quietly
from edgernn.export.faults import not_finite
from edgernn.export.translate import Returned
from edgernn.program import Array
from edgernn.spec import OFFLINE, OutputSpec, StreamSpec

TOLERANCE = 1e-4  # of the largest magnitude; rounding gives about 1e-6, a wrong frame 1e-2 and more
_SEED = 20260


@dataclass(frozen=True)
class Proof:
    """What the comparison found."""

    max_error: float  # largest difference, over the largest magnitude of the output it is in
    frames: int  # output frames compared
    lengths: tuple[int, ...]  # input frames of the sequences
    pieces: int  # chunks they were fed in

    def report(self) -> str:
        """A line for a person."""
        return (
            f"proved on {self.frames} frames in {self.pieces} pieces of {len(self.lengths)} sequences:"
            f" largest error {self.max_error:.1e} of the largest magnitude"
        )

    def as_dict(self) -> dict[str, Any]:
        """The proof as the contract stores it."""
        return {
            "max_error": float(f"{self.max_error:.3g}"),
            "frames": self.frames,
            "lengths": list(self.lengths),
            "pieces": self.pieces,
            "tolerance": TOLERANCE,
        }


def prove(source: Source, path: Path, outputs: Sequence[Returned]) -> Proof:
    """Compare the file at `path` with the module it was made from.

    `outputs` say where the module returns the file's outputs. Raises `ProofError` when a frame differs by more than
    `TOLERANCE`, is missing, or is too much.
    """
    model = edgernn.load(path)
    random = np.random.default_rng(_SEED)
    worst, compared, pieces = 0.0, 0, 0
    lengths = []
    wanted, whole_hops = _lengths(model.spec, source.length, random)
    for length in wanted:
        example = noise(source, length, random)
        whole = _whole(source, example)
        if whole is None:  # the module itself has no result for so short a sequence, or a part of a hop
            wanted += [whole_hops.pop()] if whole_hops else []
            continue
        lengths.append(length)
        streamed, count = _streamed(model, source, example, length, random)
        pieces += count
        for port, returned in zip(model.spec.outputs, outputs, strict=True):
            expected = _frames_first(whole[returned.place], returned.axis, port)
            _refuse_unknown(source, expected, port)
            try:
                error = _compare(streamed[port.name], expected, port, length)
            except ProofError as fault:
                if length == source.length or not branches_at(source, length):
                    raise
                cause = f"the module does other operations at {length} frames than at {source.length}"
                raise ProofError(cause, place=fault.place, hint=BRANCH_HINT) from fault
            worst, compared = max(worst, error), compared + len(expected)
    if len(lengths) < 2:
        raise ProofError("the module runs at the example's length only", hint="make forward() take any length")
    return Proof(worst, compared, tuple(lengths), pieces)


def _lengths(spec: StreamSpec, example: int, random: np.random.Generator) -> tuple[list[int], list[int]]:
    """The example's length, ends that fall everywhere in a hop, and one short and one long sequence.

    The second list are lengths of whole hops more than the example's, for modules that take no others.
    """
    hop = spec.hop
    if spec.mode == OFFLINE:  # which takes no other
        return [hop, hop], []
    short = spec.latency + 1 + int(random.integers(0, 2 * hop + 1))
    long = 2 * example + int(random.integers(0, hop + 1))
    lengths = [example, example + 2 * hop, example + 1, example + hop - 1, short, long]
    behind = example % hop
    return list(dict.fromkeys(lengths)), [2 * example - behind, -(-short // hop) * hop + behind]


def noise(source: Source, length: int, random: np.random.Generator) -> tuple[torch.Tensor, ...]:
    """An input like the example: normal numbers of its mean and spread, integers among its own."""
    tensors = list(source.example_of(length))
    for item in source.timed:
        example = source.example[item.position]
        shape = tensors[item.position].shape
        if example.is_floating_point():
            spread = float(example.std()) or 1.0
            drawn = random.standard_normal(shape).astype(np.float32) * spread + float(example.mean())
        else:
            drawn = random.choice(example.numpy().reshape(-1), shape)
        tensors[item.position] = torch.from_numpy(np.asarray(drawn))
    return tuple(tensors)


def _whole(source: Source, example: tuple[torch.Tensor, ...]) -> list[Array] | None:
    try:
        with torch.no_grad(), _one_thread():
            result = quietly(lambda: source.module(*example))
    except RuntimeError:
        return None
    return [leaf.numpy() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]


@contextmanager
def _one_thread() -> Iterator[None]:
    """The order of PyTorch's sums, and so a proof's figures in the file, are then the same on any number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def frames_of(model: edgernn.Model, source: Source, example: tuple[torch.Tensor, ...]) -> dict[str, Array]:
    """PyTorch's inputs as a stream takes them: by name, `[frames, …frame]`."""
    inputs = {}
    for item, port in zip(source.timed, model.spec.inputs, strict=True):
        whole = np.moveaxis(example[item.position].numpy(), item.axis, 0)
        inputs[port.name] = whole.reshape(len(whole), *port.frame)
    return inputs


def _streamed(
    model: edgernn.Model, source: Source, example: tuple[torch.Tensor, ...], length: int, random: np.random.Generator
) -> tuple[dict[str, Array], int]:
    inputs = frames_of(model, source, example)
    stream = model.stream()
    stream._padding = float("nan")
    parts, start, hop = [], 0, model.spec.hop
    while start < length:
        size = int(random.integers(1, 3 * hop + 2))
        parts.append(by_name(stream.push({name: array[start : start + size] for name, array in inputs.items()}), model))
        start += size
    parts.append(by_name(stream.flush(), model))
    names = [port.name for port in model.spec.outputs]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}, len(parts) - 1


def by_name(result: Any, model: edgernn.Model) -> dict[str, Array]:
    """A stream's result as a dict, also of a single output."""
    return result if isinstance(result, dict) else {model.spec.outputs[0].name: result}


def _frames_first(whole: Array, axis: int | None, port: OutputSpec) -> Array:
    """PyTorch's result as `[frames, …frame]`; one frame where it is the newest alone."""
    frames = whole[None] if axis is None else np.moveaxis(whole, axis, 0)
    return frames.reshape(len(frames), *port.frame)


def _refuse_unknown(source: Source, expected: Array, port: OutputSpec) -> None:
    """Refuse a module that gives infinite numbers itself, none at all, or NaN by its weights."""
    if expected.dtype.kind != "f" or np.isfinite(expected).all():
        return
    found = not_finite(source.module)
    if not found and not np.isinf(expected).any() and not np.isnan(expected).all():
        return  # the deviation of one frame, which is compared without
    raise ProofError(
        "the module itself gives " + ("NaN" if np.isnan(expected).any() else "infinite numbers"),
        place=f"output `{port.name}`",
        hint=f"{found}: mend the weights" if found else "look at what forward() computes, in PyTorch",
    )


def _compare(streamed: Array, expected: Array, port: OutputSpec, length: int) -> float:
    place = f"output `{port.name}`"
    if port.newest:
        streamed = streamed[-1:]
    if streamed.shape != expected.shape:
        raise ProofError(
            f"{len(streamed)} frames streamed, {len(expected)} in the whole sequence of {length}", place=place
        )
    if streamed.dtype.kind != "f":
        wrong = np.argwhere(streamed != expected)
        if len(wrong):
            raise ProofError(f"frame {int(wrong[0][0])} of {len(expected)} differs from PyTorch's", place=place)
        return 0.0
    # the deviation of one frame is no number in PyTorch; a module that gives none at all is no proof
    known = ~np.isnan(expected)
    expected = np.where(known, expected, 0) if known.any() else expected
    difference = np.where(known, np.abs(streamed - expected), 0) if known.any() else np.abs(streamed - expected)
    error = float(np.max(difference, initial=0.0)) / max(1e-6, float(np.max(np.abs(expected), initial=0.0)))
    if not error <= TOLERANCE:
        bad = np.nan_to_num(difference.reshape(len(expected), -1), nan=np.inf).max(1)
        frame = int(np.argmax(bad > TOLERANCE * np.abs(expected).max()))
        raise ProofError(
            f"the stream differs from PyTorch by {error:.2g} of the largest magnitude,"
            f" first in frame {frame} of {len(expected)} ({length} input frames)",
            place=place,
            hint="this is a fault of edgernn's rules, or forward() is not a function of its input alone: report it",
        )
    return error
