"""k-means against scikit-learn, and the same bits whatever runs it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import run_workers
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from biglambda import KMeansResult, fit_kmeans
from biglambda.algorithms.kmeans import kmeans_algorithm
from biglambda.runtime.data import describe

Blobs = Callable[..., tuple[np.ndarray, np.ndarray]]


def sklearn_fit(x: np.ndarray, centers: np.ndarray, **options: Any) -> KMeans:
    return KMeans(len(centers), init=centers, n_init=1, **options).fit(x)


def assert_same(result: KMeansResult, model: KMeans) -> None:
    assert result.labels is not None
    np.testing.assert_array_equal(result.labels, model.labels_)
    np.testing.assert_allclose(result.centers, model.cluster_centers_, rtol=0, atol=1e-9)
    assert result.n_iter == model.n_iter_
    assert result.inertia == pytest.approx(model.inertia_, rel=1e-9)


@pytest.mark.parametrize("inner_workers", [1, 2, 3])
@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_separated_data_give_scikit_learns_result(
    workers: int, inner_workers: int, blobs: Blobs, redis_url: str
) -> None:
    x, centers = blobs(12_345, 5, 7)
    result = fit_kmeans(
        x, 7, init=centers, workers=workers, inner_workers=inner_workers, redis=redis_url if workers > 1 else None
    )
    assert_same(result, sklearn_fit(x, centers))


@pytest.mark.parametrize(
    "bounds",
    [
        (0, 9 * 1024, 10 * 1024, 10 * 1024 + 1),  # 90 % of the rows; a tenth; a single row
        (0, 10 * 1024, 10 * 1024, 10 * 1024 + 1),  # a worker without rows
        (0, 1024, 10 * 1024 + 1),
    ],
)
@pytest.mark.parametrize("inner_workers", [1, 2, 3])
def test_skewed_partitions_change_nothing(
    bounds: tuple[int, ...], inner_workers: int, blobs: Blobs, redis_url: str
) -> None:
    x, centers = blobs(10 * 1024 + 1, 4, 6, seed=1)
    source = replace(describe(x), bounds=bounds)
    algorithm = kmeans_algorithm(source, 6, centers, 1, 300, 1e-4, 0)
    state, memory, reports = run_workers(
        source, algorithm, len(bounds) - 1, redis_url, outputs=("labels",), inner_workers=inner_workers
    )
    assert [one.rows for one in reports] == np.diff(bounds).tolist()
    alone = fit_kmeans(x, 6, init=centers)
    assert state["centers"].tobytes() == alone.centers.tobytes()
    assert memory["labels"].tobytes() == alone.labels.tobytes()
    model = sklearn_fit(x, centers)
    np.testing.assert_allclose(state["centers"], model.cluster_centers_, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(memory["labels"], model.labels_)


def fingerprint(result: Any) -> bytes:
    return b"".join(
        [
            result["centers"].tobytes(),
            np.float64(result["inertia"]).tobytes(),
            np.array(result["history"]).tobytes(),
            bytes([result["n_iter"]]),
        ]
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["array", "npy", "csv"])
@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_the_same_bits_for_every_number_and_kind_of_workers(
    kind: str, init: str, dtype: str, redis_url: str, tmp_path: Path
) -> None:
    generator = np.random.default_rng(5)
    x = (generator.standard_normal((7_003, 3)) * [1.0, 100.0, 1e-3] + [0.0, 2013.0, 5.0]).astype(dtype)
    data: Any = x
    if kind == "npy":  # two files are one data set
        np.save(tmp_path / "a.npy", x[:3_000])
        np.save(tmp_path / "b.npy", x[3_000:])
        data = str(tmp_path / "*.npy")
    elif kind == "csv":
        for name, part in (("a.csv", x[:3_000]), ("b.csv", x[3_000:])):
            np.savetxt(tmp_path / name, part, delimiter=",", fmt="%.17g")
        data = str(tmp_path / "*.csv")
    source = describe(data, dtype=dtype)
    algorithm = kmeans_algorithm(source, 5, init, 1, 12, 0.0, 99)
    seen = set()
    threads = itertools.product((1, 2, 3, 7), (("serial", 1), ("threads", 2), ("threads", 3)))
    processes = [(workers, ("processes", 2)) for workers in (1, 3)]  # forked for every iteration: slow
    for workers, (inner, inner_workers) in (*threads, *processes):
        state, memory, _ = run_workers(
            source, algorithm, workers, redis_url, outputs=("labels",), inner=inner, inner_workers=inner_workers
        )
        seen.add((fingerprint(state), memory["labels"].tobytes()))
    assert len(seen) == 1
    alone = fit_kmeans(x, 5, init=init, max_iter=12, tol=0.0, seed=99)
    assert (alone.centers.tobytes(), alone.labels.tobytes()) == (
        state["centers"].tobytes(),
        memory["labels"].tobytes(),
    )


def test_overlapping_data_give_scikit_learns_iterations_and_inertia() -> None:
    x = np.random.default_rng(8).standard_normal((4_000, 6))
    centers = np.random.default_rng(9).standard_normal((9, 6))
    for options in ({"tol": 0.0}, {"tol": 1e-2}, {"max_iter": 1}, {"max_iter": 7, "tol": 0.0}):
        result, model = fit_kmeans(x, 9, init=centers, **options), sklearn_fit(x, centers, **options)
        assert result.n_iter == model.n_iter_, options
        assert result.inertia == pytest.approx(model.inertia_, rel=1e-9)
        assert result.converged == (model.n_iter_ < options.get("max_iter", 300))
        assert len(result.history) == result.n_iter
        assert (np.diff(result.history) <= 1e-9 * result.history[0]).all()


def test_a_float32_column_far_from_zero_gets_float64s_labels() -> None:
    generator = np.random.default_rng(2)
    x = np.column_stack([generator.integers(2008, 2018, 5_000), generator.standard_normal(5_000)]).astype(
        np.float32
    )
    centers = x[[10, 200, 3_000, 4_000]].astype(np.float64) + 0.123
    single = fit_kmeans(x, 4, init=centers, max_iter=5, tol=0.0)
    double = fit_kmeans(x.astype(np.float64), 4, init=centers, max_iter=5, tol=0.0)
    assert np.mean(single.labels == double.labels) > 0.999
    np.testing.assert_allclose(single.centers, double.centers, atol=1e-3)


def test_an_empty_cluster_keeps_its_centre() -> None:
    x = np.random.default_rng(0).standard_normal((500, 2))
    far = np.array([[0.0, 0.0], [1e6, 1e6]])
    result = fit_kmeans(x, 2, init=far)
    assert result.centers[1].tolist() == [1e6, 1e6]
    np.testing.assert_allclose(result.centers[0], x.mean(axis=0), atol=1e-12)
    assert not (result.labels == 1).any()


def test_random_centres_are_distinct_rows_from_the_whole_data_set() -> None:
    x = np.arange(5_000.0)[:, np.newaxis]
    drawn = []
    for seed in range(40):
        algorithm = kmeans_algorithm(describe(x), 10, "random", 1, 1, 0.0, seed)
        state = start_of_lloyd(algorithm, x)
        assert len(set(state["centers"].ravel())) == 10
        drawn += state["centers"].ravel().tolist()
    counts, _ = np.histogram(drawn, bins=5, range=(0, 5_000))
    assert counts.min() > 40  # 80 expected in each fifth


def start_of_lloyd(algorithm: Any, x: np.ndarray) -> Any:
    from biglambda.runtime.rows import Rows

    rows = Rows(x, memory={name: np.zeros(len(x), dtype) for name, dtype in algorithm.memory.items()})
    state = algorithm.initial_state()
    while state["pass"] != "lloyd":
        state = algorithm.update(state, algorithm.partial(state)(rows))
        rows.fresh = False
    return state


def test_kmeans_plus_plus_finds_every_separated_cluster(blobs: Blobs) -> None:
    generator = np.random.default_rng(1)
    middles = 1e4 * np.arange(8.0)[:, np.newaxis] * np.ones((1, 3))
    x = np.repeat(middles, 300, axis=0) + generator.standard_normal((2_400, 3))
    for seed in range(20):
        algorithm = kmeans_algorithm(describe(x), 8, "k-means++", 1, 1, 0.0, seed)
        centers = start_of_lloyd(algorithm, x)["centers"]
        assert sorted(np.round(centers[:, 0] / 1e4).astype(int)) == list(range(8))


def test_kmeans_plus_plus_draws_in_proportion_to_squared_distance() -> None:
    x = np.array([[0.0], [1.0], [2.0], [3.0]])
    second = {first: np.zeros(4) for first in range(4)}
    for seed in range(4_000):
        algorithm = kmeans_algorithm(describe(x), 2, "k-means++", 1, 1, 0.0, seed)
        first, other = start_of_lloyd(algorithm, x)["centers"].ravel().astype(int)
        second[first][other] += 1
    for first, counts in second.items():
        expected = (x.ravel() - first) ** 2
        expected *= counts.sum() / expected.sum()
        chi_square = ((counts - expected) ** 2 / np.maximum(expected, 1e-9))[expected > 0].sum()
        assert chi_square < 16, (first, counts, expected)  # 2 degrees of freedom: 1 in 3,000
        assert counts[first] == 0


def test_fewer_distinct_rows_than_clusters_still_fit() -> None:
    x = np.repeat([[1.0, 2.0], [3.0, 4.0]], 50, axis=0)
    result = fit_kmeans(x, 5, seed=0)
    assert result.inertia == 0.0
    assert result.converged
    assert len(np.unique(result.labels)) == 2


def test_the_best_of_several_starts_wins() -> None:
    x = np.random.default_rng(4).standard_normal((3_000, 2))
    single = [fit_kmeans(x, 12, init="random", seed=3, n_init=n) for n in (1, 2, 8)]
    inertias = [result.inertia for result in single]
    assert inertias == sorted(inertias, reverse=True)
    best = single[-1]
    np.testing.assert_array_equal(best.labels, best.predict(x))
    distance = ((x[:, np.newaxis] - best.centers) ** 2).sum(axis=2)
    assert best.inertia == pytest.approx(distance.min(axis=1).sum(), rel=1e-12)


def test_a_progress_bar_is_never_told_too_few_iterations(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "x.csv", np.random.default_rng(3).standard_normal((2_000, 2)), delimiter=",")
    for seed in range(8):  # among them fits whose best start was not the last, which take one more pass
        events: list[Any] = []
        fit_kmeans(tmp_path / "x.csv", 5, n_init=3, max_iter=2, tol=0.0, seed=seed, callbacks=[events.append])
        assert max(getattr(event, "iteration", 0) for event in events) <= events[0].total_iterations


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(1, 3_000),
    d=st.integers(1, 20),
    k=st.integers(1, 30),
    dtype=st.sampled_from(["float32", "float64", "int32", "bool"]),
    order=st.sampled_from("CF"),
    seed=st.integers(0, 2**32),
)
def test_labels_are_the_nearest_centres_for_any_shape(
    n: int, d: int, k: int, dtype: str, order: Any, seed: int
) -> None:
    x = (10 * np.random.default_rng(seed).standard_normal((n, d))).astype(dtype)
    x = np.asarray(x, order=order)
    k = min(k, n)
    result = fit_kmeans(x, k, seed=seed, max_iter=5)
    distance = ((x[:, np.newaxis].astype(float) - result.centers) ** 2).sum(axis=2)
    own = distance[np.arange(n), result.labels]
    tolerance = 1e-4 if dtype == "float32" else 1e-9
    assert (own <= distance.min(axis=1) * (1 + tolerance) + tolerance).all()
    assert result.inertia == pytest.approx(own.sum(), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", ["tight clusters far apart", "one row far away", "a given centre far away"])
def test_the_inertia_is_right_where_the_range_is_wide(case: str, dtype: str, redis_url: str) -> None:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((20_000, 2))
    centers = np.array([[0.0, 0.0], [1.0, 1.0]])
    if case == "tight clusters far apart":
        x[:, 0] = np.where(np.arange(20_000) % 2, 1e6, 0.0) + x[:, 0]
        centers = np.array([[0.0, 0.0], [1e6, 0.0]])
    elif case == "one row far away":
        x[7, 0] = 1e7
        centers = np.array([[0.0, 0.0], [1e7, 0.0]])
    else:
        centers = np.array([[0.0, 0.0], [1e8, 0.0]])
    x = x.astype(dtype)
    source = describe(x)
    algorithm = kmeans_algorithm(source, 2, centers, 1, 300, 1e-4, 0)
    found = set()
    for workers, inner_workers in ((1, 1), (2, 2), (3, 1), (5, 3)):
        state, memory, _ = run_workers(
            source, algorithm, workers, redis_url, outputs=("labels",), inner_workers=inner_workers
        )
        true = ((x.astype(np.float64) - state["centers"][memory["labels"]]) ** 2).sum()
        assert state["inertia"] == pytest.approx(true, rel=1e-9)
        found.add(fingerprint(state))
    assert len(found) == 1


def test_no_labels_without_asking(blobs: Blobs) -> None:
    x, centers = blobs(100, 2, 2)
    assert fit_kmeans(x, 2, init=centers, labels=None).labels is None


def test_results_are_saved_loaded_and_predict(tmp_path: Path, blobs: Blobs) -> None:
    x, centers = blobs(2_000, 3, 4)
    result = fit_kmeans(x, 4, init=centers)
    path = result.save(tmp_path / "model")
    assert path == tmp_path / "model.npz"
    again = KMeansResult.load(path)
    assert again.centers.tobytes() == result.centers.tobytes()
    assert (again.inertia, again.n_iter, again.converged) == (result.inertia, result.n_iter, True)
    np.testing.assert_array_equal(again.predict(x), result.labels)
    np.save(tmp_path / "x.npy", x)
    np.testing.assert_array_equal(again.predict(tmp_path / "x.npy"), result.labels)
    assert "4 clusters, 3 features" in repr(again)
    assert len(repr(result)) < 200
    assert not list(tmp_path.glob("*.part"))


def test_the_trace_and_the_cost_say_where_time_and_money_went(blobs: Blobs) -> None:
    x, centers = blobs(50_000, 4, 4)
    result = fit_kmeans(x, 4, init=centers, inner_workers=2)
    assert result.trace is not None
    assert result.cost is not None
    breakdown = result.trace.breakdown()
    assert set(breakdown) == {"launch", "load", "compute", "push", "wait", "update"}
    assert breakdown["compute"] > 0
    assert sum(breakdown.values()) <= result.trace.seconds + 0.05
    assert result.cost.memory_mb == 2 * 1769
    assert result.cost.gb_seconds == pytest.approx(result.cost.seconds * result.cost.memory_mb / 1024)
    assert "compute" in repr(result.trace)
