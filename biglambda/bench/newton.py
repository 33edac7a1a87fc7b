"""Softmax regression, and the Hessian of logistic regression times a vector."""

from __future__ import annotations

import numpy as np

from biglambda.kernels import hessian_product, quantum, softmax
from biglambda.runtime.inner import Task
from biglambda.runtime.rows import Rows

from .case import Case, Contender, Shape


class Softmax(Case):
    """The gradient of softmax regression. Ours sums up the loss as well; NumPy's two products do not."""

    name, kernels, uses_k = "softmax", ("softmax_rows",), True
    shapes = (Shape(200_000, 64, 10), Shape(1_000_000, 16, 5), Shape(50_000, 784, 10))
    quick = shapes[:1]

    def make(self) -> None:
        """Weights with which no class is sure."""
        n, d, k = self.shape
        self.classes = self.random.integers(0, k, n).astype(np.int32)
        self.weights = self.random.standard_normal((k, d + 1)) / (d + 1) ** 0.5
        largest = float(np.abs(self.x).max())
        reach = 2 * (1 + largest * np.abs(self.weights).sum(axis=1).max()) + np.log(k)
        self.quanta = quantum(np.append(np.full(d, n * largest), [n, n * reach]))
        self.rows = Rows(self.x, memory={"classes": self.classes})

    @property
    def flops(self) -> float:
        """Of the two products."""
        return 4.0 * self.x.size * self.shape.k

    @property
    def bytes(self) -> float:
        """Rows and classes."""
        return float(self.x.nbytes + self.classes.nbytes)

    def task(self) -> Task:
        """Gradient of each class, its intercept's last; loss."""
        _, d, k = self.shape

        def part(rows: Rows) -> np.ndarray:
            out = np.zeros(k * (d + 1) + 1)
            gradient = out[:-1].reshape(k, d + 1)
            out[-1] = softmax(rows.X, rows.memory["classes"], self.weights, self.quanta, gradient)
            return out

        return part

    def check(self, ours: np.ndarray, theirs: np.ndarray) -> None:
        """Gradients agree, relative to a sum of as many numbers of order 1."""
        self.near("gradients", ours[: theirs.size], theirs.ravel(), self.tolerance() * self.shape.n)


def numpy_softmax(case: Softmax, threads: int) -> Contender:
    """Two matrix products, threaded by the BLAS."""
    weights = np.ascontiguousarray(case.weights[:, :-1].T, case.dtype)
    intercepts, every = case.weights[:, -1].astype(case.dtype), np.arange(case.shape.n)

    def gradient() -> np.ndarray:
        z = case.x @ weights
        z += intercepts
        z -= z.max(axis=1, keepdims=True)
        np.exp(z, out=z)
        z /= z.sum(axis=1, keepdims=True)
        z[every, case.classes] -= 1
        return np.column_stack([z.T @ case.x, z.sum(axis=0)])

    return Contender.of(gradient)


def sklearn_softmax(case: Softmax, threads: int) -> Contender:
    """What LogisticRegression evaluates in each step, loss included; not a public interface."""
    from sklearn._loss import HalfMultinomialLoss
    from sklearn.linear_model._linear_loss import LinearModelLoss

    loss = LinearModelLoss(HalfMultinomialLoss(n_classes=case.shape.k), fit_intercept=True)
    weights, target = np.asfortranarray(case.weights, case.dtype), case.classes.astype(case.dtype)

    def gradient() -> np.ndarray:
        _, mean = loss.loss_gradient(weights, case.x, target, n_threads=threads)
        return np.asarray(mean, np.float64) * case.shape.n

    return Contender.of(gradient)


Softmax.rivals = {"NumPy": numpy_softmax, "scikit-learn": sklearn_softmax}


class Hessian(Case):
    """The Hessian of the logistic loss times a vector, as Newton's method with conjugate gradients asks for it."""

    name, kernels = "hessian", ("hessian_few_features", "hessian_many_features")
    shapes = (Shape(1_000_000, 32), Shape(200_000, 256))
    quick = shapes[1:]

    def make(self) -> None:
        """Weights with which probabilities are neither 0 nor 1, and a direction."""
        n, d, _ = self.shape
        self.weights, self.vector = self.random.standard_normal((2, d + 1)) / d**0.5
        largest = float(np.abs(self.x).max())
        step = 1 + largest * np.abs(self.vector).sum()
        self.quanta = quantum(n * step * np.append(np.full(d, largest), 1.0))

    @property
    def flops(self) -> float:
        """Of the three products."""
        return 6.0 * self.x.size

    def task(self) -> Task:
        """The product, the intercept's entry last."""

        def part(rows: Rows) -> np.ndarray:
            out = np.zeros(self.shape.d + 1)
            hessian_product(rows.X, self.weights, self.vector, self.quanta, out)
            return out

        return part

    def check(self, ours: np.ndarray, theirs: np.ndarray) -> None:
        """Products agree, relative to a sum of as many numbers of order 1; a loose bound makes quanta large."""
        self.near("products", ours, theirs, self.tolerance(1e-5, 1e-11) * self.shape.n)


def numpy_hessian(case: Hessian, threads: int) -> Contender:
    """Three matrix-vector products, threaded by the BLAS."""
    both = np.ascontiguousarray(np.array([case.weights, case.vector])[:, :-1].T, case.dtype)
    intercepts = np.array([case.weights[-1], case.vector[-1]], case.dtype)

    def product() -> np.ndarray:
        z, step = (case.x @ both + intercepts).T
        p = 1 / (1 + np.exp(-z))
        factor = p * (1 - p) * step
        return np.append(case.x.T @ factor, factor.sum())

    return Contender.of(product)


Hessian.rivals = {"NumPy": numpy_hessian}
