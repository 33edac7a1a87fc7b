"""What each kernel computes, in plain NumPy and float64."""

from fractions import Fraction

import numpy as np


def distances(rows: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Squared distances (m, k)."""
    return np.stack([np.square(rows.astype(float) - center).sum(axis=1) for center in centers], axis=1)


def lloyd(rows, centers, shift, labels):
    """(labels, totals, counts, changed, inertia)"""
    squares = distances(rows, centers)
    new = squares.argmin(axis=1) if len(rows) else np.zeros(0, int)
    totals = np.zeros(centers.shape)
    np.add.at(totals, new, rows.astype(float) - shift)
    counts = np.bincount(new, minlength=len(centers))
    return new, totals, counts, int((new != labels).sum()), squares.min(axis=1).sum() if len(rows) else 0.0


def inertia(rows, centers, labels):
    return np.square(rows.astype(float) - centers[labels]).sum()


def first_bad(rows):
    """Flat index of the first value that is not finite, or -1."""
    bad = np.flatnonzero(~np.isfinite(rows))
    return int(bad[0]) if bad.size else -1


def mean_and_variance(values):
    """Of one feature, as fractions: exact."""
    wholes = [numerator * 2**1074 // denominator for numerator, denominator in map(float.as_integer_ratio, values)]
    mean = Fraction(sum(wholes), len(wholes) * 2**1074)
    return mean, Fraction(sum(whole * whole for whole in wholes), len(wholes) * 2**2148) - mean**2


def min_distance(rows, center, distance):
    return np.minimum(distance, np.square(rows.astype(float) - center).sum(axis=1))


def linear(rows, weights):
    return rows.astype(float) @ weights[:-1] + weights[-1]


def logistic(rows, target, weights, sample_weight=1):
    """(loss, gradient) in extended precision, which has no overflow to speak of."""
    z = (rows.astype(float) @ weights[:-1] + weights[-1]).astype(np.longdouble)
    e = np.exp(-np.abs(z))
    sigmoid = np.where(z < 0, e / (1 + e), 1 / (1 + e))
    residual = (sigmoid - target) * sample_weight
    gradient = np.append(rows.astype(np.longdouble).T @ residual, residual.sum())
    loss = ((np.log1p(e) + np.maximum(z, 0) - target * z) * sample_weight).sum()
    return float(loss), gradient.astype(float)


def hessian_product(rows, weights, vector, sample_weight=1):
    extended = np.column_stack([rows, np.ones(len(rows))]).astype(np.longdouble)
    e = np.exp(-np.abs(extended @ weights))
    return (extended.T @ (e / (1 + e) ** 2 * (extended @ vector) * sample_weight)).astype(float)


def softmax(rows, target, weights, sample_weight=1):
    """(loss, gradient) in extended precision."""
    extended = np.column_stack([rows, np.ones(len(rows))]).astype(np.longdouble)
    z = extended @ weights.T.astype(np.longdouble)
    is_target = np.arange(len(weights)) == target[:, None]
    e = np.exp(z - z.max(axis=1, keepdims=True)) if len(rows) else z
    total = e.sum(axis=1, keepdims=True)
    own, top = z[is_target], z.max(axis=1, initial=-np.inf)
    # log1p of what the others add up to: a tiny loss keeps its relative accuracy.
    others = np.where(is_target, 0, np.exp(np.minimum(z - own[:, None], 1))).sum(axis=1)
    losses = np.where(own == top, np.log1p(others), np.log(total[:, 0]) + top - own)
    loss = (losses * sample_weight).sum()
    gradient = ((e / total - is_target) * np.reshape(sample_weight, (-1, 1))).T @ extended
    return float(loss), gradient.astype(float)


def dense(data, indices, indptr, d):
    """The matrix (m, d) of CSR rows in which a feature may stand more than once."""
    matrix = np.zeros((len(indptr) - 1, d))
    np.add.at(matrix, (np.repeat(np.arange(len(matrix)), np.diff(indptr)), indices), data.astype(float))
    return matrix


def splitmix(x: int) -> int:
    mask = 2**64 - 1
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return x ^ (x >> 31)


def race(distance, first_row, seed, round_number):
    mask, golden = 2**64 - 1, 0x9E3779B97F4A7C15
    stream = splitmix(splitmix((seed + golden) & mask) ^ ((round_number * golden + golden) & mask))
    best = (np.inf, -1)
    for row, rate in enumerate(distance, first_row):
        random = splitmix((stream + (row + 1) * golden) & mask)
        u = ((random >> 12) + 0.5) * 2.0**-52
        if rate > 0:
            best = min(best, (-np.log(u) / rate, row), key=lambda pair: pair[0])
    return best
