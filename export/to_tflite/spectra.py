"""Short-time Fourier transforms, forward and inverse, by TFLite's one transform: RFFT2D of a power of two."""

from __future__ import annotations

import numpy as np

from edgernn import ops
from edgernn.errors import UnsupportedError
from edgernn.export.to_tflite.builder import Builder
from edgernn.export.to_tflite.graph import Tensor
from edgernn.export.to_tflite.rows import row
from edgernn.program import volume


@row(ops.STFT)
def stft(b: Builder, op: ops.STFT) -> None:
    """Pieces of the samples, tapered and transformed."""
    taper = b.parameter(op.taper)
    n, batch, samples = len(taper), b.shape(op.samples)[1], b.get(op.samples)
    if op.count == 1:
        pieces = b.slice(samples, 0, op.first, op.first + n)
        pieces = b.reshape(pieces, (1, n, batch)) if batch > 1 else b.reshape(pieces, (1, 1, n))
    else:
        index = op.first + op.stride * np.arange(op.count)[:, None] + np.arange(n)
        pieces = b.gather(samples, b.constant(index, "int32"), 0)  # [count, n, batch]
    if pieces.shape != (op.count, batch, n):
        pieces = b.transpose(pieces, (0, 2, 1))
    tapered = b.binary("MUL", pieces, b.constant(taper * np.float32(op.scale)))
    parts = _transformed(b, b.reshape(tapered, (op.count * batch, n)))
    b.put(op.outputs[0], b.concat([b.reshape(part, (op.count, batch, n // 2 + 1, 1)) for part in parts], 3))


@row(ops.IRFFT)
def irfft(b: Builder, op: ops.IRFFT) -> None:
    """A forward transform too: of the spectrum's Hartley form (Bracewell, The Hartley Transform, 1986).

    For the spectrum's whole length n put `c[k] = re[k] + im[k]`, `c[n - k] = re[k] - im[k]`. With F the transform of c,
    the samples are `x[k] = (re F[k] + im F[k]) / n`, `x[n - k] = (re F[k] - im F[k]) / n`.
    """
    taper, (frames, batch, bins, _) = b.parameter(op.taper), b.shape(op.spectrum)
    n, spectrum = len(taper), b.get(op.spectrum, (frames * batch, bins, 2))
    real, imaginary = (b.reshape(b.slice(spectrum, 2, part, part + 1), (frames * batch, bins)) for part in (0, 1))
    c = _both_halves(b, real, imaginary, n)
    samples = _both_halves(b, *_transformed(b, c), n)
    b.put(op.outputs[0], b.binary("MUL", samples, b.constant(taper * np.float32(op.scale / n))))


def _both_halves(b: Builder, real: Tensor, imaginary: Tensor, n: int) -> Tensor:
    """`real + imaginary` of each bin k, and `real - imaginary` in the place of n - k; `[rows, n]` of `[rows, bins]`."""
    k = np.arange(n)
    index = b.constant(np.minimum(k, n - k), "int32")
    sign = np.sign(n - 2 * k) * (k > 0)  # those of 0 and n / 2 have no imaginary part
    turned = b.binary("MUL", b.gather(imaginary, index, 1), b.constant(sign))
    return b.binary("ADD", b.gather(real, index, 1), turned)


def _transformed(b: Builder, x: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary part, `[rows, bins]`, of the transform of each of x's rows `[rows, n]`."""
    rows, n = x.shape
    if n & (n - 1):
        raise UnsupportedError(
            f"TFLite's RFFT2D has no transform of {n} points",
            place=b.place,
            hint="use a power of two for n_fft; win_length may stay as it is",
        )
    shape = (rows, 1, n // 2 + 1)
    spectra = b.make("RFFT2D", [b.reshape(x, (rows, 1, n)), b.constant([1, n], "int32")], shape, "complex64")
    real, imaginary = (b.make(kind, [spectra], shape, "float32") for kind in ("REAL", "IMAG"))
    return b.reshape(real, (rows, shape[2])), b.reshape(imaginary, (rows, shape[2]))


@row(ops.OverlapAdd)
def overlap_add(b: Builder, op: ops.OverlapAdd) -> None:
    """Slices added."""
    window, total = b.get(op.window), None
    for first, start in op.parts(window.shape[2]):
        part = b.slice(b.slice(window, 0, first, first + op.count), 2, start, start + op.hop)
        total = part if total is None else b.binary("ADD", total, part)
    assert total is not None
    y = b.transpose(total, (0, 2, 1))
    assert volume(y.shape) == volume(b.shape(op.outputs[0]))
    b.put(op.outputs[0], y)
