"""`--activation-type auto`: int16 for the inputs of products that gain by it, and for no others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgernn.compare import snr_db
from edgernn.interpret import Evaluate, float_reference
from edgernn.program import Array, Program
from edgernn.quantize.convert import Converted, Options, convert, product_inputs
from edgernn.quantize.data import Sequences
from edgernn.quantize.observe import Observations
from edgernn.quantize.plan import Plan
from edgernn.quantize.reference import evaluate
from edgernn.quantize.whole import output_frames, padded, run_whole

_TRIED = 2_000  # steps that choices are tried on
_NEED_DB = 1.0  # what the inputs left at int8 may cost together


def convert_as_asked(
    program: Program, seen: Observations, plan: Plan, options: Options, sequences: Sequences
) -> Converted:
    """`convert`, for every activation type. `auto` widens the input that gains most, one after the other.

    It ends when the worst output's SNR is as good as with int16 everywhere, but for a decibel.
    """
    if options.activation_type != "auto":
        return convert(program, seen, plan, options)
    trial = _Trial(program, sequences.limited(_TRIED * program.spec.hop))

    def widened(names: frozenset[str]) -> tuple[float, Converted]:
        converted = convert(program, seen, plan, replace(options, activation_type="int8", wide=names))
        return trial.score(converted), converted

    candidates = {name for op in program.ops if op.name in plan.integer for name in product_inputs(op)}
    wide: frozenset[str] = frozenset()
    reached, best = widened(wide)
    goal, _ = widened(frozenset(candidates))
    while goal - reached > _NEED_DB and wide < candidates:
        trials = {name: widened(wide | {name}) for name in sorted(candidates - wide)}
        name = max(trials, key=lambda item: trials[item][0])
        wide, (reached, best) = wide | {name}, trials[name]
    return best


class _Trial:
    """Scores integer programs by the same frames."""

    def __init__(self, program: Program, sequences: Sequences) -> None:
        self._program, self._sequences = program, sequences
        self._wanted = self._outputs(program, float_reference)

    def score(self, converted: Converted) -> float:
        """The worst output's SNR in dB."""
        found = self._outputs(converted.program, evaluate)
        return min(snr_db(self._wanted[name], found[name]) for name in found)

    def _outputs(self, program: Program, meaning: Evaluate) -> dict[str, Array]:
        """Every output's frames of all sequences, flat."""
        parts: dict[str, list[Array]] = {port.name: [] for port in program.spec.outputs}
        for index, item in enumerate(self._sequences.items):
            given, length = padded(program.spec, item)
            values = run_whole(self._sequences.begun(program, index), given, meaning, length=length)
            for port in program.spec.outputs:
                parts[port.name].append(output_frames(values, port, length).reshape(-1))
        return {name: np.concatenate(item) for name, item in parts.items()}
