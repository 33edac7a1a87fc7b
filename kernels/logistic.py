"""The loss of logistic regression and its gradient, in one pass over the rows.

With e = exp(-|z|) the loss of a row is log(1 + e) + max(z, 0) - y z.  The logarithms are taken of products:
s holds the product of the (1 + e) of a chunk's rows in a lane, less 1 so that small e are not lost, and one
logarithm is due per lane and chunk.  The product cannot overflow: 2**64 in float32 or 2**128 in float64.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs

import numpy as np
from numba import types

from .blocks import add_line_products, add_lines, pack
from .exact import BLOCK_BYTES, CHUNK, aligned, line_length, padded, rounded, tail_of
from .exponential import exp
from .logarithm import log1p
from .registry import IN, OUT, REAL, inline, kernel
from .simd import (
    block_of,
    dot,
    each,
    fma,
    full,
    iota,
    lanes,
    line_of,
    lines,
    load,
    load_block,
    load_like,
    load_part,
    load_rows,
    load_rows_part,
    maximum,
    prefetch,
    reduce,
    store,
    store_part,
    total,
    totals,
    where,
    widen,
    zeros,
)

ROWS_AT_ONCE = 8  # in the features-in-lanes kernel
ARGUMENTS = (
    IN(REAL, 2),  # rows
    IN(REAL, 2),  # tail, see `tail_of`
    IN(REAL, 1),  # target
    IN(REAL, 1),  # tail of the target
    IN(REAL, 1),  # weights, padded with zeros to whole lines
    types.float64,  # intercept
    IN(types.float64, 1),  # quanta
    OUT(types.float64, 1),  # gradient
    OUT(types.float64, 1),  # scratch: the lanes of s
)


@inline
def residual_and_loss(z, y):
    """sigmoid(z) - y, exp(-|z|), and the part of the loss that is linear in z."""
    e = exp(minus_abs(z))
    inverse = 1.0 / (e + 1.0)
    sigmoid = where(z < 0.0, e * inverse, inverse)
    return sigmoid - y, e, fma(-y, z, maximum(full(z, 0.0), z))


@inline
def only(mask, residual, e, part):
    return where(mask, residual, 0.0), where(mask, e, 0.0), where(mask, part, 0.0)


@inline
def minus_abs(z):
    return where(z < 0.0, z, -z)


@inline
def multiply_up(s, e):
    """(1 + s) * (1 + e) - 1"""
    return fma(e, s + 1.0, s)


@inline
def sum_of_logs(s, lane_scratch):
    """The sum of log(1 + s) over the lanes of s."""
    store(s, lane_scratch, 0)
    logs = 0.0
    for lane in range(lanes(s)):
        logs += log1p(lane_scratch[lane])
    return logs


# ---- few features: rows in lanes -----------------------------------------------------------------


@kernel(*ARGUMENTS, IN(REAL, 1), OUT(REAL, 2), OUT(REAL, 2), returns=types.float64)
def logistic_few_features(
    rows, tail, target, target_tail, weights, intercept, quanta, gradient, lane_scratch,
    no_shift, lane_sums, block,
):  # fmt: skip
    """Rows in lanes; lane_sums[p] is a line of sums for feature p, and lane_sums[d] for the intercept."""
    m, d = rows.shape
    size, step = block.shape[1], lanes(block_of(rows))
    loss = 0.0
    for start in range(0, m, CHUNK):
        stop = min(start + CHUNK, m)
        s, linear = line_of(rows), line_of(rows)
        for i in range(start, stop, size):
            valid = min(size, stop - i)
            source, target_source, at = (rows, target, i) if valid == size else (tail, target_tail, 0)
            pack(source, at, no_shift, block)
            for r in range(0, size, step):
                z = full(block_of(rows), intercept)
                for p in range(d):
                    z = fma(weights[p], load_block(block, p, r), z)
                residual, e, part = residual_and_loss(z, load_block(target_source, at + r))
                if valid < size:
                    is_row = iota(z) < valid - r
                    residual, e, part = (
                        where(is_row, residual, 0.0),
                        where(is_row, e, 0.0),
                        where(is_row, part, 0.0),
                    )
                for p in range(d):
                    sums = add_line_products(load(lane_sums, p, 0), residual, load_block(block, p, r))
                    store(sums, lane_sums, p, 0)
                store(add_lines(load(lane_sums, d, 0), residual), lane_sums, d, 0)
                s, linear = reduce(multiply_up, lines(e), s), add_lines(linear, part)
        for p in range(d + 1):
            gradient[p] += rounded(total(widen(load(lane_sums, p, 0))), quanta[p])
            store(line_of(rows), lane_sums, p, 0)
        loss += rounded(sum_of_logs(widen(s), lane_scratch) + total(widen(linear)), quanta[d + 1])
    return loss


# ---- many features: features in lanes ------------------------------------------------------------


@kernel(*ARGUMENTS, OUT(REAL, 1), returns=types.float64)
def logistic_many_features(
    rows, tail, target, target_tail, weights, intercept, quanta, gradient, lane_scratch, sums,
):  # fmt: skip
    """Features in lanes, eight rows at a time; sums is all zero."""
    m, d = rows.shape
    width = lanes(rows)
    loss = 0.0
    for start in range(0, m, CHUNK):
        stop = min(start + CHUNK, m)
        zero = totals(zeros(ROWS_AT_ONCE, line_of(rows)))
        s, linear, residuals = widen(zero), zero, zero
        for i in range(start, stop, ROWS_AT_ONCE):
            valid = min(ROWS_AT_ONCE, stop - i)
            source, target_source, at = (rows, target, i) if valid == ROWS_AT_ONCE else (tail, target_tail, 0)
            products, p = zeros(ROWS_AT_ONCE, line_of(rows)), 0
            while p + width <= d:
                prefetch(ROWS_AT_ONCE, rows, i + ROWS_AT_ONCE, ROWS_AT_ONCE * p)
                products = fma(load_rows(ROWS_AT_ONCE, source, at, p), load(weights, p), products)
                p += width
            if p < d:
                products = fma(load_rows_part(ROWS_AT_ONCE, source, at, p, d - p), load(weights, p), products)
            z = totals(products) + intercept
            residual, e, part = residual_and_loss(z, load_like(z, target_source, at))
            is_row = iota(z) < valid
            residual, e, part = only(is_row, residual, e, part)
            factors, p = each(residual), 0
            while p + width <= d:
                store(dot(factors, load_rows(ROWS_AT_ONCE, source, at, p), load(sums, p)), sums, p)
                p += width
            if p < d:
                last = load_rows_part(ROWS_AT_ONCE, source, at, p, d - p)
                store_part(dot(factors, last, load_part(sums, p, d - p)), sums, p, d - p)
            s, linear, residuals = multiply_up(s, widen(e)), linear + part, residuals + residual
        for p in range(d):
            gradient[p] += rounded(np.float64(sums[p]), quanta[p])
            sums[p] = 0
        gradient[d] += rounded(total(widen(residuals)), quanta[d])
        loss += rounded(sum_of_logs(s, lane_scratch) + total(widen(linear)), quanta[d + 1])
    return loss


# ---- driver --------------------------------------------------------------------------------------

PATHS = ("few_features", "many_features")
FEW_FEATURES_LINES = 2


def choose_logistic_path(d: int, dtype: np.dtype) -> str:
    """Which kernel is fastest for d features: "few_features" or "many_features"; a pure function."""
    return "few_features" if d < FEW_FEATURES_LINES * line_length(dtype) else "many_features"


def logistic(
    rows: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray,
    quanta: np.ndarray,
    gradient: np.ndarray,
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
    dtype, d = rows.dtype, rows.shape[1]
    path = path or choose_logistic_path(d, dtype)
    if path not in PATHS:
        raise ValueError(f"path {path!r} is not one of {', '.join(PATHS)}")
    size = BLOCK_BYTES // dtype.itemsize
    padded_weights = np.zeros(padded(d, dtype), dtype)
    padded_weights[:d] = weights[:d]
    tail, target_tail = (tail_of(x, ROWS_AT_ONCE if path == "many_features" else size) for x in (rows, target))
    arguments = (
        rows, tail, target, target_tail, padded_weights, float(weights[d]), quanta, gradient,
        np.empty(line_length(dtype)),
    )  # fmt: skip
    if path == "many_features":
        return logistic_many_features[dtype](*arguments, aligned((d,), dtype))
    return logistic_few_features[dtype](
        *arguments,
        np.zeros(padded(d, dtype), dtype),
        aligned((d + 1, line_length(dtype)), dtype),
        aligned((padded(d, dtype), size), dtype),
    )
