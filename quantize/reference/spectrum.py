"""The short-time Fourier transform, exact: a mixed-radix transform whose every rounding is stated."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from edgernn import ops
from edgernn.program import Array
from edgernn.quantize.reference.ieee import flush
from edgernn.quantize.reference.registry import reference

_HALF = np.float32(0.5)
# Taylor coefficients of sin and cos up to an eighth of a turn, in float64: error below 1e-16
_SIN = tuple((-1) ** k / float(np.prod(np.arange(1, 2 * k + 2, dtype=np.float64))) for k in range(9))
_COS = tuple((-1) ** k / float(np.prod(np.arange(1, 2 * k + 1, dtype=np.float64))) for k in range(9))


@lru_cache(maxsize=64)
def twiddles(n: int) -> tuple[Array, Array]:
    """cos and -sin of `2 π k / n` for k below n, float32: octants in integers, then polynomials in float64."""
    pairs = [_turn(k, n) for k in range(n)]
    return np.array([c for c, _ in pairs], np.float32), np.array([-s for _, s in pairs], np.float32)


def _turn(k: int, n: int) -> tuple[float, float]:
    octant, rest = divmod(8 * k, n)  # the angle is (octant + rest / n) eighths of a turn
    share = (n - rest if octant & 1 else rest) / n * (np.pi / 4)
    square = share * share
    sine = cosine = 0.0
    for s, c in zip(reversed(_SIN), reversed(_COS), strict=True):
        sine, cosine = sine * square + s, cosine * square + c
    sine *= share
    if octant in (1, 2, 5, 6):
        sine, cosine = cosine, sine
    return (-cosine if octant in (2, 3, 4, 5) else cosine), (-sine if octant >= 4 else sine)


def _times(re: Array, im: Array, c: Array, s: Array) -> tuple[Array, Array]:
    """Complex product: four products, two sums."""
    return flush(flush(re * c) - flush(im * s)), flush(flush(re * s) + flush(im * c))


def transform(re: Array, im: Array) -> tuple[Array, Array]:
    """Complex transform over the last axis, decimated in time by the smallest prime factor first."""
    n = re.shape[-1]
    p = next((p for p in range(2, n + 1) if n % p == 0), 1)
    if p == 1:
        return re, im
    m = n // p
    cosines, sines = twiddles(n)
    parts = []
    for r in range(p):
        part = transform(re[..., r::p], im[..., r::p])
        index = r * np.arange(m) % n
        parts.append(part if r == 0 else _times(*part, cosines[index], sines[index]))
    if p == 2:
        (a, b), (c, d) = parts
        return np.concatenate([flush(a + c), flush(a - c)], -1), np.concatenate([flush(b + d), flush(b - d)], -1)
    real, imaginary = [], []
    for q in range(p):
        total_re, total_im = parts[0]
        for r in range(1, p):
            turn = r * q * m % n
            more_re, more_im = _times(*parts[r], cosines[turn], sines[turn]) if turn else parts[r]
            total_re, total_im = flush(total_re + more_re), flush(total_im + more_im)
        real.append(total_re)
        imaginary.append(total_im)
    return np.concatenate(real, -1), np.concatenate(imaginary, -1)


def real_transform(x: Array) -> tuple[Array, Array]:
    """Bins 0 to n / 2 of a real signal; an even n takes a complex transform of half the length."""
    n = x.shape[-1]
    if n % 2:
        re, im = transform(x, np.zeros_like(x))
        return re[..., : n // 2 + 1], im[..., : n // 2 + 1]
    re, im = transform(x[..., 0::2], x[..., 1::2])
    k = np.arange(n // 2 + 1) % (n // 2)
    mirror = -np.arange(n // 2 + 1) % (n // 2)
    a, b, c, d = re[..., k], im[..., k], re[..., mirror], im[..., mirror]
    even_re, even_im = flush(_HALF * flush(a + c)), flush(_HALF * flush(b - d))
    odd_re, odd_im = flush(_HALF * flush(b + d)), flush(_HALF * flush(c - a))
    cosines, sines = twiddles(n)
    odd_re, odd_im = _times(odd_re, odd_im, cosines[: n // 2 + 1], sines[: n // 2 + 1])
    return flush(even_re + odd_re), flush(even_im + odd_im)


def inverse_transform(re: Array, im: Array, n: int) -> Array:
    """`n` times the real signal of bins 0 to n / 2: the way of `real_transform` backwards.

    An inverse transform is a transform with both parts exchanged, before and behind it.
    """
    im = im.copy()
    im[..., 0] = 0.0  # a real signal has none there
    if n % 2:
        re = np.concatenate([re, re[..., :0:-1]], -1)
        im = np.concatenate([im, -im[..., :0:-1]], -1)
        return transform(im, re)[1]
    half = n // 2
    im[..., half] = 0.0
    a, b = re[..., :half], im[..., :half]
    c, d = re[..., half:0:-1], im[..., half:0:-1]
    even_re, even_im = flush(a + c), flush(b - d)
    cosines, sines = twiddles(n)
    odd_re, odd_im = _times(flush(a - c), flush(b + d), cosines[:half], -sines[:half])
    odds, evens = transform(flush(even_im + odd_re), flush(even_re - odd_im))
    return np.stack([evens, odds], -1).reshape(*re.shape[:-1], n)


@reference(ops.IRFFT)
def irfft(op: ops.IRFFT, spectrum: Array, taper: Array) -> tuple[Array, ...]:
    """Transform, scale, taper."""
    n = len(taper)
    samples = inverse_transform(flush(spectrum[..., 0]), flush(spectrum[..., 1]), n)
    return (flush(flush(samples * (np.float32(op.scale) / np.float32(n))) * taper),)


@reference(ops.OverlapAdd)
def overlap_add(op: ops.OverlapAdd, window: Array) -> tuple[Array, ...]:
    """From the oldest frame to the newest."""
    rows = [flush(window[row : row + op.count, :, start : start + op.hop]) for row, start in op.parts(window.shape[2])]
    total = rows[0]
    for row in rows[1:]:
        total = flush(total + row)
    return (total.swapaxes(1, 2).reshape(op.count * op.hop, window.shape[1]),)


@reference(ops.STFT)
def stft(op: ops.STFT, samples: Array, taper: Array) -> tuple[Array, ...]:
    """Taper, transform, scale."""
    starts = op.first + op.stride * np.arange(op.count)
    pieces = flush(samples)[starts[:, None] + np.arange(len(taper))].swapaxes(1, 2)
    spectra = np.stack(real_transform(flush(pieces * taper)), axis=-1)
    return (flush(spectra * np.float32(op.scale)),)
