"""Which operations become integer ones, and why the others stay in float."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from edgernn import ops
from edgernn.errors import QuantizeError
from edgernn.program import LOWEST, Op, Program
from edgernn.quantize.order import units

CELLS = (ops.GRU, ops.LSTM, ops.RNN)
CONVOLUTIONS = (ops.Conv1d, ops.Conv2d)
PRODUCTS = (*CELLS, ops.Linear, *CONVOLUTIONS)
MOVES = (ops.Concat, ops.Slice, ops.Reshape, ops.Transpose, ops.Gather, ops.Expand, ops.PadFeatures, ops.Mask)
_INTEGERS = tuple(kind for name, kind in Op.registry.items() if name.startswith("Q") or name in ("Dequantize", "Int4"))
_NARROWING = ("log", "sqrt", "pow")  # what squeezes a range that 8 bits would not hold
_BETWEEN = (*MOVES, ops.Pool, ops.Clip, ops.Unary, ops.Binary)


@dataclass(frozen=True)
class Plan:
    """Names of the operations to turn into integers, and for the weighted others the reason."""

    integer: frozenset[str]
    reasons: Mapping[str, str]
    excluded: frozenset[str]


def make_plan(program: Program, exclude: Iterable[str]) -> Plan:
    """Decide for every operation. Raises `QuantizeError` for a quantized model or a pattern that matches nothing."""
    if any(isinstance(op, _INTEGERS) for op in program.ops):
        raise QuantizeError("is quantized already", place=program.spec.name, hint="quantize the float model's file")
    return _Planner(program, tuple(exclude)).plan()


class _Planner:
    def __init__(self, program: Program, exclude: tuple[str, ...]) -> None:
        self.program = program
        self.maker = {name: op for op in program.ops for name in op.outputs}
        self.readers: dict[str, list[Op]] = {}
        for op in program.ops:
            for name in op.operands:
                self.readers.setdefault(name, []).append(op)
        self.looped = {op.name for unit in units(program) if len(unit) > 1 for op in unit}
        self.excluded = set()
        for pattern in exclude:
            found = {op.name for op in program.ops if fnmatch.fnmatchcase(op.name, pattern)}
            found |= {op.name for op in program.ops if self._of_parameter(op, pattern)}
            if not found:
                names = ", ".join(op.name for op in program.ops if isinstance(op, PRODUCTS))
                raise QuantizeError(f"no operation is called `{pattern}`", hint=f"there are: {names}")
            self.excluded |= found
        self.reasons: dict[str, str] = {}

    def _of_parameter(self, op: Op, pattern: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for name in self.program.parameter_operands(op))

    def plan(self) -> Plan:
        integer: set[str] = set()
        for op in self.program.ops:
            if isinstance(op, (*PRODUCTS, ops.MatMul, ops.Embedding)):
                reason = self._why_not(op)
                if reason:
                    self.reasons[op.name] = reason
                else:
                    integer.add(op.name)
            elif isinstance(op, (ops.CumSum, ops.RunningMean)) and self._summed(op):
                integer.add(op.name)
        for op in self.program.ops:  # in order, so that what an operation reads is decided before it
            if op.name not in integer and self._joins(op, integer):
                integer.add(op.name)
        return Plan(frozenset(integer), self.reasons, frozenset(self.excluded))

    def _why_not(self, op: Op) -> str:
        parameters = self.program.parameters
        if op.name in self.excluded:
            return "excluded"
        if op.name in self.looped and not isinstance(op, ops.Linear):
            return "part of a cell of its own"
        if isinstance(op, ops.MatMul):
            return "a product of two signals" if op.b not in parameters else "no integer form for this shape"
        if isinstance(op, ops.Embedding):
            return "" if op.weight in parameters else "its table is computed"
        if any(name and name not in parameters for name in self._weights(op)):
            return "its weights are computed"
        if isinstance(op, CELLS) and op.h:
            if op.h not in {state.input for state in self.program.spec.states}:
                return "its state is computed in each step"
            for state in self.program.spec.states:
                if state.input == op.h and np.abs(state.initial()).max(initial=0) >= 1:
                    return "its initial state is beyond 1"
        if isinstance(op, ops.Linear) and self._narrowed(op.outputs[0]):
            return "only a logarithm or root reads it: its range needs float"
        return ""

    def _summed(self, op: ops.CumSum | ops.RunningMean) -> bool:
        """Whether a running sum is one of integers: not that of a quotient of two signals, which may grow with time."""
        if self.program.values[op.x].dtype != "float32" or op.name in self.looped | self.excluded:
            return False
        maker = self.maker.get(op.x)
        return not (isinstance(maker, ops.Binary) and maker.kind == "div" and maker.b not in self.program.parameters)

    def _weights(self, op: Op) -> list[str]:
        fields = ("weight", "bias", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        return [getattr(op, field) for field in fields if hasattr(op, field)]

    def _narrowed(self, name: str) -> bool:
        readers = self.readers.get(name, [])
        return bool(readers) and all(
            (isinstance(op, (ops.Unary, ops.Binary)) and op.kind in _NARROWING)
            or (isinstance(op, _BETWEEN) and self._narrowed(op.outputs[0]))
            for op in readers
        )

    def _joins(self, op: Op, integer: set[str]) -> bool:
        """Whether an operation without weights lies between integer ones."""
        if op.name in self.looped | self.excluded or not self._fits(op):
            return False
        if not self._wanted(op.outputs[0], integer):
            return False
        if isinstance(op, ops.History):
            return True
        makers = (self.maker[name] for name in op.operands if name in self.maker)
        # a mean is the quotient of an integer sum, in float
        return any(maker.name in integer and not isinstance(maker, ops.RunningMean) for maker in makers)

    def _fits(self, op: Op) -> bool:
        timed = [name for name in op.operands if name and name not in self.program.parameters]
        if any(self.program.values[name].dtype not in ("float32", "bool") for name in timed):
            return False
        if isinstance(op, (ops.History, ops.CumMax)):
            return True
        if isinstance(op, ops.Unary):
            return op.kind in ("relu", "sigmoid", "tanh")
        if isinstance(op, ops.Binary):
            return op.kind in ("add", "sub", "mul") and len(timed) == 2
        if isinstance(op, (ops.PadFeatures, ops.Mask)):
            return (op.value if isinstance(op, ops.PadFeatures) else op.fill) in (0, LOWEST)
        return isinstance(op, (*MOVES, ops.Pool, ops.Clip)) and len(timed) == len(op.operands) - isinstance(
            op, ops.Gather
        )

    def _wanted(self, name: str, integer: set[str]) -> bool:
        """Whether an integer product reads a value, perhaps through operations that can be integer too."""
        for op in self.readers.get(name, []):
            if op.name in integer and isinstance(op, (*PRODUCTS, ops.CumSum, ops.RunningMean)):
                return True
            if op.name not in self.looped and self._fits(op) and self._wanted(op.outputs[0], integer):
                return True
        return False
