"""A file's test vectors: inputs from a generator that the engine has too, and the hash of the outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from edgernn.interpret import Evaluate, Interpreter
from edgernn.program import Array, Program

SEED, STEPS = 1, 16
_FNV_START, _FNV_PRIME, _MASK = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1


def splitmix(seed: int) -> Iterator[int]:
    """The SplitMix64 generator (Steele, Lea and Flood 2014): 64-bit words."""
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & _MASK
        z = ((seed ^ seed >> 30) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & _MASK
        yield z ^ z >> 31


def fnv1a(data: bytes, hash_: int = _FNV_START) -> int:
    """FNV-1a, 64 bits."""
    for byte in data:
        hash_ = ((hash_ ^ byte) * _FNV_PRIME) & _MASK
    return hash_


def inputs_of(
    program: Program, limits: Mapping[str, tuple[float, float]], seed: int = SEED
) -> Iterator[dict[str, Array]]:
    """The inputs of each step, in order."""
    words = splitmix(seed)
    while True:
        step = {}
        for port in program.spec.inputs:
            drawn = [next(words) for _ in range(int(np.prod(port.shape)))]
            low, high = (np.float32(limit) for limit in limits[port.name])
            if port.dtype == "float32":
                share = np.array([word >> 40 for word in drawn], np.float32) * np.float32(2.0**-24)
                step[port.name] = (low + (high - low) * share).reshape(port.shape)
            else:
                whole = [(word >> 32) * (int(high) + 1) >> 32 for word in drawn]
                step[port.name] = np.array(whole, port.dtype).reshape(port.shape)
        yield step


def _plain(values: Array) -> Array:
    """With one kind of NaN: which one a CPU makes is its own affair."""
    if values.dtype != np.float32:
        return np.ascontiguousarray(values)
    return np.where(np.isnan(values), np.uint32(0x7FC00000).view(np.float32), values)


def vectors_hash(program: Program, limits: Mapping[str, tuple[float, float]], evaluate: Evaluate) -> int:
    """The hash of all outputs over `STEPS` steps."""
    run, hash_ = Interpreter(program, evaluate), _FNV_START
    for _, step in zip(range(STEPS), inputs_of(program, limits), strict=False):
        results = run.step(step)
        for port in program.spec.outputs:
            hash_ = fnv1a(_plain(results[port.name]).tobytes(), hash_)
    return hash_
