"""ONNX files that others made become streams that give what the files give."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import edgernn
from edgernn.errors import ExportError, ModelFileError, UnsupportedError
from edgernn.export import StepResult, export_onnx
from edgernn.export.onnx_in.registry import read_names
from edgernn.program import Array
from edgernn.quantize import quantize_model

from onnx_graphs import CASES, Case, graph, random

SUFFIXES = (".onnx", ".ernn")


def export(folder: Path, model: onnx.ModelProto, suffix: str = ".ernn", **options: Any) -> StepResult:
    """Export a model; the proof has then run on the suffix's runtime."""
    source = folder / "theirs.onnx"
    onnx.save(model, source)
    result = export_onnx(source, folder / f"ours{suffix}", **options)
    assert result.proof.max_error <= 1e-5
    return result


def run(result: StepResult, x: Array) -> dict[str, Array]:
    """A stream's outputs by name."""
    made = edgernn.load(result.path)(x)
    return made if isinstance(made, dict) else {result.program.spec.outputs[0].name: made}


def backend_cases() -> list[Any]:
    """ONNX's own cases of the recurrent operations."""
    node = importlib.import_module("onnx.backend.test.case.node")
    for kind in ("gru", "lstm", "rnn"):
        importlib.import_module(f"onnx.backend.test.case.node.{kind}")
    return [case for case in node._NodeTestCases if case.model.graph.node[0].op_type in ("GRU", "LSTM", "RNN")]


def test_onnx_has_as_many_cases_as_we_know_of() -> None:
    assert len(backend_cases()) >= 18


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in backend_cases()])
def test_the_backend_cases_of_onnx(tmp_path: Path, case: Any, suffix: str) -> None:
    """Batch first, peepholes, both directions, initial biases: each equal to ONNX's own numbers."""
    (inputs, outputs) = case.data_sets[0]
    names = [item.name for item in case.model.graph.input]
    held = dict(zip(names[1:], inputs[1:], strict=True))
    result = export(tmp_path, case.model, suffix, held=held)
    found = run(result, inputs[0].reshape(1, *result.program.spec.inputs[0].frame))
    for item, wanted in zip(case.model.graph.output, outputs, strict=True):
        np.testing.assert_allclose(found[item.name].reshape(wanted.shape), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{case.op}-{index}") for index, case in enumerate(CASES)])
def test_an_operation(tmp_path: Path, case: Case) -> None:
    """Each form of each operation, against onnxruntime."""
    export(tmp_path, case.model())


def test_every_operation_that_is_read_has_a_case() -> None:
    elsewhere = {"GRU", "LSTM", "RNN", "If", "Loop", "Scan", "Scatter", "And", "Or", "Not", "Xor", "Equal"}
    assert set(read_names()) - {case.op for case in CASES} <= elsewhere


LSTM_WEIGHTS = {"w": random(1, 32, 5), "r": random(1, 32, 8, seed=1), "b": random(1, 64, seed=2)}


@pytest.mark.parametrize(
    ("op", "attributes", "extra"),
    [
        ("GRU", {"linear_before_reset": 1, "clip": 0.3}, {}),
        ("GRU", {"activations": ["HardSigmoid", "Softsign"], "activation_alpha": [0.3], "activation_beta": [0.4]}, {}),
        ("GRU", {"direction": "bidirectional", "linear_before_reset": 1}, {"initial_h": random(2, 2, 8)}),
        ("LSTM", {"clip": 0.2}, {"initial_h": random(1, 2, 8), "initial_c": random(1, 2, 8)}),
        ("LSTM", {"input_forget": 1}, {"P": random(1, 24)}),
        (
            "LSTM",
            {
                "activations": ["Sigmoid", "LeakyRelu", "Affine"],
                "activation_alpha": [0.1, 0.7],
                "activation_beta": [0.2],
            },
            {},
        ),
        ("LSTM", {"direction": "reverse"}, {"sequence_lens": np.array([4, 2], np.int32)}),
        ("LSTM", {"direction": "bidirectional"}, {"sequence_lens": np.array([3, 4], np.int32)}),
        (
            "RNN",
            {
                "direction": "bidirectional",
                "activations": ["Relu", "ScaledTanh"],
                "activation_alpha": [1.5],
                "activation_beta": [0.5],
            },
            {},
        ),
        ("RNN", {"activations": ["Elu"], "direction": "reverse"}, {"initial_h": random(1, 2, 8)}),
        ("RNN", {"activations": ["Relu"]}, {"sequence_lens": np.array([4, 4], np.int32)}),
    ],
)
def test_forms_of_recurrent_operations(tmp_path: Path, op: str, attributes: Any, extra: dict[str, Array]) -> None:
    """What ours lack is written out, and gives what onnxruntime gives, all results of it."""
    gates = {"GRU": 3, "LSTM": 4, "RNN": 1}[op]
    sides = 2 if attributes.get("direction") == "bidirectional" else 1
    weights = {"W": random(sides, 8 * gates, 5), "R": random(sides, 8 * gates, 8), "B": random(sides, 16 * gates)}
    constants = weights | extra
    names = ["x", "W", "R", "B", *(n if n in extra else "" for n in ("sequence_lens", "initial_h", "initial_c", "P"))]
    while not names[-1]:  # onnxruntime takes no empty name at the end
        names.pop()
    results = ["Y", "Y_h", "Y_c"][: 3 if op == "LSTM" else 2]
    node = helper.make_node(op, names, results, hidden_size=8, **attributes)
    export(tmp_path, graph([node], {"x": (4, 2, 5)}, results, constants))


def lstm(opset: int = 17) -> onnx.ModelProto:
    """A layer, its states stacked in one tensor `[2, 1, 1, 8]`."""
    constants = LSTM_WEIGHTS | {"first": np.array([0]), "second": np.array([1])}
    nodes = [
        helper.make_node("Gather", ["packed", "first"], ["h4"], axis=0),
        helper.make_node("Gather", ["packed", "second"], ["c4"], axis=0),
        helper.make_node("Squeeze", ["h4", "first"], ["h"]),
        helper.make_node("Squeeze", ["c4", "first"], ["c"]),
        helper.make_node("LSTM", ["x", "w", "r", "b", "", "h", "c"], ["y", "h_new", "c_new"], hidden_size=8),
        helper.make_node("Squeeze", ["y", "second"], ["out"]),
        helper.make_node("Unsqueeze", ["h_new", "first"], ["h5"]),
        helper.make_node("Unsqueeze", ["c_new", "first"], ["c5"]),
        helper.make_node("Concat", ["h5", "c5"], ["result"], axis=0),
    ]
    return graph(nodes, {"x": (1, 1, 5), "packed": (2, 1, 1, 8)}, ["out", "result"], constants, opset)


def test_a_stacked_state_is_taken_apart(tmp_path: Path) -> None:
    """The layer's own states are the stream's, and nothing is left of the packing."""
    result = export(tmp_path, lstm())
    assert [(pair.input, pair.output, pair.how) for pair in result.step.pairs] == [("packed", "result", "by the graph")]
    program = result.program
    assert sorted(type(op).__name__ for op in program.ops) == ["LSTM", "Reshape", "Reshape"]
    assert [state.shape for state in program.spec.states] == [(1, 8), (1, 8)]
    x = random(9, 5)
    stream = edgernn.load(result.path).stream()
    pieces = [stream.push(x[:2]), stream.push(x[2:7]), stream.push(x[7:])]
    np.testing.assert_array_equal(np.concatenate(pieces), edgernn.load(result.path)(x))


def test_a_cell_that_is_spelled_out_is_a_layer(tmp_path: Path) -> None:
    """As Keras writes an LSTM; the product of x and h side by side, as others do, is one too."""
    constants = {"k": random(5, 32), "u": random(8, 32), "both": random(13, 32), "b": random(32)}
    gates = [
        helper.make_node("Split", ["total"], ["i", "f", "g", "o"], axis=1),
        *(helper.make_node("Sigmoid", [name], [f"{name}s"]) for name in "ifo"),
        helper.make_node("Tanh", ["g"], ["gs"]),
        helper.make_node("Mul", ["c", "fs"], ["kept"]),
        helper.make_node("Mul", ["gs", "is"], ["new"]),
        helper.make_node("Add", ["kept", "new"], ["c_out"]),
        helper.make_node("Tanh", ["c_out"], ["ct"]),
        helper.make_node("Mul", ["os", "ct"], ["h_out"]),
        helper.make_node("Identity", ["h_out"], ["y"]),
    ]
    apart = [
        helper.make_node("MatMul", ["x", "k"], ["xk"]),
        helper.make_node("MatMul", ["h", "u"], ["hu"]),
        helper.make_node("Add", ["xk", "hu"], ["sum"]),
        helper.make_node("Add", ["b", "sum"], ["total"]),
    ]
    joined = [
        helper.make_node("Concat", ["x", "h"], ["xh"], axis=1),
        helper.make_node("Gemm", ["xh", "both", "b"], ["total"]),
    ]
    for nodes in (apart, joined):
        model = graph([*nodes, *gates], {"x": (1, 5), "h": (1, 8), "c": (1, 8)}, ["y", "h_out", "c_out"], constants, 11)
        program = export(tmp_path, model).program
        assert [type(op).__name__ for op in program.ops if type(op).__name__ not in ("Reshape",)] == ["LSTM"]


def adder(inputs: dict[str, tuple[int, ...]], pairs: dict[str, str]) -> onnx.ModelProto:
    """y = x + every other input; each of `pairs` is its input plus x."""
    nodes, total = [], "x"
    for name in [name for name in inputs if name != "x"]:
        nodes.append(helper.make_node("Add", [total, name], [f"{name}.total"]))
        total = f"{name}.total"
    nodes += [helper.make_node("Add", [start, "x"], [end]) for start, end in pairs.items()]
    nodes.append(helper.make_node("Identity", [total], ["y"]))
    return graph(nodes, inputs, ["y", *pairs.values()])


@pytest.mark.parametrize(
    ("start", "end"),
    [
        *(
            ("h_in", "h_out"),
            ("h0", "hn"),
            ("state", "stateN"),
            ("past_key_1", "present_key_1"),
            ("in_cache", "out_cache"),
        ),
        *(("cached_conv", "new_cached_conv"), ("prev.h", "next.h"), ("hidden", "hidden_new")),
    ],
)
def test_states_are_found_by_name(tmp_path: Path, start: str, end: str) -> None:
    model = adder({"x": (1, 4), start: (1, 4), "w_in": (1, 4)}, {start: end, "w_in": "w_out"})
    found = {(pair.input, pair.output, pair.how) for pair in export(tmp_path, model).step.pairs}
    assert found == {(start, end, "by name"), ("w_in", "w_out", "by name")}


def test_states_are_found_by_shape_or_told(tmp_path: Path) -> None:
    one = adder({"x": (1, 4), "a": (1, 4)}, {"a": "b"})
    assert [pair.how for pair in export(tmp_path, one).step.pairs] == ["by shape"]
    assert [port.name for port in export(tmp_path, one, states={"a": ""}).program.spec.inputs] == ["x", "a"]
    two = adder({"x": (1, 4), "a": (1, 4), "c": (1, 4)}, {"a": "b", "c": "d"})
    with pytest.raises(ExportError, match="may be the state that comes back as `b` or `d`") as refused:
        export(tmp_path, two)
    assert "--state a=b" in refused.value.hint
    told = export(tmp_path, two, states={"a": "d", "c": "b"})
    assert {(pair.input, pair.output) for pair in told.step.pairs} == {("a", "d"), ("c", "b")}
    x = np.array([[1.0], [2], [4]], np.float32).repeat(4, 1)
    # y = x + a + c, a' = c + x, c' = a + x
    np.testing.assert_array_equal(edgernn.load(told.path)(x)[:, 0], [1, 4, 10])
    np.testing.assert_array_equal(
        edgernn.load(told.path)(x)["y"][:, 0]
        if len(told.program.spec.outputs) > 1
        else edgernn.load(told.path)(x)[:, 0],
        [1, 4, 10],
    )
    for states, text in (({"a": "e"}, "has no `e`"), ({"q": "b"}, "has no `q`")):
        with pytest.raises(ExportError, match=text):
            export(tmp_path, two, states=states)


def test_frames_context_and_a_held_branch(tmp_path: Path) -> None:
    """Six samples a run, two of them old; the branch that the held rate does not take is not even readable."""
    branches = {}
    for name, kernel in (("then", random(1, 1, 3)), ("else", random(1, 1, 3, seed=3))):
        weight = numpy_helper.from_array(kernel, f"{name}.w")
        nodes = [helper.make_node("Conv", ["x", f"{name}.w"], [f"{name}.y"])]
        nodes += [helper.make_node("NonZero", ["x"], [f"{name}.bad"])] if name == "else" else []
        out = helper.make_tensor_value_info(f"{name}.y", onnx.TensorProto.FLOAT, None)
        branches[f"{name}_branch"] = helper.make_graph(nodes, name, [], [out], [weight])
    nodes = [
        helper.make_node("Equal", ["int_rate", "rate"], ["fast"]),
        helper.make_node("If", ["fast"], ["y"], **branches),
    ]
    model = graph(nodes, {"x": (1, 1, 6), "int_rate": ()}, ["y"], {"rate": np.int64(16000)})
    result = export(tmp_path, model, held={"int_rate": "16000"}, time_axis=2, context=2)
    spec = result.program.spec
    assert (spec.hop, spec.inputs[0].frame, spec.outputs[0].shape, spec.receptive_field) == (4, (), (4,), 6)
    x = random(40)
    whole = np.convolve(np.concatenate([np.zeros(2, "f"), x]), random(1, 1, 3)[0, 0, ::-1], "valid")
    np.testing.assert_allclose(edgernn.load(result.path)(x), whole, rtol=1e-5, atol=1e-6)
    assert not edgernn.load(result.path).spec.frames_left


def test_a_computed_branch_is_a_choice(tmp_path: Path) -> None:
    outs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("a", "b")]
    then = helper.make_graph([helper.make_node("Neg", ["x"], ["a"])], "then", [], outs[:1])
    other = helper.make_graph([helper.make_node("Exp", ["x"], ["b"])], "else", [], outs[1:])
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Greater", ["most", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], then_branch=then, else_branch=other),
    ]
    export(tmp_path, graph(nodes, {"x": (1, 1)}, ["y"], {"zero": np.float32(0)}))


def test_loops_are_written_out(tmp_path: Path) -> None:
    """A loop of five rounds, and a scan over six rows that starts at the last."""
    info = helper.make_tensor_value_info
    kinds = onnx.TensorProto
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["again"]),
            helper.make_node("Cast", ["round"], ["number"], to=kinds.FLOAT),
            helper.make_node("Mul", ["old", "half"], ["less"]),
            helper.make_node("Add", ["less", "number"], ["new"]),
            helper.make_node("Identity", ["new"], ["row"]),
        ],
        "body",
        [info("round", kinds.INT64, ()), info("go", kinds.BOOL, ()), info("old", kinds.FLOAT, None)],
        [info("again", kinds.BOOL, ()), info("new", kinds.FLOAT, None), info("row", kinds.FLOAT, None)],
    )
    constants = {"rounds": np.int64(5), "go0": np.array(True), "half": np.float32(0.5)}
    nodes = [helper.make_node("Loop", ["rounds", "go0", "x"], ["y", "rows"], body=body)]
    export(tmp_path, graph(nodes, {"x": (1, 3)}, ["y", "rows"], constants))
    step = helper.make_graph(
        [helper.make_node("Add", ["sum", "row"], ["sum_out"]), helper.make_node("Tanh", ["sum_out"], ["row_out"])],
        "step",
        [info("sum", kinds.FLOAT, None), info("row", kinds.FLOAT, None)],
        [info("sum_out", kinds.FLOAT, None), info("row_out", kinds.FLOAT, None)],
    )
    scan = helper.make_node(
        "Scan", ["start", "x"], ["y", "rows"], body=step, num_scan_inputs=1, scan_input_directions=[1]
    )
    export(tmp_path, graph([scan], {"x": (6, 3)}, ["y", "rows"], {"start": np.zeros(3, np.float32)}))


@pytest.mark.parametrize("opset", [9, 11, 13, 15, 18, 20, 22])
def test_every_opset(tmp_path: Path, opset: int) -> None:
    """The same layer through the forms that its attributes have had."""
    constants = {"w": random(1, 24, 5), "r": random(1, 24, 8), "b": random(1, 48), "axis": np.array([1])}
    squeezed = (["y4", "axis"], {}) if opset >= 13 else (["y4"], {"axes": [1]})
    nodes = [
        helper.make_node(
            "GRU", ["x", "w", "r", "b", "", "h_in"], ["y4", "h_out"], hidden_size=8, linear_before_reset=1
        ),
        helper.make_node("Squeeze", squeezed[0], ["y3"], **squeezed[1]),
        helper.make_node("Softmax", ["y3"], ["y"], axis=2),
    ]
    result = export(tmp_path, graph(nodes, {"x": (1, 1, 5), "h_in": (1, 1, 8)}, ["y", "h_out"], constants, opset))
    assert [state.shape for state in result.program.spec.states] == [(1, 8)]


def test_what_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "theirs.onnx"
    loose = graph([helper.make_node("Relu", ["x"], ["y"])], {"x": ("batch", "time", 4)}, ["y"])
    cases: list[tuple[onnx.ModelProto, dict[str, Any], type[Exception], str]] = [
        (graph([helper.make_node("NonZero", ["x"], ["y"])], {"x": (1, 4)}, ["y"]), {}, UnsupportedError, "NonZero"),
        (
            graph([helper.make_node("Relu", ["x"], ["y"])], {"x": (1, 4)}, ["y"], opset=8),
            {},
            UnsupportedError,
            "opset 8",
        ),
        (loose, {}, ExportError, "is open, and the file has no state"),
        (loose, {"inputs": ["float32[1,2]"]}, ExportError, r"is float32\[batch,time,4\] in the file"),
        (loose, {"inputs": ["q=float32[1,2]"]}, ExportError, "has no input `q`"),
        (loose, {"context": 2}, ExportError, "needs to know them"),
        (lstm(), {"held": {"packed": "a"}}, ExportError, "`a` is no float32"),
        (lstm(), {"mode": "window:4"}, ExportError, "no mode"),
        (lstm(), {"rate_hz": -5}, ExportError, "come at -5 Hz"),
        (lstm(), {"labels": ["a", "b"]}, ExportError, "2 labels for the output's features"),
    ]
    for model, options, kind, text in cases:
        onnx.save(model, source)
        with pytest.raises(kind, match=text):
            export_onnx(source, tmp_path / "ours.onnx", **options)
        assert [path.name for path in tmp_path.iterdir()] == ["theirs.onnx"]
    source.write_bytes(b"no protobuf")
    with pytest.raises(ModelFileError, match="not an ONNX file"):
        export_onnx(source, tmp_path / "ours.onnx")
    whole = graph([helper.make_node("Relu", ["x"], ["y"])], {"x": ("batch", "time", 4)}, ["y"])
    made = export(tmp_path, whole, inputs=["float32[1,7,4]"], time_axis=1, mode="offline")
    assert (made.program.spec.hop, made.program.spec.mode) == (7, "offline")
    onnx.save(lstm(), source)
    ours = export_onnx(source, tmp_path / "first.onnx").path
    with pytest.raises(ExportError, match="edgernn's already"):
        export_onnx(ours, tmp_path / "second.ernn")


def test_a_layer_that_starts_from_a_computed_state_stays_in_float(tmp_path: Path) -> None:
    """An encoder's newest state starts a decoder in the same step; what is around it is integer."""
    constants = {
        "w": random(1, 24, 5),
        "r": random(1, 24, 8),
        "b": random(1, 48),
        "k": random(8, 4),
        "axis": np.array([1]),
    }
    sizes = {"hidden_size": 8, "linear_before_reset": 1}
    nodes = [
        helper.make_node("GRU", ["x", "w", "r", "b"], ["", "encoded"], **sizes),
        helper.make_node("GRU", ["x", "w", "r", "b", "", "encoded"], ["y4"], **sizes),
        helper.make_node("Squeeze", ["y4", "axis"], ["y3"]),
        helper.make_node("MatMul", ["y3", "k"], ["y"]),
    ]
    result = export(tmp_path, graph(nodes, {"x": (6, 1, 5)}, ["y"], constants), ".onnx", time_axis=0)
    made = quantize_model(result.path, [random(300, 5)], tmp_path / "int8.ernn")
    assert [node.why for node in made.report.nodes if node.op == "GRU"] == ["", "its state is computed in each step"]
    assert min(item.snr_db for item in made.report.outputs.values()) > 20


MODELS = {
    "dtln/model_1": ("dtln/golden_onnx_200blocks", "mag", "mask"),
    "dtln/model_2": ("dtln/golden_onnx_200blocks", "est_block", "out_block"),
    "gtcrn/gtcrn": ("gtcrn/golden_120frames", "mix", "enh"),
    "gtcrn/gtcrn_simple": ("gtcrn/golden_120frames", "mix", "enh"),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", MODELS)
def test_networks_of_others(shared_data: Path, tmp_path: Path, name: str, suffix: str) -> None:
    """Speech enhancement as its authors published it, over a recording: equal to their own run."""
    file, given, wanted = MODELS[name]
    golden = np.load(shared_data / "models" / f"{file}.npz")
    result = export_onnx(shared_data / "models" / f"{name}.onnx", tmp_path / f"ours{suffix}")
    error = np.abs(edgernn.load(result.path)(golden[given]) - golden[wanted]).max()
    assert error <= 1e-5 * np.abs(golden[wanted]).max()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_network_over_whole_texts(shared_data: Path, tmp_path: Path, suffix: str) -> None:
    """Both directions over the bytes of a text, the length as asked for."""
    folder = shared_data / "models" / "nnsplit_bilstm"
    golden = np.load(folder / "golden.npz")
    options: dict[str, Any] = {"inputs": ["uint8[1,600]"], "time_axis": 1, "mode": "offline"}
    model = edgernn.load(export_onnx(folder / "model.onnx", tmp_path / f"ours{suffix}", **options).path)
    error = np.abs(model(golden["text_in"][0]) - golden["text_out"][0]).max()
    assert error <= 1e-5 * np.abs(golden["text_out"]).max()
