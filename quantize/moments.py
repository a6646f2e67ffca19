"""Second moments of what a layer multiplies, and how far they can be trusted."""

from __future__ import annotations

import numpy as np

from edgernn.program import Array


class Moments:
    """E[u uᵀ] of vectors u with a 1 behind them, summed in two halves whose difference tells how sure it is."""

    def __init__(self, size: int) -> None:
        self.sums = np.zeros((2, size + 1, size + 1))

    def add(self, u: Array, half: int | None = None) -> None:
        """Take the finite rows of u `[frames, size]`: for one half, or for both, cut in the middle."""
        pieces = np.array_split(u, 2) if half is None else [u]
        for index, piece in enumerate(pieces, half or 0):
            rows = piece[np.isfinite(piece).all(1)].astype(np.float64)
            rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
            self.sums[index] += rows.T @ rows

    @property
    def frames(self) -> int:
        """How many rows were taken."""
        return round(float(self.sums[:, -1, -1].sum()))

    def shrunk(self, change: Array | None = None) -> Array:
        """E[v vᵀ], v = change u, with covariances drawn to zero as far as chance alone could have made them.

        Their share is that of Ledoit and Wolf (2004), towards the diagonal; the variance of each covariance comes
        from how far the halves are apart, because the frames of a stream are not independent.
        """
        sums = self.sums if change is None else change @ self.sums @ change.T
        counts = self.sums[:, -1, -1]
        total = sums.sum(0) / max(1.0, counts.sum())
        mean = total[:, -1]
        covariance = total - np.outer(mean, mean)
        variance = np.diag(covariance).copy()
        np.fill_diagonal(covariance, 0.0)
        share = 1.0
        if counts.all():
            first, second = (_covariance(half / count, mean) for half, count in zip(sums, counts, strict=True))
            doubt = np.sum((first - second) ** 2) * counts.prod() / counts.sum() ** 2
            share = min(1.0, float(doubt / max(np.sum(covariance**2), 1e-300)))
        return np.asarray((1 - share) * covariance + np.diag(variance) + np.outer(mean, mean))


def _covariance(moments: Array, mean: Array) -> Array:
    """Around a mean that may not be these moments' own; zero on the diagonal."""
    own = moments[:, -1]
    result = moments - np.outer(own, mean) - np.outer(mean, own) + np.outer(mean, mean)
    np.fill_diagonal(result, 0.0)
    return np.asarray(result)
