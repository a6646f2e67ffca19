"""Bodies of the recurrent layers. ONNX orders gates z r h (GRU) and i o f c (LSTM), PyTorch r z n and i f g o."""

from __future__ import annotations

from edgernn import ops
from edgernn.export.to_onnx.body import Body, body_of


def _gates(body: Body, operand: str, order: tuple[int, ...]) -> str:
    """A weight or bias with its gates in ONNX's order."""
    parts = body.nodes_of("Split", len(order), operand, axis=0, num_outputs=len(order))
    return body.node("Concat", *(parts[index] for index in order), axis=0)


def _weights(body: Body, order: tuple[int, ...]) -> list[str]:
    """The W, R and B inputs of an ONNX recurrent node."""
    split = len(order) > 1
    pick = (lambda operand: _gates(body, operand, order)) if split else (lambda operand: operand)
    inputs = [body.unsqueeze(pick(operand), 0) for operand in ("weight_ih", "weight_hh")]
    if body.has("bias_ih"):
        both = body.node("Concat", pick("bias_ih"), pick("bias_hh"), axis=0)
        return [*inputs, body.unsqueeze(both, 0)]
    return [*inputs, ""]


@body_of(ops.GRU)
def gru(body: Body, op: ops.GRU) -> list[str]:
    """ONNX `GRU` with `linear_before_reset`."""
    inputs = ["x", *_weights(body, (1, 0, 2)), "", body.unsqueeze("h", 0)]
    size = body.type("h").shape[-1]
    y, h = body.nodes_of("GRU", 2, *inputs, hidden_size=size, linear_before_reset=1)
    return [body.squeeze(y, 1), body.held(body.squeeze(h, 0), "h")]


@body_of(ops.RNN)
def rnn(body: Body, op: ops.RNN) -> list[str]:
    """ONNX `RNN`."""
    inputs = ["x", *_weights(body, (0,)), "", body.unsqueeze("h", 0)]
    size = body.type("h").shape[-1]
    y, h = body.nodes_of("RNN", 2, *inputs, hidden_size=size, activations=[op.kind.capitalize()])
    return [body.squeeze(y, 1), body.held(body.squeeze(h, 0), "h")]


@body_of(ops.LSTM)
def lstm(body: Body, op: ops.LSTM) -> list[str]:
    """ONNX `LSTM`; with a projection, which that lacks, the formula frame by frame."""
    if op.weight_hr:
        return _projected(body)
    inputs = ["x", *_weights(body, (0, 3, 1, 2)), "", body.unsqueeze("h", 0), body.unsqueeze("c", 0)]
    size = body.type("h").shape[-1]
    y, h, c = body.nodes_of("LSTM", 3, *inputs, hidden_size=size)
    return [body.squeeze(y, 1), body.held(body.squeeze(h, 0), "h"), body.held(body.squeeze(c, 0), "c")]


def _projected(body: Body) -> list[str]:
    weight_ih = body.node("Transpose", "weight_ih", perm=[1, 0])
    weight_hh = body.node("Transpose", "weight_hh", perm=[1, 0])
    weight_hr = body.node("Transpose", "weight_hr", perm=[1, 0])
    given = body.node("MatMul", "x", weight_ih)
    if body.has("bias_ih"):
        given = body.node("Add", given, body.node("Add", "bias_ih", "bias_hh"))
    h, c, rows = "h", "c", []
    for frame in range(body.type("x").shape[0]):
        here = body.squeeze(body.slice(given, 0, frame, frame + 1), 0)
        total = body.node("Add", here, body.node("MatMul", h, weight_hh))
        i, f, g, o = body.nodes_of("Split", 4, total, axis=1, num_outputs=4)
        kept = body.node("Mul", body.node("Sigmoid", f), c)
        c = body.node("Add", kept, body.node("Mul", body.node("Sigmoid", i), body.node("Tanh", g)))
        h = body.node("MatMul", body.node("Mul", body.node("Sigmoid", o), body.node("Tanh", c)), weight_hr)
        rows.append(body.unsqueeze(h, 0))
    y = rows[0] if len(rows) == 1 else body.node("Concat", *rows, axis=0)
    return [y, body.held(h, "h"), body.held(c, "c")]
