"""The loss of multinomial logistic regression and its gradient, in one pass over the rows.

A block of rows is packed feature by feature for the scores, which need rows in lanes; the gradient is the product
of what came out of them, classes by rows, with the rows as they lie.  Both keep six classes at a time in
registers.

The loss of a row is log(sum of exp(z)) - z[target]; with top = max(z) the sum is exp(top) * (1 + rest).
"""

# mypy: allow-untyped-defs, allow-incomplete-defs

import numpy as np
from numba import types

from .blocks import add_lines, pack_features
from .exact import BLOCK_BYTES, CHUNK, aligned, line_length, padded, rounded, with_tails
from .exponential import exp
from .logarithm import log1p
from .registry import IN, OUT, REAL, WEIGHTS, inline, kernel
from .scores import coming_row, padded_weights
from .simd import (
    BLOCK_LINES,
    block_of,
    fma,
    full,
    iota,
    items,
    items_down,
    lanes,
    line_of,
    load,
    load_block,
    load_like,
    load_part,
    maximum,
    prefetch,
    reduce,
    store,
    total,
    where,
    widen,
    zeros,
)

ARGUMENTS = (
    IN(REAL, 2),  # rows
    IN(REAL, 2),  # tail, see `tail_of`
    IN(types.int32, 1),  # target
    IN(types.int32, 1),  # tail of the target
    WEIGHTS,  # sample_weight
    WEIGHTS,  # tail of the sample weights
    IN(REAL, 2),  # weights, padded with zeros to whole lines and an even number of classes
    IN(REAL, 1),  # intercepts, padded likewise
    IN(types.float64, 1),  # quanta
    OUT(types.float64, 2),  # gradient
    OUT(REAL, 2),  # scratch: sums, all zero, as many classes as the weights
    OUT(REAL, 2),  # scratch: lane_sums, all zero: a line of sums per class for the intercept
    OUT(REAL, 2),  # scratch: shares, classes by rows of a block
    OUT(REAL, 1),  # scratch: own
    OUT(REAL, 2),  # scratch: block
)


@inline
def store_scores(tile, weights, c, d, block, r, shares):
    """shares[c + j] = tile[j] + the packed rows from r on times weights[c + j]."""
    for p in range(d):
        tile = fma(items_down(tile, weights, c, p), load_block(block, p, r), tile)
    store(tile, shares, c, r)


@inline
def shares_and_loss(shares, classes, r):
    """Scores to numerators of the softmax; returns 1 / their sum, and log(sum of exp(z)) - top, and top."""
    top = load_block(shares, 0, r)
    for c in range(1, classes):
        top = maximum(top, load_block(shares, c, r))
    rest, ties = full(top, 0.0), full(top, 0.0)
    for c in range(classes):
        z = load_block(shares, c, r)
        e = exp(z - top)
        # The largest is left out of the sum, so that small ones are not lost beside its 1.  A NaN is no tie.
        rest, ties = rest + where(z == top, 0.0, e), ties + where(z == top, 1.0, full(top, 0.0))
        store(e, shares, c, r)
    return 1.0 / (rest + ties), log1p(rest + (ties - 1.0)), top


@inline
def add_one(state, sums):
    totals, c, p = state
    store(load_like(sums, totals, c, p) + sums, totals, c, p)
    return totals, c + 1, p


@inline
def add_gradient(wide, narrow, shares, c, source, at, sums, rows, coming):
    """sums[c + j] += shares[c + j] @ the rows of a block; wide and narrow are zeros, in blocks and in lines."""
    d, size, p = source.shape[1], shares.shape[1], 0
    wide_lanes, narrow_lanes = lanes(wide[0]), lanes(narrow[0])
    while p + wide_lanes <= d:
        tile = wide
        for r in range(size):
            if c == 0:
                prefetch(BLOCK_LINES, rows, coming + r, p)
            tile = fma(items_down(tile, shares, c, r), load_block(source, at + r, p), tile)
        reduce(add_one, tile, (sums, c, p))
        p += wide_lanes
    while p + narrow_lanes <= d:
        tile = narrow
        for r in range(size):
            if c == 0:
                prefetch(1, rows, coming + r, p)
            tile = fma(items_down(tile, shares, c, r), load(source, at + r, p), tile)
        reduce(add_one, tile, (sums, c, p))
        p += narrow_lanes
    if p < d:
        tile = narrow
        for r in range(size):
            tile = fma(items_down(tile, shares, c, r), load_part(source, at + r, p, d - p), tile)
        reduce(add_one, tile, (sums, c, p))


@kernel(*ARGUMENTS, returns=types.float64)
def softmax_rows(
    rows, tail, target, target_tail, sample_weight, sample_weight_tail, weights, intercepts, quanta, gradient,
    sums, lane_sums, shares, own, block,
):  # fmt: skip
    """Any shape."""
    m, d = rows.shape
    classes, even, size, step = gradient.shape[0], sums.shape[0], block.shape[1], lanes(block_of(rows))
    wide, narrow = block_of(rows), line_of(rows)
    loss = 0.0
    for start in range(0, m, CHUNK):
        stop = min(start + CHUNK, m)
        losses = line_of(rows)
        for i in range(start, stop, size):
            valid, coming = min(size, stop - i), coming_row(rows, i, size)
            source, y, v, at = rows, target, sample_weight, i
            if valid < size:
                source, y, v, at = tail, target_tail, sample_weight_tail, 0
            pack_features(source, at, 0, rows.shape[1], None, block)
            for r in range(0, size, step):
                c = 0
                while c + 6 <= even:
                    store_scores(full(wide, items(6, intercepts, c)), weights, c, d, block, r, shares)
                    c += 6
                if even - c == 4:
                    store_scores(full(wide, items(4, intercepts, c)), weights, c, d, block, r, shares)
                elif even - c == 2:
                    store_scores(full(wide, items(2, intercepts, c)), weights, c, d, block, r, shares)
            for r in range(valid):
                own[r] = shares[y[at + r], r]
            for r in range(0, size, step):
                scale, part, top = shares_and_loss(shares, classes, r)
                part = part + (top - load_block(own, r))
                if valid < size:
                    is_row = iota(scale) < valid - r
                    scale, part = where(is_row, scale, 0.0), where(is_row, part, 0.0)
                if sample_weight is not None:
                    weight = load_block(v, at + r)
                    scale, part = scale * weight, part * weight
                losses = add_lines(losses, part)
                for c in range(classes):
                    store(load_block(shares, c, r) * scale, shares, c, r)
            for r in range(valid):
                if sample_weight is not None:
                    shares[y[at + r], r] -= v[at + r]
                else:
                    shares[y[at + r], r] -= 1
            for c in range(classes):
                for r in range(0, size, step):
                    store(add_lines(load(lane_sums, c, 0), load_block(shares, c, r)), lane_sums, c, 0)
            c = 0
            while c + 6 <= even:
                add_gradient(zeros(6, wide), zeros(6, narrow), shares, c, source, at, sums, rows, coming)
                c += 6
            if even - c == 4:
                add_gradient(zeros(4, wide), zeros(4, narrow), shares, c, source, at, sums, rows, coming)
            elif even - c == 2:
                add_gradient(zeros(2, wide), zeros(2, narrow), shares, c, source, at, sums, rows, coming)
        for c in range(classes):
            for p in range(d):
                gradient[c, p] += rounded(np.float64(sums[c, p]), quanta[p])
                sums[c, p] = 0
            gradient[c, d] += rounded(total(widen(load(lane_sums, c, 0))), quanta[d])
            store(narrow, lane_sums, c, 0)
        loss += rounded(total(widen(losses)), quanta[d + 1])
    return loss


def softmax(
    rows: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray,
    quanta: np.ndarray,
    gradient: np.ndarray,
    sample_weight: np.ndarray | None = None,
) -> float:
    """The loss of multinomial logistic regression for the rows of one inner worker, and its gradient.

    Parameters
    ----------
    rows : ndarray (m, d) of float32 or float64
        C-contiguous; its first row is at a global multiple of `CHUNK`.
    target : ndarray (m,) of int32
        Class numbers from 0 to c - 1.
    weights : ndarray (c, d + 1) of float64
        One row per class, its intercept last.
    quanta : ndarray (d + 2,) of float64
        To what chunk totals are rounded: of the gradient of any class and, last, of the loss; see `quantum`.
    gradient : ndarray (c, d + 1) of float64
        INOUT: (P - Y).T @ X is added, where X is the rows with a column of ones last, P the softmax of
        X @ weights.T and Y the target, one-hot.
    sample_weight : ndarray (m,) of the dtype of the rows, optional
        What each row counts in loss and gradient; 1 by default.

    Returns
    -------
    float
        The sum of log(sum of exp(z)) - z[target], where z is a row of X @ weights.T.

    Raises
    ------
    ValueError
        If a class number is out of range.
    """
    dtype, d, classes = rows.dtype, rows.shape[1], len(gradient)
    if len(rows) and not 0 <= target.min() <= target.max() < classes:
        raise ValueError(f"class numbers from {target.min()} to {target.max()}, allowed are 0 to {classes - 1}")
    even, width, size = classes + classes % 2, padded(d, dtype), BLOCK_BYTES // dtype.itemsize
    intercepts = np.zeros(even, dtype)
    intercepts[:classes] = weights[:, -1]
    return softmax_rows.given(sample_weight)[dtype](
        *with_tails(size, rows, target, sample_weight), padded_weights(weights[:, :-1], dtype, 2), intercepts,
        quanta, gradient, aligned((even, width), dtype), aligned((classes, line_length(dtype)), dtype),
        aligned((even, size), dtype), np.zeros(size, dtype), aligned((width, size), dtype),
    )  # fmt: skip
