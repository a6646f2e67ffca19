"""docs/int8.md once more, in Python's own integers and one element at a time: what the reference is held against."""

from __future__ import annotations

from typing import Any

from edgernn import ops
from edgernn.quantize.reference.tables import SIGMOID, TANH

LIMITS = {"int8": 127, "int16": 16319}
WORD = 32767


def round_shift(x: int, shift: int) -> int:
    """Half up."""
    return (x + (1 << shift) // 2) >> shift


def clamp(x: int, low: int, high: int) -> int:
    """To [low, high]."""
    return max(low, min(high, x))


def sat16(x: int) -> int:
    """To int16."""
    return clamp(x, -32768, 32767)


def mulhrs(a: int, b: int) -> int:
    """In units of 2^-15."""
    return (a * b + 2**14) // 2**15


def activate(x: int, kind: str) -> int:
    """sigmoid or tanh."""
    size = min(abs(x), WORD)
    c = (SIGMOID if kind == "sigmoid" else TANH)[size // 2048]
    f = (size % 2048) * 32 - 32768
    y = min(c[0] + mulhrs(f, c[1] + mulhrs(f, c[2] + mulhrs(f, c[3]))), WORD)
    return y if x >= 0 else (32768 if kind == "sigmoid" else 0) - y


def narrow(h: int, shift: int, dtype: str) -> int:
    """An int16 of 2^-15 as `dtype` of 2^-shift."""
    return clamp(round_shift(h, 15 - shift), -LIMITS[dtype], LIMITS[dtype])


def product(weight: Any, x: Any) -> list[int]:
    """A row's sum for each row."""
    return [sum(int(w) * int(v) for w, v in zip(row, x, strict=True)) for row in weight]


def halves(op: Any, w: dict[str, Any], x: Any, taken: list[int], bias: str) -> tuple[list[int], list[int]]:
    """`A` and `K` of the text, K without a bias."""
    a = [s + int(b) for s, b in zip(product(w["weight_ih"], x), w[bias], strict=True)]
    k = product(w["weight_hh"], taken)
    return a, k


def scaled(sums: list[int], multipliers: Any) -> list[int]:
    """Each row's sum times its multiplier."""
    return [s * int(m) for s, m in zip(sums, multipliers, strict=True)]


def gru(op: ops.QGRU, w: dict[str, Any], x: Any, h: list[int]) -> tuple[list[int], list[int]]:
    """One frame: y and the new h."""
    size = len(h)
    a, k = halves(op, w, x, [narrow(v >> 15, op.h_shift, op.h_dtype) for v in h], "bias_ih")
    for j in range(size):
        k[2 * size + j] += int(w["bias_hh"][j])
    a, k = scaled(a, w["multiplier_ih"]), scaled(k, w["multiplier_hh"])
    new = []
    for j in range(size):
        r, z = (activate(sat16(round_shift(a[i] + k[i], op.shift)), "sigmoid") for i in (j, size + j))
        n_x, n_h = (sat16(round_shift(v[2 * size + j], op.shift)) for v in (a, k))
        n = activate(sat16(n_x + mulhrs(r, n_h)), "tanh")
        new.append(h[j] + (32768 - z) * (n - (h[j] >> 15)))
        assert abs(new[-1]) <= 2**30
    return [narrow(v >> 15, op.y_shift, op.y_dtype) for v in new], new


def lstm(
    op: ops.QLSTM, w: dict[str, Any], x: Any, h: list[int], c: list[int]
) -> tuple[list[int], list[int], list[int]]:
    """One frame: y, the new h and the new c."""
    size, e = len(c), op.cell_exponent
    a, k = halves(op, w, x, [narrow(v, op.h_shift, op.h_dtype) for v in h], "bias")
    a, k = scaled(a, w["multiplier_ih"]), scaled(k, w["multiplier_hh"])
    pre = [sat16(round_shift(p + q, op.shift)) for p, q in zip(a, k, strict=True)]
    new_h, new_c = [], []
    for j in range(size):
        i, f, o = (activate(pre[gate * size + j], "sigmoid") for gate in (0, 1, 3))
        g = activate(pre[2 * size + j], "tanh")
        cell = c[j] + (f - 32768) * sat16(round_shift(c[j], 15)) + round_shift(i * g, e)
        new_c.append(clamp(cell, -(2**30) + 1, 2**30 - 1))
        new_h.append(mulhrs(o, activate(sat16(round_shift(new_c[-1], 18 - e)), "tanh")))
    if "weight_hr" in w:
        sums = scaled(product(w["weight_hr"], [narrow(v, 7, "int8") for v in new_h]), w["multiplier_hr"])
        new_h = [clamp(round_shift(s, op.shift), -WORD, WORD) for s in sums]
    return [narrow(v, op.y_shift, op.y_dtype) for v in new_h], new_h, new_c


def rnn(op: ops.QRNN, w: dict[str, Any], x: Any, h: list[int]) -> tuple[list[int], list[int]]:
    """One frame: y and the new h."""
    a, k = halves(op, w, x, [narrow(v, op.h_shift, op.h_dtype) for v in h], "bias")
    a, k = scaled(a, w["multiplier_ih"]), scaled(k, w["multiplier_hh"])
    pre = [sat16(round_shift(p + q, op.shift)) for p, q in zip(a, k, strict=True)]
    new = [max(v, 0) if op.kind == "relu" else activate(v, "tanh") for v in pre]
    return [narrow(v, op.y_shift, op.y_dtype) for v in new], new


def conv1d(op: ops.QConv1d, window: Any, weight: Any, bias: Any, multiplier: Any) -> list[list[int]]:
    """`[count, out]` of one sequence's window `[frames, in]`."""
    out, inputs, taps = weight.shape
    each = out // op.groups
    rows = []
    for j in range(op.count):
        row = []
        for o in range(out):
            first = o // each * inputs
            total = int(bias[o])
            for i in range(inputs):
                for t in range(taps):
                    frame = op.first + j * op.stride + t * op.dilation
                    total += int(weight[o, i, t]) * int(window[frame, first + i])
            row.append(clamp(round_shift(total * int(multiplier[o]), op.shift), op.low, op.high))
        rows.append(row)
    return rows
