"""Kernels that read each row once: gradients, statistics, distances to one centre."""

from __future__ import annotations

from typing import Any

import numpy as np

from biglambda.algorithms.statistics import describe_rows, merge_records
from biglambda.kernels import logistic, mean_and_variance, min_distance, quantum
from biglambda.runtime.inner import Task
from biglambda.runtime.rows import Rows

from .case import Case, Contender, NotHere, Shape
from .timing import timed

BLOCK_BYTES = 1 << 18  # of a block of rows that NumPy works on, so that temporaries stay in the cache
WIDE = 1024  # values


def blocks(x: np.ndarray) -> list[slice]:
    """Slices of rows."""
    step = max(1, BLOCK_BYTES // (8 * x.shape[1]))
    return [slice(i, i + step) for i in range(0, len(x), step)]


def wide_blocks(x: np.ndarray) -> list[np.ndarray]:
    """Blocks in which several short rows are one long row, which NumPy reduces faster: views (m, f * d)."""
    n, d = x.shape
    fold = max(1, WIDE // d)
    whole = n // fold * fold
    parts = [part for part in (x[:whole].reshape(-1, fold * d), x[whole:]) if len(part)]
    return [part[block] for part in parts for block in blocks(part)]


class Logistic(Case):
    """The gradient of logistic regression. Ours sums up the loss as well; NumPy's two products do not."""

    name, kernels = "logistic", ("logistic_few_features", "logistic_many_features")
    shapes = (Shape(4_000_000, 8), Shape(1_000_000, 32), Shape(200_000, 256), Shape(50_000, 2000))
    quick = (Shape(2_000_000, 8), Shape(100_000, 256))

    def make(self) -> None:
        """Weights with which probabilities are neither 0 nor 1."""
        n, d, _ = self.shape
        self.y = (self.random.random(n) < 0.5).astype(self.dtype)
        self.weights = np.append(self.random.standard_normal(d) / d**0.5, 0.1)
        largest = float(np.abs(self.x).max())
        self.quanta = quantum(
            np.append(np.full(d, n * largest), [n, n * (1 + largest * np.abs(self.weights).sum())])
        )
        self.rows = Rows(self.x, self.y)

    @property
    def flops(self) -> float:
        """Of the two products."""
        return 4.0 * self.x.size

    @property
    def bytes(self) -> float:
        """Rows and target."""
        return float(self.x.nbytes + self.y.nbytes)

    def task(self) -> Task:
        """Gradient, intercept's gradient, loss."""

        def part(rows: Rows) -> np.ndarray:
            assert rows.y is not None
            out = np.zeros(self.shape.d + 2)
            out[-1] = logistic(rows.X, rows.y, self.weights, self.quanta, out[:-1])
            return out

        return part

    def check(self, ours: np.ndarray, theirs: np.ndarray) -> None:
        """Gradients agree, relative to a sum of as many numbers of order 1."""
        self.near("gradients", ours[:-1], theirs[: self.shape.d + 1], self.tolerance() * self.shape.n)


def numpy_logistic(case: Logistic, threads: int) -> Contender:
    """Two matrix-vector products, threaded by the BLAS."""
    weights, intercept = case.weights[:-1].astype(case.dtype), case.dtype.type(case.weights[-1])

    def gradient() -> np.ndarray:
        z = case.x @ weights
        z += intercept
        np.exp(np.negative(z, out=z), out=z)
        z += 1
        residual = np.divide(1, z, out=z)
        residual -= case.y
        return np.append(case.x.T @ residual, residual.sum())

    return Contender.of(gradient)


def sklearn_logistic(case: Logistic, threads: int) -> Contender:
    """What LogisticRegression evaluates in each step, loss included; not a public interface."""
    from sklearn._loss import HalfBinomialLoss
    from sklearn.linear_model._linear_loss import LinearModelLoss

    loss = LinearModelLoss(HalfBinomialLoss(), fit_intercept=True)
    weights = case.weights.astype(case.dtype)

    def gradient() -> np.ndarray:
        _, mean = loss.loss_gradient(weights, case.x, case.y, n_threads=threads)
        return np.asarray(mean, np.float64) * case.shape.n

    return Contender.of(gradient)


Logistic.rivals = {"NumPy": numpy_logistic, "scikit-learn": sklearn_logistic}

STATISTICS_SHAPES = (Shape(2_000_000, 8), Shape(100_000, 256))


class Summarize(Case):
    """Extremes, mean and variance of each feature, as the first pass of a fit finds them."""

    name, kernels = "summarize", ("chunk_sums", "accumulate")
    shapes, quick = STATISTICS_SHAPES, STATISTICS_SHAPES

    @property
    def flops(self) -> float:
        """Two comparisons, a subtraction, an addition and an FMA for each value."""
        return 6.0 * self.x.size

    def task(self) -> Task:
        """The record of a part."""
        return describe_rows

    def combine(self, parts: list[np.ndarray]) -> np.ndarray:
        """Minimum, maximum, mean and variance, (4, d)."""
        minimum, maximum, limbs = merge_records(parts, self.shape.d)
        return np.array([minimum, maximum, *mean_and_variance(self.shape.n, limbs)])

    def check(self, ours: np.ndarray, theirs: np.ndarray) -> None:
        """Extremes are exact; oneDAL sums float32 in float32, which costs it 1e-3 at 2,000,000 rows."""
        self.near("extremes", ours[:2], theirs[:2], 0.0)
        self.near("means and variances", ours[2:], theirs[2:], self.tolerance(5e-3, 1e-10))


def numpy_summarize(case: Summarize, threads: int) -> Contender:
    """Block by block, sums in float64 about the first row; NaN and infinities would show in the extremes."""

    def summary() -> np.ndarray:
        d, shift, sums = case.shape.d, case.x[0].astype(np.float64), np.zeros((2, case.shape.d))
        low, high = np.full(d, np.inf), np.full(d, -np.inf)
        for part in wide_blocks(case.x):
            np.minimum(low, part.min(axis=0).reshape(-1, d).min(axis=0), out=low)
            np.maximum(high, part.max(axis=0).reshape(-1, d).max(axis=0), out=high)
            difference = part - np.tile(shift, part.shape[1] // d)
            powers = difference.sum(axis=0), np.einsum("ij,ij->j", difference, difference)
            sums += [power.reshape(-1, d).sum(axis=0) for power in powers]
        first, second = sums / case.shape.n
        return np.array([low, high, shift + first, second - first**2])

    return Contender.of(summary)


def sklearn_summarize(case: Summarize, threads: int) -> Contender:
    """The fits of MinMaxScaler and StandardScaler."""
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    def run() -> np.ndarray:
        extremes, moments = MinMaxScaler().fit(case.x), StandardScaler().fit(case.x)
        return np.array([extremes.data_min_, extremes.data_max_, moments.mean_, moments.var_])

    return Contender.of(run)


def sklearnex_summarize(case: Summarize, threads: int) -> Contender:
    """OneDAL's basic statistics."""
    from sklearnex.basic_statistics import BasicStatistics

    names = ("min", "max", "mean", "variance")
    unbiased = np.array([[1.0], [1.0], [1.0], [1 - 1 / case.shape.n]])

    def run() -> np.ndarray:
        found = BasicStatistics(result_options=list(names), n_jobs=threads).fit(case.x)
        return np.array([np.asarray(getattr(found, f"{name}_")).ravel() for name in names], np.float64)

    return Contender(lambda: run() * unbiased, timed(run))


Summarize.rivals = {
    "NumPy": numpy_summarize,
    "scikit-learn": sklearn_summarize,
    "sklearnex": sklearnex_summarize,
}


class MinDistance(Case):
    """Squared distances to one centre, kept where they are smaller: the seeding of k-means."""

    name, kernels = "min_distance", ("distance_few_features", "distance_many_features")
    shapes = (Shape(1_000_000, 16), Shape(200_000, 128))
    quick = (Shape(100_000, 128),)

    def make(self) -> None:
        """The distances so far are those to another row, so that about half of them are lowered."""
        self.center = self.x[-1].astype(np.float64)
        self.before = np.square(self.x - self.x[0]).sum(axis=1, dtype=np.float64)
        self.distance = self.before.copy()
        self.rows = Rows(self.x, memory={"distance": self.distance})

    @property
    def flops(self) -> float:
        """A subtraction and an FMA for each value."""
        return 3.0 * self.x.size

    @property
    def bytes(self) -> float:
        """Rows, and distances both ways."""
        return float(self.x.nbytes + 2 * self.distance.nbytes)

    def task(self) -> Task:
        """Lower the distances."""

        def part(rows: Rows) -> np.ndarray:
            min_distance(rows.X, self.center, rows.memory["distance"])
            return rows.memory["distance"]

        return part

    def combine(self, parts: list[np.ndarray]) -> np.ndarray:
        """The distances, which are in their place."""
        return self.distance

    def check(self, ours: np.ndarray, theirs: np.ndarray) -> None:
        """Relative to the squares that some contenders take apart."""
        scale = np.square(self.x).sum(axis=1) + np.square(self.center).sum()
        self.near("distances", ours, theirs, self.tolerance() * scale)


def _lowering(case: MinDistance, to_center: Any) -> Contender:
    distance = case.before.copy()
    return Contender.of(lambda: np.minimum(distance, to_center(), out=distance))


def numpy_min_distance(case: MinDistance, threads: int) -> Contender:
    """Block by block, in the dtype of the rows."""
    center, found = case.center.astype(case.dtype), np.empty(case.shape.n, case.dtype)

    def to_center() -> np.ndarray:
        for part in blocks(case.x):
            difference = case.x[part] - center
            np.einsum("ij,ij->i", difference, difference, out=found[part])
        return found

    return _lowering(case, to_center)


def sklearn_min_distance(case: MinDistance, threads: int) -> Contender:
    """euclidean_distances, as KMeans++ there calls it."""
    from sklearn.metrics.pairwise import euclidean_distances

    center = case.center.astype(case.dtype).reshape(1, -1)
    return _lowering(case, lambda: euclidean_distances(case.x, center, squared=True).ravel())


def faiss_min_distance(case: MinDistance, threads: int) -> Contender:
    """pairwise_distances with one centre."""
    if case.dtype != np.float32:
        raise NotHere("float32 only")
    import faiss

    center = case.center.astype(np.float32).reshape(1, -1)
    return _lowering(case, lambda: faiss.pairwise_distances(center, case.x).ravel())


MinDistance.rivals = {
    "NumPy": numpy_min_distance,
    "scikit-learn": sklearn_min_distance,
    "faiss": faiss_min_distance,
}
