"""Bodies of the recurrent layers. ONNX orders gates z r h (GRU) and i o f c (LSTM), PyTorch r z n and i f g o."""

from __future__ import annotations

from typing import Any

from edgernn import ops
from edgernn.export.to_onnx.body import Body, body_of


def in_order(body: Body, operand: str, order: tuple[int, ...]) -> str:
    """A weight or bias with its gates in ONNX's order."""
    parts = body.nodes_of("Split", len(order), operand, axis=0, num_outputs=len(order))
    return body.node("Concat", *(parts[index] for index in order), axis=0)


def _weights(body: Body, order: tuple[int, ...]) -> list[str]:
    """The W, R and B inputs of an ONNX recurrent node."""
    split = len(order) > 1
    pick = (lambda operand: in_order(body, operand, order)) if split else (lambda operand: operand)
    inputs = [body.unsqueeze(pick(operand), 0) for operand in ("weight_ih", "weight_hh")]
    if body.has("bias_ih"):
        both = body.node("Concat", pick("bias_ih"), pick("bias_hh"), axis=0)
        return [*inputs, body.unsqueeze(both, 0)]
    return [*inputs, ""]


def positions(body: Body, x: str) -> str:
    """x `[frames, batch, positions, in]` with its positions in the place of time and all frames side by side."""
    frames, batch, count, width = body.type("x").shape
    return body.node("Transpose", body.reshape(x, (frames * batch, count, width)), perm=[1, 0, 2])


def frames_of(body: Body, y: str) -> str:
    """The way back."""
    frames, batch, count, _ = body.type("x").shape
    return body.reshape(body.node("Transpose", y, perm=[1, 0, 2]), (frames, batch, count, -1))


def _layer(body: Body, op: ops.GRU | ops.LSTM | ops.RNN, order: tuple[int, ...], **attributes: Any) -> list[str]:
    """The layer as ONNX has it, over the frames or over the positions of each."""
    kind, size = type(op).__name__, body.type("weight_hh").shape[1]
    weights, states = [*_weights(body, order), ""], list(op.STATES)
    if not op.h:
        attributes["direction"] = "reverse" if op.reverse else "forward"
        y, *_ = body.nodes_of(kind, 1 + len(states), positions(body, "x"), *weights, hidden_size=size, **attributes)
        return [frames_of(body, body.squeeze(y, 1))]
    starts = [body.unsqueeze(name, 0) for name in states]
    y, *news = body.nodes_of(kind, 1 + len(states), "x", *weights, *starts, hidden_size=size, **attributes)
    return [body.squeeze(y, 1), *(body.held(body.squeeze(new, 0), old) for new, old in zip(news, states, strict=True))]


@body_of(ops.GRU)
def gru(body: Body, op: ops.GRU) -> list[str]:
    """ONNX `GRU` with `linear_before_reset`."""
    return _layer(body, op, (1, 0, 2), linear_before_reset=1)


@body_of(ops.RNN)
def rnn(body: Body, op: ops.RNN) -> list[str]:
    """ONNX `RNN`."""
    return _layer(body, op, (0,), activations=[op.kind.capitalize()])


@body_of(ops.LSTM)
def lstm(body: Body, op: ops.LSTM) -> list[str]:
    """ONNX `LSTM`; with a projection, which that lacks, the formula frame by frame."""
    return _projected(body) if op.weight_hr else _layer(body, op, (0, 3, 1, 2))


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
