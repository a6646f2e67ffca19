"""The numbers of a comparison, on runs whose differences are known."""

from __future__ import annotations

import numpy as np
import pytest

from edgernn.compare import difference, snr_db


def test_ratios_over_time() -> None:
    """An error that starts at a hundredth of the signal and ends at a tenth."""
    random = np.random.default_rng(0)
    x = random.choice((-1.0, 1.0), (1000, 3))
    size = np.where(np.arange(1000) < 500, 0.01, 0.1)[:, None]
    found = difference([x, x], [x + size * random.choice((-1.0, 1.0), x.shape)] * 2)
    assert found.first_tenth_db == pytest.approx(40)
    assert found.last_tenth_db == pytest.approx(20)
    assert found.snr_db == pytest.approx(-10 * np.log10((1e-4 + 1e-2) / 2))
    assert found.max_error == pytest.approx(0.1)
    assert found.drifts
    assert not difference([x], [x + 0.01]).drifts


def test_drift_and_stuck_units() -> None:
    """One unit moves away, one stands still, one stands still in both."""
    t = np.arange(1000)
    x = np.stack([np.sin(t), np.cos(t), np.sin(2 * t), np.zeros(1000)], axis=1)
    y = x.copy()
    y[900:, 1] += 0.5
    y[800:, 2] = 0.25
    found = difference([x], [y])
    assert found.stuck == 1
    assert found.unit_drift[0] == pytest.approx(0, abs=1e-9)
    assert found.unit_drift[1] == pytest.approx(0.5 / x[:, 1].std())
    assert found.drift == max(map(abs, found.unit_drift))


def test_equal_runs() -> None:
    """No error is an infinite ratio, and JSON has none."""
    x = np.ones((20, 2))
    assert snr_db(x, x) == np.inf
    assert difference([x], [x]).as_dict()["snr_db"] is None
    assert difference([np.empty((0, 2))], [np.empty((0, 2))]).snr_db == np.inf
