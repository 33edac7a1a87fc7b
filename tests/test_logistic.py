"""Logistic regression against NumPy and scikit-learn, and the same bits whatever runs it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import run_workers
from sklearn.linear_model import LogisticRegression

from biglambda import DataError, LogisticRegressionResult, fit_logistic_regression
from biglambda.algorithms.logistic import logistic_algorithm
from biglambda.runtime.data import describe


def make(n: int, d: int, seed: int = 0, dtype: Any = np.float64) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((n, d))
    y = x @ generator.standard_normal(d) + generator.logistic(size=n) > 0.5
    return x.astype(dtype), y.astype(dtype)


def descend(x: np.ndarray, y: np.ndarray, rate: float, steps: int) -> np.ndarray:
    ones, weights = np.column_stack([x, np.ones(len(x))]), np.zeros(x.shape[1] + 1)
    for _ in range(steps):
        weights = weights - rate * (ones.T @ (1 / (1 + np.exp(-(ones @ weights))) - y))
    return weights


@pytest.mark.parametrize("inner_workers", [1, 2, 3])
@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_weights_are_numpys_gradient_descent(workers: int, inner_workers: int, redis_url: str) -> None:
    x, y = make(9_000, 6)
    source, rate = describe(x, y), 1e-4
    state, _, _ = run_workers(
        source, logistic_algorithm(source, rate, 50, 0.0), workers, redis_url, inner_workers=inner_workers
    )
    np.testing.assert_allclose(state["weights"], descend(x, y, rate, 50), rtol=0, atol=1e-10)


@pytest.mark.parametrize("bounds", [(0, 7 * 1024, 8 * 1024, 8 * 1024 + 1), (0, 8 * 1024, 8 * 1024, 8 * 1024 + 1)])
def test_skewed_partitions_change_nothing(bounds: tuple[int, ...], redis_url: str) -> None:
    x, y = make(8 * 1024 + 1, 40)
    source = replace(describe(x, y), bounds=bounds)
    state, _, _ = run_workers(source, logistic_algorithm(source, None, 20, 0.0), len(bounds) - 1, redis_url)
    alone = fit_logistic_regression(x, y, max_iter=20, tol=0.0)
    assert state["weights"].tobytes() == np.append(alone.weights, alone.intercept).tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["array", "npy", "csv"])
@pytest.mark.parametrize("d", [3, 70])
def test_the_same_bits_for_every_number_and_kind_of_workers(
    kind: str, dtype: str, d: int, redis_url: str, tmp_path: Path
) -> None:
    x, y = make(5_555, d, dtype=dtype)
    data: Any = x
    target: Any = y
    if kind == "npy":
        np.save(tmp_path / "x.npy", x)
        np.save(tmp_path / "y.npy", y)
        data, target = tmp_path / "x.npy", tmp_path / "y.npy"
    elif kind == "csv":
        np.savetxt(tmp_path / "xy.csv", np.column_stack([x, y]), delimiter=",", fmt="%.17g")
        data, target = tmp_path / "xy.csv", d
    source = describe(data, target, dtype=dtype)
    algorithm = logistic_algorithm(source, None, 8, 0.0)
    seen = set()
    threads = itertools.product((1, 2, 3, 7), (("serial", 1), ("threads", 3)))
    processes = [(workers, ("processes", 2)) for workers in (1, 3)]  # forked for every iteration: slow
    for workers, (inner, inner_workers) in (*threads, *processes):
        state, _, _ = run_workers(source, algorithm, workers, redis_url, inner=inner, inner_workers=inner_workers)
        seen.add((state["weights"].tobytes(), np.array(state["history"]).tobytes()))
    assert len(seen) == 1
    alone = fit_logistic_regression(x, y, max_iter=8, tol=0.0)
    assert np.append(alone.weights, alone.intercept).tobytes() == state["weights"].tobytes()


def test_it_reaches_scikit_learns_optimum_without_a_learning_rate() -> None:
    x, y = make(4_000, 3)
    result = fit_logistic_regression(x, y, max_iter=5_000, tol=1e-8)
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1_000).fit(x, y)
    assert result.converged
    np.testing.assert_allclose(result.weights, model.coef_[0], atol=1e-5)
    assert result.intercept == pytest.approx(model.intercept_[0], abs=1e-5)
    np.testing.assert_allclose(result.predict_proba(x), model.predict_proba(x)[:, 1], atol=1e-5)
    assert np.mean(result.predict(x) == model.predict(x)) > 0.999
    assert result.history[-1] == result.loss
    assert len(result.history) == result.n_iter + 1


def test_safe_steps_lower_the_loss_whatever_the_scale_and_momentum_is_no_slower() -> None:
    x, y = make(2_000, 4)
    x = x * [1e-3, 1.0, 1e3, 1e5] + [0.0, 10.0, 0.0, -1e5]
    squares = (x**2).sum() + len(x)
    plain = fit_logistic_regression(x, y, learning_rate=4 / squares, max_iter=300, tol=0.0)
    assert (np.diff(plain.history) <= 1e-9).all()
    result = fit_logistic_regression(x, y, max_iter=300, tol=0.0)
    assert result.loss <= plain.loss
    assert result.history.max() == result.history[0]


def test_integer_and_bool_targets_are_welcome() -> None:
    x, y = make(300, 2)
    weights = [fit_logistic_regression(x, y.astype(kind), max_iter=5).weights for kind in (int, bool, float, "f4")]
    assert len({w.tobytes() for w in weights}) == 1


def test_results_are_saved_loaded_and_predict(tmp_path: Path) -> None:
    x, y = make(1_000, 3)
    result = fit_logistic_regression(x, y)
    again = LogisticRegressionResult.load(result.save(tmp_path / "model.npz"))
    assert again.weights.tobytes() == result.weights.tobytes()
    assert again.intercept == result.intercept
    np.testing.assert_array_equal(again.predict(x), result.predict(x))
    assert "3 features" in repr(again)


def test_a_learning_rate_that_is_too_large_is_named() -> None:
    x, y = make(1_000, 3)
    with pytest.raises(DataError, match=r"weights grew without bound in iteration \d+ .*learning_rate=1e\+99"):
        fit_logistic_regression(x, y, learning_rate=1e99, max_iter=100)


def test_a_model_finds_its_columns_by_name(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((2_000, 2))
    late = (x[:, 0] > 0.3).astype(int)

    def write(name: str, header: str, *columns: np.ndarray) -> Path:
        np.savetxt(tmp_path / name, np.stack(columns, axis=1), delimiter=",", header=header, comments="")
        return tmp_path / name

    fit = fit_logistic_regression(write("fit.csv", "a,late,b", x[:, 0], late, x[:, 1]), "late")
    fit.save(tmp_path / "model.npz")
    for model in (fit, LogisticRegressionResult.load(tmp_path / "model.npz")):
        assert model.feature_names == ("a", "b")
        expected = model.predict(x)
        np.testing.assert_array_equal(model.predict(tmp_path / "fit.csv"), expected)
        others = write("others.csv", "b,other,a", x[:, 1], late, x[:, 0])
        np.testing.assert_array_equal(model.predict(others), expected)
        np.testing.assert_array_equal(model.predict(others, columns=["a", "b"]), expected)
        with pytest.raises(DataError, match="has no column 'b'"):
            model.predict(write("lacks.csv", "a,c", x[:, 0], x[:, 1]))
    assert fit_logistic_regression(x, late).feature_names is None
