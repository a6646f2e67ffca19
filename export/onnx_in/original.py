"""Other people's file itself, called step by step: what its program is proved against."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator

import edgernn
from edgernn.errors import ExportError, ProofError
from edgernn.export.onnx_in.foreign import Step
from edgernn.export.onnx_in.ports import Ports
from edgernn.export.proof import TOLERANCE, Proof
from edgernn.program import Array

STEPS, FRAMES = 40, 4_000  # of the proof: so many steps, less where they have many frames
_SEED = 7


class _Runner(Protocol):
    def run(self, outputs: list[str], feeds: dict[str, Array]) -> Any: ...


class Original:
    """The file with its states carried from step to step, from zeros."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._runner = _runner(step.model)
        options = step.options
        self._ports = Ports(options.time_axis, options.context, None)
        self.hop = self._ports.hop(step.signals[0])
        self._names = [port.name for port in step.outputs] + [pair.output for pair in step.pairs]
        initial = {port.name: np.zeros(port.shape, port.dtype) for port in step.states}
        self._states = {pair.input: initial[pair.input] for pair in step.pairs}
        self._past: dict[str, Array] = {}

    def __call__(self, frames: Mapping[str, Array]) -> dict[str, Array]:
        """One step: frames `[hop, …frame]` by input, `[frames, …frame]` by output."""
        feeds = dict(self._step.held)
        for port in self._step.signals:
            given, context = frames[port.name], self._ports.context
            if context:
                past = self._past.get(port.name, np.zeros((context, *given.shape[1:]), given.dtype))
                given = np.concatenate([past, given])
                self._past[port.name] = given[-context:]
            feeds[port.name] = self._ports.tensor(given, port.shape)
        results = dict(zip(self._names, self._runner.run(self._names, feeds | self._states), strict=True))
        self._states = {pair.input: results[pair.output] for pair in self._step.pairs}
        return {port.name: self._ports.frames(results[port.name], self.hop) for port in self._step.outputs}


def _runner(model: onnx.ModelProto) -> _Runner:
    """onnxruntime, or ONNX's own reference for the few forms that it lacks."""
    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        runner: _Runner = session
    except Exception as refused:  # it raises classes of its own, with no common base
        try:
            runner = ReferenceEvaluator(model)
        except Exception:  # likewise
            raise ExportError(f"neither onnxruntime nor ONNX's reference runs it: {refused}") from None
    return runner


def prove_step(step: Step, path: Path) -> Proof:
    """Compare the file at `path` with the one it was read from, over random input, each with its own states.

    Raises `ProofError` when an output differs by more than `TOLERANCE` of its largest magnitude.
    """
    spec, random = step.program.spec, np.random.default_rng(_SEED)
    original, stream = Original(step), edgernn.load(path).stream()
    wanted: dict[str, list[Array]] = {port.name: [] for port in spec.outputs}
    found: dict[str, list[Array]] = {port.name: [] for port in spec.outputs}
    steps = max(4, min(STEPS, FRAMES // spec.hop))
    for _ in range(steps):
        given = {
            port.name: random.standard_normal((spec.hop, *port.frame)).astype(np.float32)
            if port.dtype == "float32"
            else random.integers(0, 2, (spec.hop, *port.frame)).astype(port.dtype)
            for port in spec.inputs
        }
        made = stream.step(given)
        made = made if isinstance(made, dict) else {spec.outputs[0].name: made}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ONNX's reference divides by zero where the model does
            truth = original(given)
        for name in wanted:
            wanted[name].append(truth[name])
            found[name].append(made[name])
    worst, frames = 0.0, 0
    for name in wanted:
        a, b = np.stack(wanted[name]), np.stack(found[name])
        frames += a.shape[0] * a.shape[1]
        error = _error(a, b)
        if not error <= TOLERANCE:
            raise ProofError(
                f"the stream differs from the file it was read from by {error:.2g} of the largest magnitude",
                place=f"output `{name}`",
                hint="this is a fault of how edgernn reads it: please report it with the file",
            )
        worst = max(worst, error)
    return Proof(worst, frames, (steps * spec.hop,), steps)


def _error(wanted: Array, found: Array) -> float:
    if wanted.dtype.kind != "f":
        return float(np.max(wanted != found, initial=0))
    return float(np.max(np.abs(wanted - found), initial=0)) / max(1e-6, float(np.max(np.abs(wanted), initial=0)))
