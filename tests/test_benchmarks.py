"""The benchmarks run, at a small size, so that they cannot rot. Nothing here is timed."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from benchmarks import (
    cold_start,
    exact_sums,
    inner_workers,
    loading,
    make_data,
    paths,
    sparse,
    timing,
    whole_process,
)
from benchmarks.s3_server import BUCKET, S3Server, owners_client
from benchmarks.slow_link import slow_link
from biglambda import kernels


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


def test_all_paths_are_compared_and_the_chosen_one_is_among_them() -> None:
    found = list(paths.sweep(1, [(2, 3), (40, 2)], [5, 32], row_bytes=30_000))
    firsts = [(one.kernel, one.dtype, one.d) for one in found[:2]]
    assert firsts == [("k-means", "float32", 2), ("k-means", "float32", 40)]
    assert len(found) == 8
    for one in found:
        assert one.chosen in one.seconds
        assert one.loss >= 1
        assert one.best in str(one)


def test_sums_are_compared_with_sums_that_are_not_rounded() -> None:
    x = np.random.default_rng(0).standard_normal((3_000, 5))
    with exact_sums.kernels_without_rounding() as plain:
        assert plain.exact.split.py_func(1.25, None, 0) == (1.25, 0.0)
        results = []
        for of in (kernels, plain):
            gradient = np.zeros(6)
            of.logistic(x, np.zeros(3_000), np.ones(6), np.full(7, 2.0**-4), gradient)
            results.append(gradient)
    assert (results[0] * 16 == np.rint(results[0] * 16)).all()  # multiples of the quantum
    assert not (results[1] * 16 == np.rint(results[1] * 16)).any()
    assert np.allclose(*results, rtol=0, atol=3 * 2.0**-4)
    names = [name for name, _ in exact_sums.sweep(1, divide=1000)]
    assert len(names) == 20


@pytest.mark.parametrize("kind", ["csv", "npy", "parquet"])
def test_loading_compares_what_brings_the_same_bytes(kind: str, s3_server: S3Server) -> None:
    data = loading.content(kind, megabytes=0.5, d=4)
    s3_server.put(f"loading.{kind}", data)
    seconds = loading.measure(s3_server, kind, data, rounds=2)
    assert (loading.PARSING in seconds) == (kind != "npy")
    assert loading.share_of_longest(seconds) > 0


def test_cold_start_compares_a_cache_with_none(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = "exponential_race"

    def one(folder: Path, names: list[str]) -> None:  # all kernels would take a minute
        for name in names:
            cold_start.start(
                f"from biglambda.kernels import warm; warm({kernel!r})",
                **cold_start.environment(name), NUMBA_CACHE_DIR=str(folder),
            )  # fmt: skip

    monkeypatch.setattr(cold_start, "bake", one)
    seconds = cold_start.measure(cold_start.own_targets()[0], [kernel], rounds=1)
    assert set(seconds) == {cold_start.BAKED, cold_start.COMPILED, cold_start.NUMBA}


def test_a_slow_link_brings_the_bytes_no_faster_than_it_may(s3_server: S3Server) -> None:
    data = b"bytes" * 200_000
    s3_server.put("slow", data)
    with slow_link(urlsplit(s3_server.endpoint).port or 80, gigabits=0.04) as port:
        client = owners_client(f"http://127.0.0.1:{port}")
        start = time.monotonic()
        assert client.get_object(Bucket=BUCKET, Key="slow")["Body"].read() == data
        assert time.monotonic() - start > 0.15


@pytest.mark.parametrize("kind", make_data.FORMATS)
def test_made_data_are_as_large_as_those_of_the_rival(kind: str) -> None:
    seconds, size = make_data.measure(kind, n=3_000, d=4, rounds=1)
    assert set(seconds) == {make_data.OURS, make_data.ONE_THREAD, make_data.RIVAL}
    assert size >= 3_000 * 4 * 8
