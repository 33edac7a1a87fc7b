"""The loss of logistic regression and its gradient, in one pass over the rows.

With e = exp(-|z|) the loss of a row is log(1 + e) + max(z, 0) - y z.  Without weights of the rows the logarithms
are taken of products: s holds the product of the (1 + e) of a chunk's rows in a lane, less 1 so that small e are
not lost, and one logarithm is due per lane and chunk.  The product cannot overflow: 2**64 in float32 or 2**128 in
float64.  With weights each row has its own logarithm.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs

import numpy as np
from numba import types

from .blocks import add_lines, pack_features
from .exact import CHUNK, rounded
from .exponential import exp
from .logarithm import log1p
from .registry import IN, OUT, REAL, WEIGHTS, inline, kernel
from .scores import (
    ROWS_AT_ONCE,
    add_block,
    add_eight,
    add_products_of_eight,
    add_scores,
    coming_row,
    flush,
    flush_lanes,
    run_path,
)
from .simd import (
    BLOCK_LINES,
    block_of,
    each,
    fma,
    full,
    iota,
    items,
    lanes,
    line_of,
    lines,
    load_block,
    load_like,
    maximum,
    prefetch,
    reduce,
    total,
    totals,
    where,
    widen,
    zeros,
)

TARGET_AHEAD = 4  # blocks: so slow a stream is fetched too late at the distance of the rows
ARGUMENTS = (
    IN(REAL, 2),  # rows
    IN(REAL, 2),  # tail, see `tail_of`
    IN(REAL, 1),  # target
    IN(REAL, 1),  # tail of the target
    WEIGHTS,  # sample_weight
    WEIGHTS,  # tail of the sample weights
    IN(REAL, 2),  # weights, padded with zeros to whole lines
    IN(REAL, 1),  # intercept
    IN(types.float64, 1),  # quanta
    OUT(types.float64, 1),  # gradient
)


@inline
def exp_and_inverse(z):
    """exp(-|z|), e, and 1 / (1 + e), which is the larger of sigmoid(z) and 1 - sigmoid(z)."""
    e = exp(where(z < 0.0, z, -z))
    return e, 1.0 / (e + 1.0)


@inline
def residual_and_loss(z, y):
    """sigmoid(z) - y, exp(-|z|), and the part of the loss that is linear in z."""
    e, inverse = exp_and_inverse(z)
    sigmoid = where(z < 0.0, e * inverse, inverse)
    return sigmoid - y, e, fma(-y, z, maximum(full(z, 0.0), z))


@inline
def only(mask, residual, e, part):
    return where(mask, residual, 0.0), where(mask, e, 0.0), where(mask, part, 0.0)


@inline
def multiply_up(s, e):
    """(1 + s) * (1 + e) - 1"""
    return fma(e, s + 1.0, s)


# ---- few features: rows in lanes -----------------------------------------------------------------


@kernel(*ARGUMENTS, OUT(REAL, 2), OUT(REAL, 2), returns=types.float64)
def logistic_few_features(
    rows, tail, target, target_tail, sample_weight, sample_weight_tail, weights, intercept, quanta, gradient,
    lane_sums, block,
):  # fmt: skip
    """Rows in lanes; lane_sums[p] is a line of sums for feature p, and lane_sums[d] for the intercept."""
    m, size, step = rows.shape[0], block.shape[1], lanes(block_of(rows))
    loss = 0.0
    for start in range(0, m, CHUNK):
        stop = min(start + CHUNK, m)
        s, losses = line_of(rows), line_of(rows)
        for i in range(start, stop, size):
            valid, coming = min(size, stop - i), coming_row(rows, i, size)
            source, y, v, at = rows, target, sample_weight, i
            if valid < size:
                source, y, v, at = tail, target_tail, sample_weight_tail, 0
            pack_features(source, at, 0, rows.shape[1], None, block)
            for r in range(0, size, step):
                z = full(block_of(rows), items(1, intercept, 0))
                z = add_scores(z, weights, 0, block, r, rows, coming)[0]
                prefetch(BLOCK_LINES, target, coming + TARGET_AHEAD * size + r)
                residual, e, part = residual_and_loss(z, load_block(y, at + r))
                if valid < size:
                    residual, e, part = only(iota(z) < valid - r, residual, e, part)
                if sample_weight is not None:
                    weight = load_block(v, at + r)
                    residual, part = residual * weight, (log1p(e) + part) * weight
                else:
                    s = reduce(multiply_up, lines(e), s)
                losses = add_lines(losses, part)
                add_block(lane_sums, residual, block, r, rows, coming)
        flush_lanes(lane_sums, quanta, gradient)
        loss += rounded(total(log1p(widen(s))) + total(widen(losses)), quanta[gradient.size])
    return loss


# ---- many features: features in lanes ------------------------------------------------------------


@kernel(*ARGUMENTS, OUT(REAL, 1), returns=types.float64)
def logistic_many_features(
    rows, tail, target, target_tail, sample_weight, sample_weight_tail, weights, intercept, quanta, gradient, sums,
):  # fmt: skip
    """Features in lanes, eight rows at a time; sums is all zero."""
    m, d = rows.shape
    loss = 0.0
    for start in range(0, m, CHUNK):
        stop = min(start + CHUNK, m)
        tile = zeros(1, zeros(ROWS_AT_ONCE, line_of(rows)))
        zero = totals(tile[0])
        s, losses, residuals = widen(zero), zero, zero
        for i in range(start, stop, ROWS_AT_ONCE):
            valid, coming = min(ROWS_AT_ONCE, stop - i), coming_row(rows, i, ROWS_AT_ONCE)
            source, y, v, at = rows, target, sample_weight, i
            if valid < ROWS_AT_ONCE:
                source, y, v, at = tail, target_tail, sample_weight_tail, 0
            z = totals(add_products_of_eight(tile, weights, source, at, rows, coming)[0]) + intercept[0]
            residual, e, part = residual_and_loss(z, load_like(z, y, at))
            residual, e, part = only(iota(z) < valid, residual, e, part)
            if sample_weight is not None:
                weight = load_like(z, v, at)
                residual, part = residual * weight, (log1p(e) + part) * weight
            else:
                s = multiply_up(s, widen(e))
            losses, residuals = losses + part, residuals + residual
            add_eight(sums, each(residual), source, at, rows, coming)
        flush(sums, quanta, gradient)
        gradient[d] += rounded(total(widen(residuals)), quanta[d])
        loss += rounded(total(log1p(s)) + total(widen(losses)), quanta[d + 1])
    return loss


# ---- driver --------------------------------------------------------------------------------------


def logistic(
    rows: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray,
    quanta: np.ndarray,
    gradient: np.ndarray,
    sample_weight: np.ndarray | None = None,
    *,
    path: str | None = None,
) -> float:
    """The logistic loss of the rows of one inner worker, and its gradient.

    Parameters
    ----------
    rows : ndarray (m, d) of float32 or float64
        C-contiguous; its first row is at a global multiple of `CHUNK`.
    target : ndarray (m,) of the dtype of the rows
        0 or 1.
    weights : ndarray (d + 1,) of float64
        The last is the intercept.
    quanta : ndarray (d + 2,) of float64
        To what chunk totals of the gradient and, last, of the loss are rounded: see `quantum`.
    gradient : ndarray (d + 1,) of float64
        INOUT: rows.T @ (sigmoid(z) - target) and, last, the sum of sigmoid(z) - target are added, where
        z = rows @ weights[:d] + weights[d].
    sample_weight : ndarray (m,) of the dtype of the rows, optional
        What each row counts in loss and gradient; 1 by default.
    path : str, optional
        "few_features" or "many_features"; `choose_logistic_path` by default.

    Returns
    -------
    float
        The sum of log(1 + exp(z)) - target * z.

    Raises
    ------
    ValueError
        If the path is not known.
    """
    few, many = logistic_few_features, logistic_many_features
    return run_path(few, many, (rows, target), weights[None], quanta, gradient, sample_weight, path)
