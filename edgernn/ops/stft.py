"""Short-time Fourier transform."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgernn.program import Array, Op, Operand, Type, present


@dataclass(frozen=True, kw_only=True)
class STFT(Op):
    """`torch.stft(center=False, onesided=True)` over a window of samples.

    samples `[kept + frames, batch]`, taper `[n_fft]`. Gives `[count, batch, n_fft / 2 + 1, 2]`: real and imaginary
    part; spectrum `j` is of samples `first + j * stride` to `+ n_fft - 1`, times `scale`.
    """

    samples: Operand
    taper: Operand
    count: int
    first: int = 0
    stride: int
    scale: float = 1.0

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        samples, taper = present(operands[0]), present(operands[1])
        return (Type(samples.dtype, (self.count, samples.shape[1], taper.shape[0] // 2 + 1, 2)),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        samples, taper = present(operands[0]), present(operands[1])
        starts = self.first + self.stride * np.arange(self.count)
        pieces = samples[starts[:, None] + np.arange(len(taper))]  # [count, n_fft, batch]
        spectra = self.scale * np.fft.rfft(pieces.swapaxes(1, 2) * taper, axis=-1)
        return (np.stack([spectra.real, spectra.imag], axis=-1).astype(samples.dtype),)

    def macs(self, *operands: Type | None) -> int:
        samples, taper = present(operands[0]), present(operands[1])
        n = int(taper.shape[0])
        return int(self.count * samples.shape[1]) * 2 * n * max(1, n.bit_length() - 1)  # a real FFT's order
