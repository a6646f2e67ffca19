"""A module that computes with the integers of the file it will become."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgernn.errors import QuantizeError
from edgernn.export import check_path, encode, export_model, read_program, write_model
from edgernn.interpret import settled
from edgernn.program import Array, Op, Program
from edgernn.quantize.api import make_options, quantize_program
from edgernn.quantize.convert import Converted
from edgernn.quantize.order import RUNNING, units
from edgernn.quantize.qat.surrogates import find
from edgernn.quantize.reference import evaluate
from edgernn.quantize.whole import CELLS, WholeRun, steps_of


def prepare(
    module: nn.Module,
    calibration: Iterable[Tensor],
    *,
    activation_type: str = "int8",
    rounding: str = "compensated",
    observer: str = "mse",
    exclude: Sequence[str] = (),
    **labels: Any,
) -> QATModule:
    """A module to train on, that computes what the int8 file of `module` will.

    `calibration` holds inputs as `module` takes them, `[batch, T, …]`, of one float tensor. It is exported, calibrated
    and rounded once: training starts from what `edgernn quantize` would give, and keeps its scales. `labels` are
    `export_model`'s (name, labels, rate_hz, …). Dropout is off and batch norm folded; `module` itself is not changed.
    Raises what `export_model` and `quantize_model` raise.
    """
    batches = list(calibration)
    if not batches:
        raise QuantizeError("there is no calibration data")
    odd = next((item for item in batches if not isinstance(item, Tensor)), None)
    if odd is not None:
        raise QuantizeError(f"calibration data holds a {type(odd).__name__}", hint="give tensors `[batch, T, …]`")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_model(module, batches[0][:1], path, **{"name": "model", **labels})
        program = read_program(path)
    if len(program.spec.inputs) != 1:
        raise QuantizeError("has several inputs; training takes modules of one", place=program.spec.name)
    sequences = [sequence.detach().numpy() for batch in batches for sequence in batch]
    options = make_options(activation_type=activation_type, rounding=rounding, observer=observer)
    converted = quantize_program(program, sequences, options, exclude)
    return QATModule(converted, {name for name, _ in module.named_parameters()})


class QATModule(nn.Module):
    """Takes `[batch, T, …]` and gives `[batch, frames, …]` (the newest frame alone where the module does).

    Every value is the reference's, bit for bit, in training and in eval mode: integers from `quantize/reference`,
    rounded weights, tables and saturation. Gradients pass straight through the rounding. Parameters are the float
    masters of weights and biases. Several outputs come as a mapping by name.
    """

    def __init__(self, converted: Converted, trainable: set[str]) -> None:
        super().__init__()
        self._program = converted.program
        self._units = converted.units
        self._fields: dict[str, str] = {}
        for name, array in converted.program.parameters.items():
            field = name.replace(".", "_")
            if name in converted.units:
                self._fields[name] = field
                self.register_parameter(field, nn.Parameter(_tensor(array * converted.units[name])))
            elif name in trainable:
                self._fields[name] = field
                self.register_parameter(field, nn.Parameter(_tensor(array)))

    def program(self) -> Program:
        """The integer program of the present masters."""
        parameters = dict(self._program.parameters)
        for name, field in self._fields.items():
            master = self.get_parameter(field).detach().numpy()
            if name not in self._units:
                parameters[name] = master.astype(parameters[name].dtype)
                continue
            limit = 127 if parameters[name].dtype == np.int8 else 2**30
            codes = np.rint(master.astype(np.float64) / self._units[name])
            parameters[name] = np.clip(codes, -limit, limit).astype(parameters[name].dtype)
        return replace(self._program, parameters=parameters)

    def save(self, path: str | Path) -> None:
        """Write the int8 file, `.onnx` or `.ernn`. Its integers are exactly the module's."""
        path = Path(path)
        check_path(path)
        write_model(path, encode(self.program(), path))

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """From reset, whole sequences. Raises `QuantizeError` under `torch.export`."""
        if torch.compiler.is_exporting():
            raise QuantizeError(
                "computes with the integers of its file already, which torch.export can't see",
                place=type(self).__name__,
                hint="write that file: `module.save(path)`, .onnx or .ernn",
            )
        spec = self._program.spec
        length = x.shape[1]
        behind = steps_of(spec, length) * spec.hop - length
        run = _Run(self, nn.functional.pad(x, (0, 0) * (x.ndim - 2) + (0, behind)), length)
        results = {}
        for port in spec.outputs:
            frames = run.result(port.name).flatten(1, 2)
            if port.batch_axis is not None:
                frames = frames.squeeze(port.batch_axis + 1)
            frames = frames[:, port.delay : port.delay + port.length(length)]
            results[port.name] = frames[:, -1] if port.newest else frames
        return results if len(results) > 1 else next(iter(results.values()))

    def codes(self, name: str, program: Program) -> Tensor:
        """A parameter as gradients see it: its exact value, and a way back to its master."""
        array = program.parameters[name]
        exact = _tensor(array) if array.dtype.kind in "iuf" else torch.from_numpy(array)
        if name not in self._fields:
            return exact
        master = self.get_parameter(self._fields[name])
        if name in self._units:
            return _replaced(master / _tensor(self._units[name]), exact)
        return _replaced(master, exact)


class _Exact(torch.autograd.Function):
    """A value in place of another, whose gradient it takes."""

    @staticmethod
    def forward(ctx: Any, soft: Tensor, exact: Tensor) -> Tensor:
        return exact.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def _replaced(soft: Tensor, exact: Tensor) -> Tensor:
    result: Tensor = _Exact.apply(soft, exact)  # type: ignore[no-untyped-call]
    return result


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))


class _Run:
    """One forward: exact values in NumPy, and beside them, where gradients flow, tensors that carry these."""

    def __init__(self, module: QATModule, x: Tensor, length: int) -> None:
        self.module = module
        self.program = module.program()
        port = self.program.spec.inputs[0]
        self.exact = WholeRun(settled(self.program, evaluate), {port.name: x.detach().numpy()}, evaluate, length)
        self.soft: dict[str, Tensor] = {}
        training = torch.is_grad_enabled()
        if training and x.requires_grad:
            self.soft[port.name] = x.reshape(self.exact.values[port.name].shape)
        with np.errstate(all="ignore"):
            for unit in units(self.exact.program):
                self.exact.advance(unit)
                if training:
                    self._carry(unit)

    def result(self, name: str) -> Tensor:
        """An output `[batch, steps, …]`."""
        return self.soft[name] if name in self.soft else torch.from_numpy(np.array(self.exact.values[name]))

    def _moving(self, op: Op) -> bool:
        """Whether a gradient can reach something through this operation's operands."""
        return any(name in self.soft or name in self.module._fields for name in op.operands)

    def _carry(self, unit: tuple[Op, ...]) -> None:
        if len(unit) > 1:
            if any(name in self.soft for op in unit for name in op.operands):
                raise QuantizeError(
                    "gradients cannot pass through a cell made of several operations",
                    place=unit[0].name,
                    hint="train only the layers behind it: freeze what lies before",
                )
            return
        (op,) = unit
        if not self._moving(op):
            return
        stand_in = find(op)
        if stand_in is None:
            if any(name in self.soft for name in op.operands):
                raise QuantizeError(f"gradients cannot pass through `{type(op).__name__}`", place=op.name)
            return
        operands = [self._tensor(op, name) for name in op.operands]
        if isinstance(op, (*CELLS, *RUNNING)):
            operands[-1] = self._skipped(op.operands[-1])
        results = stand_in(op, *operands)
        for name, soft in zip(op.outputs, results, strict=True):
            if soft is not None and soft.requires_grad:
                self.soft[name] = _replaced(soft, _tensor(self.exact.values[name]))

    def _tensor(self, op: Op, name: str) -> Any:
        if not name:
            return None
        if name in self.soft:
            return self.soft[name]
        if name in self.program.parameters:
            tensor = self.module.codes(name, self.program)
            tensor.timed = False  # type: ignore[attr-defined]
            return tensor
        state = next((item for item in self.program.spec.states if item.input == name), None)
        if state is not None:
            start = _tensor(state.initial())
            return start.repeat(self.exact.batch, 1) if isinstance(op, CELLS) else start
        array = self.exact.values[name]
        return torch.from_numpy(np.array(array)) if array.dtype == bool else _tensor(array)

    def _skipped(self, active: str) -> int:
        """Steps at the start in which a state is held."""
        return int(np.argmax(self.exact.values[active][0])) if active else 0
