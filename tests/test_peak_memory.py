"""The memory that a run used at most."""

from __future__ import annotations

import numpy as np

from biglambda import fit_kmeans
from biglambda.runtime.memory import forget_peak, peak_bytes


def test_a_peak_is_seen_and_forgotten() -> None:
    forget_peak()
    before = peak_bytes()
    block = np.ones(25_000_000)
    assert 190e6 < peak_bytes() - before < 230e6
    del block
    assert peak_bytes() - before > 190e6
    forget_peak()
    assert peak_bytes() - before < 50e6


def test_every_worker_tells_its_own_peak() -> None:
    x = np.random.default_rng(0).standard_normal((400_000, 32))
    result = fit_kmeans(x, 2, init=x[:2], max_iter=2, workers=2, inner_workers=1)
    assert result.trace is not None
    peaks = [report.peak for report in result.trace.workers]
    assert all(x.nbytes / 2 < peak < x.nbytes / 2 + 400e6 for peak in peaks)
    assert result.trace.peak == max(peaks)
    assert "MB each" in repr(result.trace)
