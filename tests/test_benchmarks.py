"""The benchmarks run, at a small size, so that they cannot rot. Nothing here is timed."""

from __future__ import annotations

from benchmarks import inner_workers, timing, whole_process


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
