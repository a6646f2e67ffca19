"""Inverse short-time Fourier transform: frames of samples from spectra, and their overlapping sum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgernn.program import Array, Op, Operand, Type, present, volume


@dataclass(frozen=True, kw_only=True)
class IRFFT(Op):
    """Samples of each spectrum: `torch.fft.irfft(spectrum, n) * taper * scale`.

    spectrum `[frames, batch, n / 2 + 1, 2]` (real and imaginary part), taper `[n]`. Gives `[frames, batch, n]`.
    """

    spectrum: Operand
    taper: Operand
    scale: float = 1.0

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        spectrum, taper = present(operands[0]), present(operands[1])
        return (Type(spectrum.dtype, (*spectrum.shape[:2], taper.shape[0])),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        spectrum, taper = present(operands[0]), present(operands[1])
        samples = np.fft.irfft(spectrum[..., 0] + 1j * spectrum[..., 1], len(taper), axis=-1)
        return ((samples * taper * self.scale).astype(spectrum.dtype),)

    def macs(self, *operands: Type | None) -> int:
        spectrum, taper = present(operands[0]), present(operands[1])
        n = int(taper.shape[0])
        return int(spectrum.shape[0] * spectrum.shape[1]) * 2 * n * max(1, n.bit_length() - 1)  # a real FFT's order


@dataclass(frozen=True, kw_only=True)
class OverlapAdd(Op):
    """Frames of samples added where they overlap, `hop` apart.

    window `[kept + frames, batch, length]`, `length` a multiple of `hop`. Gives `[count * hop, batch]`: samples
    `[j * hop, (j + 1) * hop)` are those of window row `first + j + length / hop - 1` at 0, plus those of the row
    before it at `hop`, and so on; the oldest row comes first.
    """

    window: Operand
    hop: int
    count: int
    first: int = 0

    def parts(self, length: int) -> list[tuple[int, int]]:
        """First row and first sample of each summand, the oldest first."""
        rows = length // self.hop
        return [(self.first + row, (rows - 1 - row) * self.hop) for row in range(rows)]

    def infer(self, *operands: Type | None) -> tuple[Type, ...]:
        window = present(operands[0])
        return (Type(window.dtype, (self.count * self.hop, window.shape[1])),)

    def evaluate(self, *operands: Array | None) -> tuple[Array, ...]:
        window = present(operands[0])
        summands = [
            window[row : row + self.count, :, start : start + self.hop] for row, start in self.parts(window.shape[2])
        ]
        total = summands[0]
        for summand in summands[1:]:
            total = total + summand
        return (total.swapaxes(1, 2).reshape(self.count * self.hop, window.shape[1]),)

    def macs(self, *operands: Type | None) -> int:
        window = present(operands[0])
        return self.count * volume(window.shape[1:])
