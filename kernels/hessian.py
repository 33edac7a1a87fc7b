"""The Hessian of the logistic loss times a vector, in one pass over the rows."""

# mypy: allow-untyped-defs, allow-incomplete-defs

import numpy as np
from numba import types

from .blocks import pack_features
from .exact import CHUNK, rounded
from .logistic import exp_and_inverse
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
    block_of,
    each,
    full,
    iota,
    items,
    lanes,
    line_of,
    load_block,
    load_like,
    total,
    totals,
    where,
    widen,
    zeros,
)

ARGUMENTS = (
    IN(REAL, 2),  # rows
    IN(REAL, 2),  # tail, see `tail_of`
    WEIGHTS,  # sample_weight
    WEIGHTS,  # tail of the sample weights
    IN(REAL, 2),  # directions: weights and vector, padded with zeros to whole lines
    IN(REAL, 1),  # intercepts: the last item of either
    IN(types.float64, 1),  # quanta
    OUT(types.float64, 1),  # product
)


@inline
def curvature_times(z, along):
    """The derivative of sigmoid(z), times how z changes along the vector."""
    e, inverse = exp_and_inverse(z)
    return e * inverse * inverse * along


@kernel(*ARGUMENTS, OUT(REAL, 2), OUT(REAL, 2))
def hessian_few_features(
    rows, tail, sample_weight, sample_weight_tail, directions, intercepts, quanta, product, lane_sums, block
):
    """Rows in lanes; lane_sums as in `logistic_few_features`."""
    m, size, step = rows.shape[0], block.shape[1], lanes(block_of(rows))
    for start in range(0, m, CHUNK):
        stop = min(start + CHUNK, m)
        for i in range(start, stop, size):
            valid, coming = min(size, stop - i), coming_row(rows, i, size)
            source, v, at = (rows, sample_weight, i) if valid == size else (tail, sample_weight_tail, 0)
            pack_features(source, at, 0, rows.shape[1], None, block)
            for r in range(0, size, step):
                both = full(block_of(rows), items(2, intercepts, 0))
                z, along = add_scores(both, directions, 0, block, r, rows, coming)
                factor = curvature_times(z, along)
                if valid < size:
                    factor = where(iota(z) < valid - r, factor, 0.0)
                if sample_weight is not None:
                    factor = factor * load_block(v, at + r)
                add_block(lane_sums, factor, block, r, rows, coming)
        flush_lanes(lane_sums, quanta, product)


@kernel(*ARGUMENTS, OUT(REAL, 1))
def hessian_many_features(
    rows, tail, sample_weight, sample_weight_tail, directions, intercepts, quanta, product, sums
):
    """Features in lanes, eight rows at a time; sums is all zero."""
    m, d = rows.shape
    tile = zeros(2, zeros(ROWS_AT_ONCE, line_of(rows)))
    for start in range(0, m, CHUNK):
        stop = min(start + CHUNK, m)
        factors = totals(tile[0])
        for i in range(start, stop, ROWS_AT_ONCE):
            valid, coming = min(ROWS_AT_ONCE, stop - i), coming_row(rows, i, ROWS_AT_ONCE)
            source, v, at = (rows, sample_weight, i) if valid == ROWS_AT_ONCE else (tail, sample_weight_tail, 0)
            to_weights, to_vector = add_products_of_eight(tile, directions, source, at, rows, coming)
            z = totals(to_weights) + intercepts[0]
            factor = curvature_times(z, totals(to_vector) + intercepts[1])
            factor = where(iota(z) < valid, factor, 0.0)
            if sample_weight is not None:
                factor = factor * load_like(z, v, at)
            add_eight(sums, each(factor), source, at, rows, coming)
            factors = factors + factor
        flush(sums, quanta, product)
        product[d] += rounded(total(widen(factors)), quanta[d])


def hessian_product(
    rows: np.ndarray,
    weights: np.ndarray,
    vector: np.ndarray,
    quanta: np.ndarray,
    product: np.ndarray,
    sample_weight: np.ndarray | None = None,
    *,
    path: str | None = None,
) -> None:
    """The Hessian of the logistic loss of the rows of one inner worker, times a vector.

    Parameters
    ----------
    rows : ndarray (m, d) of float32 or float64
        C-contiguous; its first row is at a global multiple of `CHUNK`.
    weights : ndarray (d + 1,) of float64
        Where the Hessian is taken; the last is the intercept.
    vector : ndarray (d + 1,) of float64
    quanta : ndarray (d + 1,) of float64
        To what chunk totals of the product are rounded: see `quantum`.
    product : ndarray (d + 1,) of float64
        INOUT: X.T @ (p * (1 - p) * (X @ vector)) is added, where X is the rows with a column of ones last and p
        the sigmoid of X @ weights.
    sample_weight : ndarray (m,) of the dtype of the rows, optional
        What each row counts; 1 by default.
    path : str, optional
        "few_features" or "many_features"; `choose_logistic_path` by default.

    Raises
    ------
    ValueError
        If the path is not known.
    """
    directions = np.stack([weights, vector])
    run_path(
        hessian_few_features, hessian_many_features, (rows,), directions, quanta, product, sample_weight, path
    )
