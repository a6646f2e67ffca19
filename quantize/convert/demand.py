"""Which element types the readers of a value want, before any of them is converted."""

from __future__ import annotations

from edgernn import ops
from edgernn.program import Op, Program
from edgernn.quantize.convert.forms import Options
from edgernn.quantize.plan import CELLS, CONVOLUTIONS, PRODUCTS, Plan


def product_inputs(op: Op) -> list[str]:
    """Names of what enters an operation's products: its own name stands for x."""
    if isinstance(op, CELLS):
        return [op.name, f"{op.name}.h"]
    return [op.name] if isinstance(op, PRODUCTS) else []


class Demand:
    """Looks at the float program from the side of those who read."""

    def __init__(self, program: Program, plan: Plan, options: Options) -> None:
        self.plan, self.options = plan, options
        self.kept = {port.name for port in program.spec.outputs} | {state.output for state in program.spec.states}
        self.readers: dict[str, list[Op]] = {}
        for op in program.ops:
            for name in op.operands:
                self.readers.setdefault(name, []).append(op)
        self._maker = {name: op for op in program.ops for name in op.outputs}

    def entering(self, name: str) -> str:
        """Element type of one of `product_inputs`."""
        return "int16" if self.options.activation_type == "int16" or name in self.options.wide else "int8"

    def dtype(self, name: str) -> str:
        """In what a value's producer should leave it; float32 when nothing integer reads it."""
        readers = self.readers.get(name, [])
        integer = [op for op in readers if op.name in self.plan.integer]
        if not integer:
            return "float32"
        mixed = len(integer) < len(readers) or name in self.kept
        return "int16" if mixed or any(map(self._reads_wide, integer)) else "int8"

    def integer_dtype(self, name: str) -> str:
        """As `dtype`, of operations that only give integers."""
        return "int16" if self.dtype(name) == "float32" else self.dtype(name)

    def _reads_wide(self, op: Op) -> bool:
        if isinstance(op, PRODUCTS):
            return self.entering(op.name) == "int16"
        if isinstance(op, (ops.CumSum, ops.RunningMean)):
            return True
        if isinstance(op, ops.Unary) and op.kind != "relu":
            return True
        return self.dtype(op.outputs[0]) != "int8"

    def follower(self, op: Op) -> ops.Unary | None:
        """A relu or gate activation that alone reads a product and is joined with it."""
        readers = self.readers.get(op.outputs[0], [])
        if len(readers) != 1 or op.outputs[0] in self.kept or readers[0].name not in self.plan.integer:
            return None
        return readers[0] if isinstance(readers[0], ops.Unary) else None

    def joined(self, op: ops.Unary | ops.Clip) -> bool:
        """Whether the product before it already limits to it."""
        maker = self._maker.get(op.x)
        return isinstance(maker, (ops.Linear, *CONVOLUTIONS)) and self.follower(maker) is op

    def takes_features(self, name: str, centred: bool) -> bool:
        """Whether every integer reader of a float value can take a step (and, `centred`, an offset) by feature."""
        readers = [op for op in self.readers.get(name, []) if op.name in self.plan.integer]
        if centred:
            return all(isinstance(op, (*CELLS, ops.Linear)) for op in readers)
        return all(
            isinstance(op, ops.History)
            and all(isinstance(item, ops.Conv1d) and item.groups == 1 for item in self.readers[op.outputs[0]])
            for op in readers
        )
