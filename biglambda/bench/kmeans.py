"""Iterations and assignments of k-means, and the rivals that have them."""

from __future__ import annotations

import warnings
from functools import partial, reduce
from typing import Any, NamedTuple

import numpy as np

from biglambda.algorithms.lloyd import Lloyd as LloydPass
from biglambda.algorithms.lloyd import move_centers
from biglambda.kernels import assign, pack_centers
from biglambda.runtime.inner import Task
from biglambda.runtime.rows import Rows

from .case import Case, Contender, NotHere, Shape, WrongResult
from .marginal import marginal

SHAPES = (
    Shape(2_000_000, 2, 8),
    Shape(1_000_000, 16, 25),
    Shape(500_000, 50, 100),
    Shape(200_000, 128, 256),
    Shape(50_000, 784, 10),
    Shape(50_000, 784, 100),
)
SCORE_BYTES = 1 << 20  # of the scores of a block of rows, which NumPy should find in the cache again
ONE_HOT_BELOW = 64  # centres for which a product with one-hot labels is a faster total than bincount


class Clusters(NamedTuple):
    """Centres after one iteration; labels, and the centres that these belong to."""

    moved: np.ndarray
    labels: np.ndarray
    of: np.ndarray


class Clustering(Case):
    """Rows, and k of them as centres."""

    uses_k = True
    kernels = ("lloyd_general", "lloyd_few_features", "lloyd_few_centers")

    def make(self) -> None:
        """Centres are rows, so that no cluster is empty; labels are those of an earlier iteration."""
        n, _, k = self.shape
        self.centers = self.x[np.sort(self.random.choice(n, k, replace=False))].astype(np.float64)
        self.shift = self.x[:100_000].mean(axis=0, dtype=np.float64).astype(self.dtype).astype(np.float64)
        self.labels = np.zeros(n, np.int32)
        self.rows = Rows(self.x, memory={"labels": self.labels}, fresh=False)

    @property
    def flops(self) -> float:
        """Of the products of rows and centres."""
        n, d, k = self.shape
        return 2.0 * n * d * k

    @property
    def bytes(self) -> float:
        """Rows, and labels both ways."""
        return float(self.x.nbytes + 2 * self.labels.nbytes)

    def label(self, centers: np.ndarray) -> np.ndarray:
        """Our labels for other centres."""
        labels = np.empty(len(self.x), np.int32)
        assign(self.x, pack_centers(np.asarray(centers, np.float64), self.shift, self.dtype), labels)
        return labels

    def check_labels(self, labels: np.ndarray, centers: np.ndarray) -> None:
        """Raise `WrongResult` unless each label is that of a centre as near as the nearest, as the dtype tells."""
        ours = self.label(centers)
        other = np.flatnonzero(ours != labels)
        x, eps = self.x[other].astype(np.float64), float(np.finfo(self.dtype).eps)
        mine, theirs = centers[ours[other]], centers[labels[other]]
        squares = [np.square(a).sum(axis=1) for a in (x - mine, x - theirs, x, mine, theirs)]
        allowed = 16 * eps * (1 + self.shape.d**0.5) * (squares[2] + squares[3] + squares[4])
        wrong = int((np.abs(squares[0] - squares[1]) > allowed).sum())
        if wrong:
            raise WrongResult(f"{wrong} of {len(labels)} rows have a label that is not of the nearest centre")


class Lloyd(Clustering):
    """One iteration as a worker runs it: packed centres, labels and totals, added partials, moved centres."""

    name, shapes = "lloyd", SHAPES
    quick = (Shape(500_000, 2, 8), Shape(250_000, 16, 25), Shape(50_000, 128, 64))

    def make(self) -> None:
        """The state of a run after its first iteration."""
        super().make()
        n, d, k = self.shape
        self.run = LloydPass("after", k, d, self.dtype.type, 10**9, 0.0)
        self.state = {
            "pass": "lloyd", "n": n, "centers": self.centers, "previous": self.centers, "mean": self.shift,
            "minimum": self.x.min(axis=0).astype(np.float64), "maximum": self.x.max(axis=0).astype(np.float64),
            "variance": np.ones(d), "n_iter": 0, "history": np.empty(0),
        }  # fmt: skip

    def task(self) -> Task:
        """Pack the centres; then label and total."""
        return self.run.partial(self.state)

    def combine(self, parts: list[np.ndarray]) -> Clusters:
        """Move the centres."""
        moved = self.run.update(self.state, reduce(np.add, parts))["centers"]
        return Clusters(moved, self.labels, self.centers)

    def check(self, ours: Clusters, theirs: Clusters) -> None:
        """Labels are those of nearest centres; centres are means up to a few rows that lie between two."""
        self.check_labels(theirs.labels, theirs.of)
        counts = np.bincount(ours.labels, minlength=self.shape.k)[:, np.newaxis]
        spread = np.ptp(self.x)
        self.near("centres", ours.moved, theirs.moved, spread * (self.tolerance(1e-3, 1e-9) + 4.0 / counts))


class Assign(Clustering):
    """Labels alone."""

    name, shapes = "assign", (SHAPES[1], SHAPES[3], SHAPES[5])
    quick = (Shape(50_000, 128, 64),)

    def task(self) -> Task:
        """Pack the centres; then label."""
        packed = pack_centers(self.centers, self.shift, self.dtype)

        def part(rows: Rows) -> np.ndarray:
            assign(rows.X, packed, rows.memory["labels"])
            return rows.memory["labels"]

        return part

    def combine(self, parts: list[np.ndarray]) -> np.ndarray:
        """The labels, which are in their place."""
        return self.labels

    def check(self, ours: np.ndarray, theirs: np.ndarray) -> None:
        """Labels are those of nearest centres."""
        self.check_labels(theirs, self.centers)


# ---- NumPy ---------------------------------------------------------------------------------------


def numpy_labels(x: np.ndarray, centers: np.ndarray, labels: np.ndarray, totals: np.ndarray | None) -> None:
    """Scores of blocks of rows from one matrix product each; totals are added while the block is in the cache."""
    (n, d), k = x.shape, len(centers)
    near = centers.astype(x.dtype)
    factors, norms = -2 * near.T, np.square(near).sum(axis=1)
    step = max(64, SCORE_BYTES // (k * x.itemsize))
    scores, columns = np.empty((step, k), x.dtype), np.arange(d)
    for i in range(0, n, step):
        block = x[i : i + step]
        out = np.matmul(block, factors, out=scores[: len(block)])
        out += norms
        own = labels[i : i + step]
        own[:] = out.argmin(axis=1)
        if totals is None:
            continue
        if k < ONE_HOT_BELOW:
            one_hot = np.zeros((len(block), k), x.dtype)
            one_hot[np.arange(len(block)), own] = 1
            totals += one_hot.T @ block
        else:
            cells = (own[:, np.newaxis].astype(np.intp) * d + columns).ravel()
            totals += np.bincount(cells, block.ravel(), k * d).reshape(k, d)


def numpy_lloyd(case: Lloyd, threads: int) -> Contender:
    """NumPy, threaded by its BLAS."""
    labels = np.empty(case.shape.n, np.int32)

    def iterate() -> Clusters:
        totals = np.zeros_like(case.centers)
        numpy_labels(case.x, case.centers, labels, totals)
        counts = np.bincount(labels, minlength=case.shape.k)
        moved = move_centers(case.centers, np.zeros(case.shape.d), totals, counts)
        return Clusters(moved, labels, case.centers)

    return Contender.of(iterate)


def numpy_assign(case: Assign, threads: int) -> Contender:
    """NumPy, threaded by its BLAS."""
    labels = np.empty(case.shape.n, np.int32)

    def run() -> np.ndarray:
        numpy_labels(case.x, case.centers, labels, None)
        return labels

    return Contender.of(run)


# ---- scikit-learn and its accelerated twin -------------------------------------------------------


def _fits(estimator: Any, case: Clustering) -> Contender:
    """The public fit; one more iteration of it."""

    def fitted(iterations: int) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it did not converge is what we want
            return estimator(
                case.shape.k, init=case.centers.astype(case.dtype), n_init=1, tol=0.0, max_iter=iterations
            ).fit(case.x)

    def answer() -> Clusters:
        model = fitted(1)
        if estimator.func.__module__.startswith("sklearnex") and not hasattr(model, "_onedal_estimator"):
            raise NotHere("hands this over to scikit-learn")
        return Clusters(model.cluster_centers_, model.labels_, model.cluster_centers_)

    return Contender(answer, marginal(lambda iterations: fitted(iterations).n_iter_))


def _predicts(estimator: Any, case: Clustering) -> Contender:
    """The public predict, without its search for NaN in scikit-learn."""
    from sklearn import config_context

    start = case.centers.astype(case.dtype)
    twice = np.repeat(start, 2, axis=0)  # rows whose means are the centres; oneDAL wants more of them than centres
    model = estimator(case.shape.k, init=start, n_init=1, tol=0.0, max_iter=1).fit(twice)

    def run() -> np.ndarray:
        with config_context(assume_finite=True):
            return np.asarray(model.predict(case.x))

    return Contender.of(run)


def _sklearn(threads: int) -> Any:
    from sklearn.cluster import KMeans

    return partial(KMeans, algorithm="lloyd")  # threadpoolctl limits its threads


def _sklearnex(threads: int) -> Any:
    from sklearnex.cluster import KMeans  # this class alone: scikit-learn's own stays as it is

    return partial(KMeans, algorithm="lloyd", n_jobs=threads)


# ---- faiss ---------------------------------------------------------------------------------------


def faiss_lloyd(case: Lloyd, threads: int) -> Contender:
    """faiss.Kmeans on all rows, per iteration."""
    if case.dtype != np.float32:
        raise NotHere("float32 only")
    import faiss

    n, d, k = case.shape
    start = case.centers.astype(np.float32)

    def fitted(iterations: int) -> Any:
        model = faiss.Kmeans(d, k, niter=iterations, max_points_per_centroid=n, min_points_per_centroid=1)
        model.train(case.x, init_centroids=start)
        return model

    def answer() -> Clusters:
        model = fitted(1)
        return Clusters(model.centroids, model.assign(case.x)[1], model.centroids)

    return Contender(answer, marginal(lambda iterations: len(fitted(iterations).obj)))


def faiss_assign(case: Assign, threads: int) -> Contender:
    """A search for the nearest of the centres."""
    if case.dtype != np.float32:
        raise NotHere("float32 only")
    import faiss

    index = faiss.IndexFlatL2(case.shape.d)
    index.add(case.centers.astype(np.float32))
    return Contender.of(lambda: index.search(case.x, 1)[1].ravel())


Lloyd.rivals = {
    "NumPy": numpy_lloyd,
    "scikit-learn": lambda case, threads: _fits(_sklearn(threads), case),
    "sklearnex": lambda case, threads: _fits(_sklearnex(threads), case),
    "faiss": faiss_lloyd,
}
Assign.rivals = {
    "NumPy": numpy_assign,
    "scikit-learn": lambda case, threads: _predicts(_sklearn(threads), case),
    "sklearnex": lambda case, threads: _predicts(_sklearnex(threads), case),
    "faiss": faiss_assign,
}
