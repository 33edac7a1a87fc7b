"""Logistic and softmax regression on rows in CSR form: loss and gradient.

What limits these kernels is random access, not arithmetic.  Logistic regression reads the rows twice, so that what
they point to at a time is one array and more of it stays in the cache.  Softmax reads them once: the weights of a
feature and its gradient, for all classes, lie side by side in a table.

Sums start at a number so large that its last bit is the unit of the sum: each addition rounds the term to a
multiple of the unit, and from there on is exact.  So the order of the rows does not matter.  A term half way
between two multiples would be rounded by what the sum is at that moment; `odd` terms are never half way.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs

import numpy as np
from numba import types

from .exact import CHUNK, rounded
from .exponential import exp
from .logarithm import log, log1p
from .logistic import multiply_up, residual_and_loss
from .registry import IN, OUT, REAL, WEIGHTS, inline, kernel
from .simd import (
    fma,
    full,
    iota,
    lanes,
    line_of,
    load,
    load_like,
    load_part,
    maximum,
    odd,
    store,
    store_part,
    total,
    where,
    widen,
)

START = 4 * 6755399441055744.0
"""Where a sum starts, in quanta: 1.5 * 2**52 units of four quanta.  The last bit is a unit up to 2**51 units away.

A bound of the sum is at most 2**52 quanta, or 2**50 units, so that there is room for what rounding adds."""

LINE = 8  # float64 in a line

ROWS = (
    IN(REAL, 1),  # data
    IN(types.int32, 1),  # indices
    IN(types.int64, 1),  # indptr
)


@inline
def at(array, i):
    """array[i] without a test for negative i."""
    return array[np.uintp(i)]


# ---- logistic ------------------------------------------------------------------------------------


@inline
def product(data, indices, t, weights):
    """The t-th value times the weight of its feature."""
    return np.float64(at(data, t)) * np.float64(at(weights, at(indices, t)))


@inline
def margin(data, indices, start, stop, weights):
    """The sum of data times weights: four sums side by side, because an addition waits for the one before."""
    z0, z1, z2, z3, t = 0.0, 0.0, 0.0, 0.0, start
    while t + 4 <= stop:
        z0 += product(data, indices, t, weights)
        z1 += product(data, indices, t + 1, weights)
        z2 += product(data, indices, t + 2, weights)
        z3 += product(data, indices, t + 3, weights)
        t += 4
    while t < stop:
        z0 += product(data, indices, t, weights)
        t += 1
    return (z0 + z1) + (z2 + z3)


@kernel(
    *ROWS,
    IN(REAL, 1),  # target
    IN(REAL, 1),  # weights
    IN(types.float64, 1),  # quanta
    OUT(types.float64, 1),  # gradient
    WEIGHTS,
    OUT(types.float64, 1),  # scratch: residuals, and a line more
    returns=types.float64,
)  # fmt: skip
def sparse_logistic(data, indices, indptr, target, weights, quanta, gradient, sample_weight, residuals):
    """The residuals of all rows, then the gradient: either goes to random places in one array only."""
    m, d, width = target.size, gradient.size - 1, lanes(data)
    loss, zero = 0.0, widen(line_of(data))
    for start in range(0, m, CHUNK):
        stop = min(start + CHUNK, m)
        for i in range(start, stop):
            residuals[i] = margin(data, indices, at(indptr, i), at(indptr, i + 1), weights) + weights[d]
        s, losses, sums = zero, zero, zero
        for i in range(start, stop, width):
            y, is_row = widen(load_part(target, i, stop - i)), iota(zero) < stop - i
            residual, e, part = residual_and_loss(where(is_row, load_like(zero, residuals, i), 0.0), y)
            if sample_weight is None:
                s = multiply_up(s, where(is_row, e, 0.0))
            else:
                weight = widen(load_part(sample_weight, i, stop - i))
                residual, part = residual * weight, (log1p(e) + part) * weight
            losses = losses + where(is_row, part, 0.0)
            sums = sums + where(is_row, residual, 0.0)
            store(residual, residuals, i)
        loss += rounded(total(log1p(s)) + total(losses), quanta[d + 1])
        gradient[d] += rounded(total(sums), quanta[d])
    for j in range(d):
        gradient[j] += START * quanta[j]
    for i in range(m):
        residual_of_row = residuals[i]
        for t in range(at(indptr, i), at(indptr, i + 1)):
            gradient[np.uintp(at(indices, t))] += odd(np.float64(at(data, t)) * residual_of_row)
    for j in range(d):
        gradient[j] -= START * quanta[j]
    return loss


# ---- softmax -------------------------------------------------------------------------------------


@inline
def load_classes(array, j, p, end):
    """array[j, p:end], at most a line."""
    return load(array, j, p) if p + LINE <= end else load_part(array, j, p, end - p)


@inline
def add_classes(terms, array, j, p, end):
    """array[j, p:end] += terms, at most a line."""
    if p + LINE <= end:
        store(load(array, j, p) + terms, array, j, p)
    else:
        store_part(load_part(array, j, p, end - p) + terms, array, j, p, end - p)


@inline
def scores_of(data, indices, start, stop, table, c, scratch):
    """scratch[0, :c] = the scores of a row; returns the largest of them."""
    best = full(load(scratch, 0, 0), -np.inf)
    for p in range(0, c, LINE):
        score = load_classes(table, table.shape[0] - 1, p, c)
        for t in range(start, stop):
            weights = load_classes(table, at(indices, t), p, c)
            score = fma(full(weights, np.float64(at(data, t))), weights, score)
        store(score, scratch, 0, p)
        best = maximum(best, where(iota(score) < c - p, score, -np.inf))
    largest = -np.inf
    store(best, scratch, 1, 0)
    for lane in range(LINE):
        largest = max(largest, scratch[1, lane])
    return largest


@kernel(
    *ROWS,
    IN(types.int32, 1),  # target
    IN(types.float64, 2),  # weights
    IN(types.float64, 1),  # quanta
    OUT(types.float64, 2),  # gradient
    WEIGHTS,
    OUT(types.float64, 2),  # scratch: table
    OUT(types.float64, 2),  # scratch: lines
    returns=types.float64,
)  # fmt: skip
def sparse_softmax(data, indices, indptr, target, weights, quanta, gradient, sample_weight, table, scratch):
    """Row by row, classes in lanes; scratch is scores or residuals, a line, and the residuals of a chunk."""
    m, c, d = target.size, weights.shape[0], weights.shape[1] - 1
    for j in range(d + 1):
        for k in range(c):
            table[j, k], table[j, c + k] = weights[k, j], START * quanta[j]
    loss = 0.0
    for start in range(0, m, CHUNK):
        chunk_loss = 0.0
        for i in range(start, min(start + CHUNK, m)):
            first, last, y = at(indptr, i), at(indptr, i + 1), at(target, i)
            largest = scores_of(data, indices, first, last, table, c, scratch)
            own = scratch[0, y]
            exponentials = full(load(scratch, 0, 0), 0.0)
            for p in range(0, c, LINE):
                e = exp(load(scratch, 0, p) - largest)
                e = where(iota(e) < c - p, e, 0.0)
                store(e, scratch, 0, p)
                exponentials = exponentials + e
            size = total(exponentials)
            weight = 1.0 if sample_weight is None else np.float64(at(sample_weight, i))
            chunk_loss += weight * (log(size) + (largest - own))
            scale = weight / size
            for p in range(0, c, LINE):
                store(load(scratch, 0, p) * scale, scratch, 0, p)
            scratch[0, y] -= weight
            for p in range(0, c, LINE):
                residual = load(scratch, 0, p)
                store(load(scratch, 2, p) + residual, scratch, 2, p)
                for t in range(first, last):
                    terms = odd(residual * np.float64(at(data, t)))
                    add_classes(terms, table, at(indices, t), c + p, 2 * c)
        loss += rounded(chunk_loss, quanta[d + 1])
        for k in range(c):
            gradient[k, d] += rounded(scratch[2, k], quanta[d])
            scratch[2, k] = 0.0
    for j in range(d):
        for k in range(c):
            gradient[k, j] += table[j, c + k] - START * quanta[j]
    return loss


# ---- drivers -------------------------------------------------------------------------------------


def logistic_csr(
    data: np.ndarray,
    indices: np.ndarray,
    indptr: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray,
    quanta: np.ndarray,
    gradient: np.ndarray,
    sample_weight: np.ndarray | None = None,
) -> float:
    """The logistic loss of the CSR rows of one inner worker, and its gradient.

    Parameters
    ----------
    data : ndarray (nnz,) of float32 or float64
        The values of all rows; those of row i are data[indptr[i]:indptr[i + 1]].
    indices : ndarray (nnz,) of int32
        The feature of each value, in any order and perhaps repeated; trusted, see `check_csr`.
    indptr : ndarray (m + 1,) of int64 or int32
        May be a slice of that of more rows, with data and indices whole; its first row is at a global multiple of
        `CHUNK`. int32 is converted.
    target : ndarray (m,) of the dtype of the data
        0 or 1.
    weights : ndarray (d + 1,) of float64
        The last is the intercept. They are rounded to the dtype of the data.
    quanta : ndarray (d + 2,) of float64
        For each feature the `quantum` of a bound of sample_weight * |x| summed over the whole data set: best of
        the number of its values times the largest, see `extent_csr`. Then those of the intercept and of the loss.
        Each term of a feature's gradient is rounded to four quanta.
    gradient : ndarray (d + 1,) of float64
        INOUT: X.T @ residual and, last, the sum of the residuals are added, where the residual is
        sample_weight * (sigmoid(X @ weights[:d] + weights[d]) - target). What it holds before is zero, or the
        gradient of other rows with the same quanta.
    sample_weight : ndarray (m,) of the dtype of the data, optional
        The weight of each row.

    Returns
    -------
    float
        The sum of sample_weight * (log(1 + exp(z)) - target * z).

    Notes
    -----
    Scratch memory: 8 bytes for each row.
    """
    return sparse_logistic.given(sample_weight)[data.dtype](
        data, indices, indptr.astype(np.int64, copy=False), target, weights.astype(data.dtype, copy=False), quanta,
        gradient, sample_weight, np.empty(len(target) + 2 * LINE),
    )  # fmt: skip


def softmax_csr(
    data: np.ndarray,
    indices: np.ndarray,
    indptr: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray,
    quanta: np.ndarray,
    gradient: np.ndarray,
    sample_weight: np.ndarray | None = None,
) -> float:
    """The loss of softmax regression on the CSR rows of one inner worker, and its gradient.

    Parameters
    ----------
    data, indices, indptr, sample_weight
        As in `logistic_csr`.
    target : ndarray (m,) of int32
        The class of each row, from 0 to c - 1; trusted.
    weights : ndarray (c, d + 1) of float64
        Of each class; the last column is the intercepts.
    quanta : ndarray (d + 2,) of float64
        As in `logistic_csr`: one per feature serves all classes.
    gradient : ndarray (c, d + 1) of float64
        INOUT: residual.T @ X and, last, the sums of the residuals are added, where the residual is
        sample_weight * (softmax(scores) - one_hot(target)).

    Returns
    -------
    float
        The sum of sample_weight * (log(sum(exp(scores))) - score of the own class).

    Notes
    -----
    Inside, the weights of a feature for all classes lie side by side, and then its gradient for all classes: 16
    bytes of scratch memory for each class and feature.
    """
    c, columns = weights.shape
    scratch = np.zeros((3, -(-c // LINE) * LINE))
    return sparse_softmax.given(sample_weight)[data.dtype](
        data, indices, indptr.astype(np.int64, copy=False), target, weights, quanta, gradient, sample_weight,
        np.empty((columns, 2 * c)), scratch,
    )  # fmt: skip
