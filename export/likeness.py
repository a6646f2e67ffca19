"""What a file of another format gives, against the program that it was written from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import edgernn
from edgernn.errors import ProofError
from edgernn.interpret import Interpreter, float_reference, settled
from edgernn.program import Array, Program
from edgernn.spec import LEFT_UNKNOWN

STEPS = 100
_SEED = 5
_FLOAT_DB, _OTHER_DB = 80.0, 15.0  # least SNR of a float32 file, and of one with integers: less is another output


def check_likeness(program: Program, file: Path, precision: str = "") -> dict[str, float]:
    """SNR of each output in dB, over random input, step by step; `precision` is that of the file (see `to_tflite`).

    Raises `ProofError` for an output that is another one.
    """
    quantized = any(type(op).__name__.startswith("Q") for op in program.ops)
    least = _OTHER_DB if quantized or precision not in ("", "float32") else _FLOAT_DB
    found: dict[str, list[Array]] = {port.name: [] for port in program.spec.outputs}
    wanted: dict[str, list[Array]] = {port.name: [] for port in program.spec.outputs}
    truth, stream, random = _truth(program), edgernn.load(file).stream(), np.random.default_rng(_SEED)
    for index in range(STEPS):
        given = {
            port.name: random.standard_normal(port.shape).astype(np.float32)
            if port.dtype == "float32"
            else random.integers(0, 2, port.shape).astype(port.dtype)
            for port in program.spec.inputs
        }
        for name, view in stream.inputs.items():
            view[...] = given[name].reshape(view.shape)
        exact = truth.step(given, LEFT_UNKNOWN)
        stream.advance()
        for port in program.spec.outputs:
            if (index + 1) * port.shape[0] > port.delay + port.shape[0]:  # before that nothing is defined
                found[port.name].append(stream.outputs[port.name].reshape(-1).copy())
                wanted[port.name].append(exact[port.name].reshape(-1))
    figures = {name: _snr_db(np.concatenate(wanted[name]), np.concatenate(found[name])) for name in found}
    for name, db in figures.items():
        if not db >= least:
            raise ProofError(
                f"`{name}` is only {db:.1f} dB of its source's", hint="a defect of edgernn: please report it"
            )
    return figures


def _truth(program: Program) -> Interpreter:
    evaluate: Any = float_reference
    if any(type(op).__name__.startswith("Q") for op in program.ops):
        from edgernn.quantize.reference import evaluate  # its package needs this one
    return Interpreter(settled(program, evaluate), evaluate)


def _snr_db(wanted: Array, found: Array) -> float:
    wanted, found = wanted.astype(np.float64), found.astype(np.float64)
    noise = float(np.sum((wanted - found) ** 2))
    if noise == 0:
        return float(np.inf)
    return float(10 * np.log10(max(float(np.sum(wanted**2)), 1e-300) / noise))
