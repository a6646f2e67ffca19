"""Small ONNX graphs as others write them: one for every operation that is read, in the forms of old and new opsets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgernn.program import Array

TYPES = {"f": TensorProto.FLOAT, "i": TensorProto.INT64, "b": TensorProto.BOOL}


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Sequence[str],
    constants: Mapping[str, Any] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """A model with float32 inputs; a name that begins with `int_` is int64. Shapes of its outputs are left open."""
    tensors = [numpy_helper.from_array(_array(value), name) for name, value in (constants or {}).items()]

    def info(name: str, shape: Sequence[int | str] | None) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TYPES["i" if name.startswith("int_") else "f"], shape)

    ends = [info(name, None) for name in outputs]
    made = helper.make_graph(nodes, "g", [info(*item) for item in inputs.items()], ends, tensors)
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(made, opset_imports=opsets, ir_version=8 if opset < 21 else 10)


def _array(value: Any) -> Array:
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype == np.float64 else array


def random(*shape: int, seed: int = 0, scale: float = 0.5) -> Array:
    """Normal float32 numbers."""
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """One node: its attributes, the shapes of what the stream gives it (`x`, `y`), and its constants, by place."""

    op: str
    shapes: Sequence[tuple[int, ...]] = ((1, 3, 8),)
    constants: Mapping[int, Any] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 17
    outputs: int = 1
    positive: bool = False

    def model(self) -> onnx.ModelProto:
        """The node alone, its input made positive where it must be; results that are no float are cast."""
        names = [f"x{index}" for index in range(len(self.shapes))]
        fixed = {f"c{place}": value for place, value in self.constants.items()}
        operands, given = list[str](), iter(names)
        for place in range(len(names) + len(fixed)):
            operands.append(f"c{place}" if place in self.constants else next(given))
        operands = ["" if name in fixed and fixed[name] is None else name for name in operands]
        nodes = []
        if self.positive:
            nodes += [helper.make_node("Abs", [name], [f"{name}.abs"]) for name in names]
            nodes += [helper.make_node("Add", [f"{name}.abs", "tenth"], [f"{name}.positive"]) for name in names]
            operands = [f"{name}.positive" if name in names else name for name in operands]
        results = [f"y{index}" for index in range(self.outputs)]
        nodes.append(helper.make_node(self.op, operands, [f"{name}.raw" for name in results], **self.attributes))
        nodes += [helper.make_node("Cast", [f"{name}.raw"], [name], to=TensorProto.FLOAT) for name in results]
        constants = {name: value for name, value in fixed.items() if value is not None} | {"tenth": np.float32(0.1)}
        return graph(nodes, dict(zip(names, self.shapes, strict=True)), results, constants, self.opset)


def _ints(*values: int) -> Array:
    return np.array(values, np.int64)


_IMAGE = ((1, 4, 5, 6),)

CASES = [
    *map(Case, ["Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "Identity", "Neg", "Relu", "Round", "Sigmoid", "Sign"]),
    *map(Case, ["Sin", "Softplus", "Tanh", "Elu", "Celu", "Selu", "LeakyRelu", "ThresholdedRelu", "HardSigmoid"]),
    *map(Case, ["HardSwish", "Softsign", "Dropout"]),
    *(Case(op, positive=True) for op in ["Log", "Reciprocal", "Sqrt"]),
    Case("Gelu", opset=20),
    Case("Gelu", attributes={"approximate": "tanh"}, opset=20),
    Case("Mish", opset=18),
    Case("LeakyRelu", attributes={"alpha": 0.3}, opset=9),
    Case("PRelu", constants={1: random(3, 1)}),
    Case("Cast", attributes={"to": TensorProto.INT32}),
    Case("CastLike", constants={1: _ints(0)}),
    *(Case(op, ((1, 3, 8), (3, 1))) for op in ["Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean"]),
    Case("Div", ((1, 3, 8), (1, 8)), positive=True),
    Case("Add", ((8,), (2, 3, 8))),
    *(Case(op, constants={1: _array(0.1)}) for op in ["Greater", "Less", "GreaterOrEqual", "LessOrEqual"]),
    *(Case("Pow", constants={1: _array(float(exponent))}, positive=True) for exponent in (1, 2, 3, 0.5, 1.7)),
    Case("Pow", ((1, 3), (1, 3)), positive=True),
    Case("Clip", attributes={"min": -0.3, "max": 0.4}, opset=9),
    Case("Clip", constants={1: _array(-0.3)}),
    Case("Clip", constants={1: None, 2: _array(0.2)}),
    Case("Reshape", constants={1: _ints(0, 2, -1)}, shapes=((3, 4, 2),)),
    Case("Flatten", attributes={"axis": -1}, shapes=((2, 3, 4),)),
    Case("Squeeze", attributes={"axes": [1, -1]}, shapes=((2, 1, 3, 1),), opset=11),
    Case("Squeeze", shapes=((2, 1, 3, 1),)),
    Case("Unsqueeze", attributes={"axes": [0, 3]}, opset=11),
    Case("Unsqueeze", constants={1: _ints(-1, 0)}),
    Case("Transpose", shapes=((2, 3, 4),)),
    Case("Transpose", attributes={"perm": [1, 0, 2]}, shapes=((2, 3, 4),)),
    Case("Slice", attributes={"axes": [2], "starts": [-5], "ends": [100]}, opset=9),
    Case("Slice", constants={1: _ints(6, 0), 2: _ints(-100, 2), 3: _ints(2, 1), 4: _ints(-2, 1)}),
    Case("Split", attributes={"axis": 2, "split": [3, 5]}, outputs=2, opset=11),
    Case("Split", constants={1: _ints(2, 6)}, attributes={"axis": -1}, outputs=2),
    Case("Split", attributes={"axis": 2, "num_outputs": 3}, outputs=3, opset=18),
    Case("Concat", ((1, 3, 8), (1, 2, 8)), attributes={"axis": 1}),
    Case("Concat", constants={1: random(1, 2, 8)}, attributes={"axis": -2}),
    Case("Gather", constants={1: _ints(-1)[0]}, attributes={"axis": 2}),
    Case("Gather", constants={1: np.array([[0, 2], [1, 1]])}, attributes={"axis": 1}),
    Case("GatherElements", constants={1: np.array([[[2] * 8, [-1] * 8]])}, attributes={"axis": 1}),
    Case("GatherND", constants={1: np.array([[0, 2], [0, 0]])}),
    Case("Expand", constants={1: _ints(2, 1, 8)}, shapes=((3, 1),)),
    Case("Tile", constants={1: _ints(1, 2, 3)}),
    Case("Pad", attributes={"pads": [0, 1, 2, 0, 0, 3], "value": 1.5}, opset=10),
    Case("Pad", constants={1: _ints(0, 0, 2, 0, 1, 3)}, attributes={"mode": "reflect"}),
    Case("Pad", constants={1: _ints(0, 0, 2, 0, 1, 3)}, attributes={"mode": "edge"}),
    Case("Pad", constants={1: _ints(0, 0, -2, 0, 1, 0), 2: _array(0.5)}),
    Case("DepthToSpace", _IMAGE, attributes={"blocksize": 2}),
    Case("DepthToSpace", _IMAGE, attributes={"blocksize": 2, "mode": "CRD"}),
    Case("SpaceToDepth", ((1, 3, 4, 6),), attributes={"blocksize": 2}),
    Case(
        "Resize",
        _IMAGE,
        {1: None, 2: _array([1.0, 1.0, 2.0, 3.0])},
        {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"},
    ),
    Case("Upsample", _IMAGE, {1: _array([1.0, 1.0, 2.0, 3.0])}, opset=9),
    Case("ReverseSequence", ((4, 2, 3),), {1: _ints(4, 4)}, {"time_axis": 0, "batch_axis": 1}),
    Case("ScatterND", ((3, 8), (2, 8)), {1: np.array([[1], [2]])}),
    Case("ScatterND", ((3, 8), (2,)), {1: np.array([[2, 1], [0, 7]])}),
    Case("ScatterElements", ((3, 8), (1, 8)), {1: np.array([[2, 0, 1, 2, 0, 1, 2, 0]])}),
    Case("Where", ((3, 8), (8,)), {0: np.array([[True], [False], [True]])}),
    Case("MatMul", ((2, 3, 8),), {1: random(8, 5)}),
    Case("MatMul", ((3, 8),), {0: random(5, 3)}),
    Case("MatMul", ((2, 3, 8), (8, 4))),
    Case("MatMul", ((3, 8),), {1: random(8)}),
    Case("MatMul", ((8,),), {1: random(8, 3)}),
    Case("MatMul", ((2, 3, 8),), {1: random(2, 8, 4)}),
    Case("Gemm", ((3, 8),), {1: random(5, 8), 2: random(5)}, {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    Case("Gemm", ((8, 3),), {1: random(8, 5), 2: random(3, 1)}, {"transA": 1}, opset=9),
    Case("Gemm", ((3, 8), (8, 2)), {}, {"alpha": 0.5}, opset=11),
    Case("Conv", ((1, 4, 9),), {1: random(6, 2, 3), 2: random(6)}, {"group": 2, "pads": [1, 2], "strides": [2]}),
    Case("Conv", ((2, 4, 9),), {1: random(6, 4, 3)}, {"strides": [2], "auto_pad": "SAME_UPPER"}),
    Case("Conv", ((1, 4, 3),), {1: random(6, 4, 3), 2: random(6)}),
    Case(
        "Conv",
        _IMAGE,
        {1: random(6, 2, 3, 2), 2: random(6)},
        {"group": 2, "pads": [1, 0, 1, 1], "strides": [2, 1], "dilations": [1, 2]},
    ),
    Case("Conv", _IMAGE, {1: random(6, 4, 2, 2)}, {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    Case(
        "ConvTranspose",
        ((1, 4, 5),),
        {1: random(4, 3, 5), 2: random(6)},
        {"group": 2, "strides": [2], "pads": [1, 2], "output_padding": [1]},
    ),
    Case(
        "ConvTranspose", _IMAGE, {1: random(4, 3, 3, 2)}, {"strides": [1, 3], "dilations": [2, 1], "pads": [1, 0, 1, 0]}
    ),
    Case("ConvTranspose", _IMAGE, {1: random(4, 3, 1, 5), 2: random(3)}, {"strides": [1, 2], "auto_pad": "SAME_UPPER"}),
    Case("ConvTranspose", ((1, 4, 5),), {1: random(4, 2, 2)}, {"strides": [3]}),
    Case("ConvTranspose", ((1, 4, 9),), {1: random(4, 2, 3)}, {"dilations": [3], "pads": [7, 6]}),
    Case("ConvTranspose", ((1, 4, 9),), {1: random(4, 1, 3)}, {"group": 4, "dilations": [4], "pads": [8, 8]}),
    Case("ConvTranspose", ((1, 4, 9),), {1: random(4, 2, 4)}, {"strides": [2], "pads": [7, 8]}),
    Case("BatchNormalization", _IMAGE, {1: random(4), 2: random(4), 3: random(4), 4: np.abs(random(4)) + 0.1}),
    Case("LayerNormalization", ((2, 3, 8),), {1: random(3, 8), 2: random(3, 8)}, {"axis": 1}),
    Case("InstanceNormalization", _IMAGE, {1: random(4), 2: random(4)}),
    Case("GroupNormalization", _IMAGE, {1: random(4), 2: random(4)}, {"num_groups": 2}, opset=21),
    Case("LpNormalization", attributes={"axis": -1, "p": 2}),
    Case("LpNormalization", attributes={"axis": 1, "p": 1}),
    Case("Softmax", ((2, 3, 4),), {}, {"axis": 1}, opset=11),
    Case("Softmax", ((2, 3, 4),), {}, {"axis": 1}),
    Case("LogSoftmax", ((2, 3, 4),)),
    *(
        Case(f"Reduce{kind}", attributes={"axes": [1]}, opset=11)
        for kind in ["Mean", "Max", "Min", "Prod", "L1", "L2", "Sum", "SumSquare"]
    ),
    Case("ReduceSum", constants={1: _ints(-1)}, attributes={"keepdims": 0}),
    Case("ReduceMean", constants={1: _ints(1, 2)}, opset=18),
    Case("ReduceMax", attributes={"keepdims": 0}, opset=11),
    Case("ReduceLogSum", attributes={"axes": [2]}, positive=True, opset=13),
    Case("ReduceLogSumExp", attributes={"axes": [2], "keepdims": 0}, opset=13),
    Case("GlobalAveragePool", _IMAGE),
    Case("GlobalMaxPool", _IMAGE),
    Case("MaxPool", _IMAGE, {}, {"kernel_shape": [2, 3], "strides": [2, 1], "pads": [1, 0, 0, 1]}),
    Case("AveragePool", _IMAGE, {}, {"kernel_shape": [2, 3], "strides": [1, 2], "pads": [1, 1, 0, 1]}),
    Case("AveragePool", ((1, 4, 9),), {}, {"kernel_shape": [4], "pads": [1, 1], "count_include_pad": 1}),
]
