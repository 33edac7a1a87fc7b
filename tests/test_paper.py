"""The paper's worked example, and its Algorithm 1 step by step."""

from __future__ import annotations

import numpy as np
import pytest

from biglambda import fit_kmeans, fit_logistic_regression
from biglambda.algorithms.kmeans import kmeans_algorithm
from biglambda.algorithms.lloyd import move_centers
from biglambda.runtime.data import describe
from biglambda.runtime.rows import Rows

FIRST_WORKER = np.array([[1.1, 1.5], [2.4, 3.8]])
SECOND_WORKER = np.array([[0.2, 2.0], [3.6, 4.0]])
# Centres for which the rows belong to the clusters of the example: 2, 3, 2, 2, the first one empty.
CENTERS = np.array([[100.0, 100.0], [3.0, 2.3], [2.0, 5.0]])


def test_worked_example_counters_totals_centres_and_the_empty_cluster() -> None:
    everything = np.vstack([FIRST_WORKER, SECOND_WORKER])
    algorithm = kmeans_algorithm(describe(everything), 3, CENTERS, 1, 1, 0.0, 0)
    state = algorithm.initial_state()
    while state["pass"] != "lloyd":
        state = algorithm.update(state, algorithm.partial(state)(Rows(everything)))
    state["mean"] = np.zeros(2)  # so that totals are those of the rows themselves, as in the paper

    labels, partials = [], []
    for worker, rows in enumerate((FIRST_WORKER, SECOND_WORKER)):
        part = Rows(rows, first=1024 * worker, memory={"labels": np.zeros(2, np.int32)})
        partials.append(algorithm.partial(state)(part))
        labels += part.memory["labels"].tolist()
    total = partials[0] + partials[1]
    totals, counters = total[:6].reshape(3, 2), total[6:9]

    assert labels == [1, 2, 1, 1]
    assert counters.tolist() == [0, 3, 1]
    np.testing.assert_allclose(totals, [[0, 0], [4.9, 7.5], [2.4, 3.8]], rtol=1e-14)
    centers = move_centers(CENTERS, np.zeros(2), totals, counters)
    np.testing.assert_allclose(centers, [[100, 100], [4.9 / 3, 2.5], [2.4, 3.8]], rtol=1e-14)
    np.testing.assert_allclose(centers[1], [1.63, 2.5], atol=0.005)


def test_worked_example_through_the_front_door() -> None:
    result = fit_kmeans(np.vstack([FIRST_WORKER, SECOND_WORKER]), 3, init=CENTERS, max_iter=1)
    np.testing.assert_allclose(result.centers, [[100, 100], [4.9 / 3, 2.5], [2.4, 3.8]], rtol=1e-14)


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 90])
def test_algorithm_1_step_by_step_against_numpy(steps: int) -> None:
    generator = np.random.default_rng(3)
    rows = generator.standard_normal((500, 4))
    target = (rows @ [1.0, -2.0, 0.5, 0.0] + generator.standard_normal(500) > 0.3).astype(float)
    rate = 1e-3
    with_ones, weights = np.column_stack([rows, np.ones(500)]), np.zeros(5)
    for _ in range(steps):
        gradient = with_ones.T @ (1 / (1 + np.exp(-(with_ones @ weights))) - target)  # a sum, not a mean
        weights = weights - rate * gradient
    result = fit_logistic_regression(rows, target, learning_rate=rate, max_iter=steps, tol=0.0)
    np.testing.assert_allclose(np.append(result.weights, result.intercept), weights, rtol=0, atol=1e-10)
    odds = with_ones @ weights
    assert result.loss == pytest.approx(np.sum(np.logaddexp(0, odds) - target * odds), rel=1e-12)
    assert result.n_iter == steps
