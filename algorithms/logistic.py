"""Logistic regression by full-batch gradient descent: what users call, and what they get."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from biglambda.kernels import linear, logistic, quantum
from biglambda.runtime.algorithm import State
from biglambda.runtime.data import Header, Source, describe
from biglambda.runtime.engine import RunOptions, RunTrace
from biglambda.runtime.engine import run as run_engine
from biglambda.runtime.errors import DataError
from biglambda.runtime.events import Callback
from biglambda.runtime.resources import Cost
from biglambda.runtime.rows import Rows

from .pipeline import Pass, Pipeline
from .result import FitResult, rows_to_predict
from .statistics import Statistics
from .validation import check_before_launch, check_number, check_whole


@dataclass(frozen=True)
class Descent(Pass):
    """One step against the gradient.

    With a learning rate this is the paper's Algorithm 1. Without one, steps have a length that is safe for the
    data, and gather momentum (Nesterov's method, restarted whenever the momentum points uphill: O'Donoghue and
    Candès 2015, the gradient scheme), which takes far fewer passes.

    Each pass evaluates loss and gradient at the current weights. The fit ends where the largest entry of the
    mean gradient is at most the tolerance, or after the last step, whose loss takes one pass more.

    Attributes
    ----------
    n_features : int
        d.
    learning_rate : float or None
        Times the gradient, a sum over rows, is subtracted from the weights. None: see `accelerated`.
    max_iter : int
        Steps at most.
    tol : float
        Tolerance for the mean gradient.
    """

    n_features: int
    learning_rate: float | None
    max_iter: int
    tol: float

    def load(self, x: np.ndarray) -> None:
        """See `Pass.load`."""
        d = x.shape[1]
        logistic(x, np.zeros(1, x.dtype), np.zeros(d + 1), np.ones(d + 2), np.zeros(d + 1))

    def partial(self, state: State) -> Callable[[Rows], np.ndarray]:
        """Gradient (d + 1,), the intercept's last, and loss."""
        weights = state["weights"]
        quanta = _quanta(state)

        def evaluate(rows: Rows) -> np.ndarray:
            assert rows.y is not None
            out = np.zeros(len(weights) + 1)
            out[-1] = logistic(rows.X, rows.y, weights, quanta, out[:-1])
            return out

        return evaluate

    def update(self, state: State, total: np.ndarray) -> State:
        """The next weights, or the end.

        Raises
        ------
        DataError
            If the weights grow without bound: the learning rate is too large.
        """
        gradient, loss = total[:-1], float(total[-1])
        steepest = float(np.abs(gradient).max() / state["n"])
        seen = {"loss": loss, "gradient": steepest, "history": np.append(state["history"], loss)}
        converged = steepest <= self.tol
        if converged or state["n_iter"] == self.max_iter:
            return {**seen, "converged": converged, "done": True}
        if self.learning_rate is None:
            step = accelerated(state, gradient)
        else:
            step = {"weights": state["weights"] - self.learning_rate * gradient}
        largest = np.abs(step["weights"]).max()
        if not largest < _LARGEST_WEIGHT:
            raise DataError(
                f"the weights grew without bound in iteration {state['n_iter'] + 1} (largest {largest:g}): "
                f"learning_rate={self.learning_rate} multiplies a sum over {state['n']} rows; take a smaller one, "
                "or None, and bring the features to a similar scale"
            )
        return {**seen, **step, "n_iter": state["n_iter"] + 1}


_LARGEST_WEIGHT = 1e100


def accelerated(state: State, gradient: np.ndarray) -> State:
    """The next point to evaluate, and what the step after it needs.

    ``foot`` is where the last plain step led, and ``momentum`` grows from 1 with each step.
    """
    foot = state["weights"] - safe_rate(state) * gradient
    stride = foot - state["foot"]
    if (gradient * stride).sum() > 0:
        return {"weights": foot, "foot": foot, "momentum": 1.0}
    momentum = (1 + math.sqrt(1 + 4 * state["momentum"] ** 2)) / 2
    ahead = (state["momentum"] - 1) / momentum
    return {"weights": foot + ahead * stride, "foot": foot, "momentum": momentum}


def safe_rate(state: State) -> float:
    """A learning rate for which a plain step always lowers the loss.

    The loss' curvature is at most a quarter of the largest eigenvalue of ``[X, 1].T @ [X, 1]``, which is at most
    the trace of it: the sum of all squares, from the exact means and variances.
    """
    squares = (state["variance"] + state["mean"] ** 2).sum() + 1.0
    return float(4.0 / (state["n"] * squares))


def _quanta(state: State) -> np.ndarray:
    """Units in which the gradient's and the loss' totals are exact."""
    n, weights = state["n"], state["weights"]
    largest = np.append(np.maximum(-state["minimum"], state["maximum"]), 1.0)
    return quantum(n * np.append(largest, (np.abs(weights) * largest).sum() + 1.0))


@dataclass(frozen=True)
class Start(Statistics):
    """The first pass of logistic regression; weights start at zero."""

    def update(self, state: State, total: np.ndarray) -> State:
        """Statistics, and the first weights."""
        return {
            **super().update(state, total),
            "weights": np.zeros(self.n_features + 1),
            "foot": np.zeros(self.n_features + 1),
            "momentum": 1.0,
            "n_iter": 0,
            "history": np.empty(0),
            "converged": False,
        }


def logistic_algorithm(source: Source, learning_rate: float | None, max_iter: int, tol: float) -> Pipeline:
    """The passes of a fit: statistics, then one for each step."""
    d = source.n_features
    passes: dict[str, Pass] = {
        "statistics": Start("descent", d, source.dtype.type, source.feature_names),
        "descent": Descent(d, learning_rate, max_iter, tol),
    }
    return Pipeline("logistic", passes, {}, d + 2, ("n_iter", "loss", "gradient"), max_iter + 3)


@dataclass(frozen=True, repr=False, eq=False)
class LogisticRegressionResult(FitResult):
    """A logistic regression model.

    Attributes
    ----------
    weights : ndarray of shape (d,), float64
        Coefficients.
    intercept : float
        Constant term.
    loss : float
        Sum over the rows of the negative log-likelihood, at these weights.
    n_iter : int
        Steps taken.
    converged : bool
        Whether the mean gradient had reached the tolerance.
    history : ndarray of shape (n_iter + 1,), float64
        Loss before each step, and at the end.
    trace : RunTrace or None
        Where the time went.
    cost : Cost or None
        What it took, and would cost on AWS Lambda.
    feature_names : tuple of str or None
        Names of the columns that it was fitted to, if they had any.
    """

    weights: np.ndarray
    intercept: float
    loss: float
    n_iter: int
    converged: bool
    history: np.ndarray
    trace: RunTrace | None = None
    cost: Cost | None = None
    feature_names: tuple[str, ...] | None = None

    def decision_function(self, data: Any, **options: Any) -> np.ndarray:
        """Log-odds of class 1 for each row, shape (m,); parameters as in `predict`."""
        rows = rows_to_predict(data, len(self.weights), self.feature_names, options)
        out = np.empty(len(rows))
        linear(rows, np.append(self.weights, self.intercept), out)
        return out

    def predict_proba(self, data: Any, **options: Any) -> np.ndarray:
        """Probability of class 1 for each row, shape (m,); parameters as in `predict`."""
        odds = self.decision_function(data, **options)
        small = np.exp(-np.abs(odds))
        return np.where(odds >= 0, 1.0, small) / (1.0 + small)

    def predict(self, data: Any, **options: Any) -> np.ndarray:
        """Class, 0 or 1, of each row.

        Parameters
        ----------
        data : array_like of shape (m, d), path, or list or glob of paths
            Rows with as many features as the model was fitted to. In files with names the columns of the fit are
            found by their names, wherever they are.
        **options
            ``columns``, ``header``, ``delimiter`` and ``dtype`` as in `fit_logistic_regression`.

        Returns
        -------
        ndarray of shape (m,), int8

        Raises
        ------
        DataError
            For another number of features, NaN, or infinity.
        """
        return (self.decision_function(data, **options) > 0).astype(np.int8)

    def __repr__(self) -> str:
        state = "converged" if self.converged else "not converged"
        return (
            f"LogisticRegressionResult({len(self.weights)} features, loss {self.loss:.6g}, "
            f"{self.n_iter} iterations, {state})"
        )


def fit_logistic_regression(
    data: Any,
    target: Any,
    *,
    learning_rate: float | None = None,
    max_iter: int = 100,
    tol: float = 1e-4,
    columns: Sequence[str | int] | None = None,
    header: Header = "auto",
    delimiter: str = ",",
    dtype: Any = None,
    workers: int = 1,
    inner: str = "threads",
    inner_workers: int | str = "auto",
    executor: Any = None,
    redis: str | None = None,
    callbacks: Sequence[Callback] = (),
    arrival_timeout: float = 60.0,
    stall_timeout: float = 900.0,
    silence_timeout: float = 15.0,
    retries: int = 2,
    backups: int = 0,
    checkpoint: Any = None,
    resume: str | None = None,
) -> LogisticRegressionResult:
    """Fit a logistic regression by full-batch gradient descent, with an intercept and without a penalty.

    The same data and parameters give the same bits, whatever the number of workers and inner workers.

    Parameters
    ----------
    data : array_like of shape (n, d), path, or list or glob of paths
        Rows: an array, or ``.npy``, Parquet or CSV files, of this machine or ``s3://bucket/key``.
    target : array_like of shape (n,), path, str or int
        0 or 1 for each row: an array beside an array, a ``.npy`` file beside ``.npy`` files, or a column of the
        data by name or number, which then is not a feature.
    learning_rate : float, optional
        Factor of the gradient, which is a sum over rows, as in the paper. Without one, steps are as long as is
        safe for the data and gather momentum, which takes far fewer iterations.
    max_iter : int
        Steps at most.
    tol : float
        The fit ends when no entry of the gradient, divided by n, is larger.
    columns, header, delimiter, dtype
        As in `fit_kmeans`.
    workers, inner, inner_workers, executor, redis, callbacks, arrival_timeout, stall_timeout,
    silence_timeout, retries, backups, checkpoint, resume
        As in `fit_kmeans`.

    Returns
    -------
    LogisticRegressionResult

    Raises
    ------
    DataError
        A `ValueError`: the data cannot be used, the target is not 0 or 1, or the learning rate is too large.
    RunError
        A `RuntimeError`: a worker was lost or never came, or Redis cannot be reached.

    Notes
    -----
    With a learning rate: Predoaia and Garcia-Lopez, *Leveraging Intra-Function Parallelism in Serverless Machine
    Learning*, WoSC 2023, Algorithm 1. Without: O'Donoghue and Candès, *Adaptive Restart for Accelerated Gradient
    Schemes*, 2015. Gradient descent gets on slowly where features differ in scale: standardise them.
    """
    if learning_rate is not None:
        learning_rate = check_number("learning_rate", learning_rate, low=0.0, above=True)
    max_iter = check_whole("max_iter", max_iter, low=1)
    tol = check_number("tol", tol, low=0.0)
    options = RunOptions(
        workers, inner, inner_workers, executor, redis, callbacks,
        arrival_timeout, stall_timeout, silence_timeout, retries, backups, checkpoint, resume=resume,
    )  # fmt: skip
    if target is None:
        raise TypeError("target is None: allowed are an array, a .npy path, and a column's name or number")
    source = describe(
        data, target, columns=columns, header=header, delimiter=delimiter, dtype=dtype, config=options.config
    )
    check_before_launch(source, options)
    algorithm = logistic_algorithm(source, learning_rate, max_iter, tol)
    outcome = run_engine(source, algorithm, (), options)
    state = outcome.state
    weights = np.array(state["weights"])
    return LogisticRegressionResult(
        weights[:-1],
        float(weights[-1]),
        state["loss"],
        state["n_iter"],
        state["converged"],
        np.array(state["history"]),
        outcome.trace,
        outcome.cost,
        source.feature_names,
    )
