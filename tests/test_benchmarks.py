"""The benchmarks run, at a small size, so that they cannot rot. Nothing here is timed."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import inner_workers, sparse, timing, whole_process


def test_inner_workers_compares_all_kinds() -> None:
    seconds = inner_workers.measure(n=5_000, d=4, k=3, rounds=2)
    assert {len(values) for values in seconds.values()} == {2}
    for rival in (inner_workers.PROCESSES, inner_workers.WITHOUT_LABELS, inner_workers.SERIAL):
        assert timing.median_ratio(seconds, inner_workers.THREADS, rival) > 0
    assert inner_workers.PROCESSES in timing.table(seconds)


def test_whole_processes_reach_the_same_fit() -> None:
    seconds, printed = whole_process.measure(n=3_000, d=3, k=4, iterations=3, rounds=1)
    assert set(seconds) == set(printed) == {whole_process.HERE, whole_process.LITHOPS, whole_process.RIVAL}
    ours, ours_too, theirs = (text.split() for text in printed.values())
    assert ours == ours_too
    assert ours[1:] == theirs[1:] == ["3", "3000"]
    assert abs(float(ours[0]) / float(theirs[0]) - 1) < 1e-9


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("distribution", sparse.DISTRIBUTIONS)
def test_sparse_compares_equal_gradients(distribution: str, classes: int) -> None:
    seconds, found = sparse.measure(
        m=3_000, d=200, row_length=10, dtype="float64", distribution=distribution, varied=True, classes=classes,
        threads=2, rounds=2,
    )  # fmt: skip
    assert set(seconds) == set(found)
    ours = found[sparse.OURS][..., :-1]
    for rival in (sparse.SCIPY, sparse.SCIPY_CONVERTED):
        assert np.allclose(found[rival].T, ours, rtol=0, atol=1e-8)
