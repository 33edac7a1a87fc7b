"""One float64 number per row, from the row and a vector: squared distances and linear functions."""

# mypy: allow-untyped-defs, allow-incomplete-defs

import numpy as np
from numba import types

from .blocks import pack
from .exact import BLOCK_BYTES, aligned, line_length, padded, tail_of
from .registry import IN, OUT, REAL, Kernel, inline, kernel
from .simd import (
    block_of,
    fma,
    full,
    lanes,
    line_of,
    load_block,
    load_like,
    load_rows,
    load_rows_part,
    minimum,
    minus,
    prefetch,
    store,
    totals,
    widen,
    zeros,
)

ROWS_AT_ONCE = 4
ARGUMENTS = (
    IN(REAL, 2),  # rows
    IN(REAL, 2),  # tail, see `tail_of`
    IN(types.float64, 1),  # vector, padded with zeros to whole lines
    types.float64,  # start
    OUT(types.float64, 1),  # out
    OUT(types.float64, 1),  # tail of out
)


@inline
def add_square(acc, x, y):
    difference = minus(x, y)
    return fma(difference, difference, acc)


@inline
def add_product(acc, x, y):
    return fma(x, y, acc)


@inline
def keep_smaller(old, new):
    return minimum(old, new)


@inline
def replace(old, new):
    return new


@inline
def with_rows_in_lanes(step, merge, rows, tail, vector, start, out, out_tail, block):
    """out[i] = merge(out[i], start + the steps over the features), a block of rows at a time."""
    m, d = rows.shape
    size, width = block.shape[1], lanes(block_of(rows))
    for i in range(0, m, size):
        source, target, at = (rows, out, i) if i + size <= m else (tail, out_tail, 0)
        pack(source, at, None, block)
        for s in range(0, size, width):
            acc = full(widen(block_of(rows)), start)
            for p in range(d):
                acc = step(acc, widen(load_block(block, p, s)), full(acc, vector[p]))
            store(merge(load_like(acc, target, at + s), acc), target, at + s)


@inline
def with_features_in_lanes(step, merge, rows, tail, vector, start, out, out_tail):
    """The same, a few rows at a time."""
    m, d = rows.shape
    width = lanes(rows)
    for i in range(0, m, ROWS_AT_ONCE):
        source, target, at = (rows, out, i) if i + ROWS_AT_ONCE <= m else (tail, out_tail, 0)
        acc, p = zeros(ROWS_AT_ONCE, widen(line_of(rows))), 0
        while p + width <= d:
            prefetch(ROWS_AT_ONCE, rows, i + 2 * ROWS_AT_ONCE, ROWS_AT_ONCE * p)
            x = widen(load_rows(ROWS_AT_ONCE, source, at, p))
            acc = step(acc, x, load_like(widen(line_of(rows)), vector, p))
            p += width
        if p < d:
            x = widen(load_rows_part(ROWS_AT_ONCE, source, at, p, d - p))
            acc = step(acc, x, load_like(widen(line_of(rows)), vector, p))
        value = totals(acc) + start
        store(merge(load_like(value, target, at), value), target, at)


@kernel(*ARGUMENTS, OUT(REAL, 2))
def distance_few_features(rows, tail, vector, start, out, out_tail, block):
    """out[i] = min(out[i], |rows[i] - vector|**2)"""
    with_rows_in_lanes(add_square, keep_smaller, rows, tail, vector, start, out, out_tail, block)


@kernel(*ARGUMENTS)
def distance_many_features(rows, tail, vector, start, out, out_tail):
    """out[i] = min(out[i], |rows[i] - vector|**2)"""
    with_features_in_lanes(add_square, keep_smaller, rows, tail, vector, start, out, out_tail)


@kernel(*ARGUMENTS, OUT(REAL, 2))
def linear_few_features(rows, tail, vector, start, out, out_tail, block):
    """out[i] = rows[i] @ vector + start"""
    with_rows_in_lanes(add_product, replace, rows, tail, vector, start, out, out_tail, block)


@kernel(*ARGUMENTS)
def linear_many_features(rows, tail, vector, start, out, out_tail):
    """out[i] = rows[i] @ vector + start"""
    with_features_in_lanes(add_product, replace, rows, tail, vector, start, out, out_tail)


def _run(few: Kernel, many: Kernel, rows: np.ndarray, vector: np.ndarray, start: float, out: np.ndarray) -> None:
    """Pad what has to be, choose the kernel by the number of features, and run it."""
    dtype, (m, d) = rows.dtype, rows.shape
    is_few = d < line_length(dtype)
    group = BLOCK_BYTES // dtype.itemsize if is_few else ROWS_AT_ONCE
    size = padded(d, dtype)
    wide_vector = np.zeros(size)
    wide_vector[:d] = vector
    out_tail = tail_of(out, group)
    arguments = (rows, tail_of(rows, group), wide_vector, start, out, out_tail)
    if is_few:
        few[dtype](*arguments, aligned((size, group), dtype))
    else:
        many[dtype](*arguments)
    rest = m % group
    if rest:
        out[m - rest :] = out_tail[:rest]


def min_distance(rows: np.ndarray, center: np.ndarray, distance: np.ndarray) -> None:
    """Lower each row's distance to that of a centre, if the centre is nearer.

    Parameters
    ----------
    rows : ndarray (m, d) of float32 or float64
    center : ndarray (d,) of float64
    distance : ndarray (m,) of float64
        INOUT: min(distance, |row - center|**2), from float64 differences.
    """
    _run(distance_few_features, distance_many_features, rows, center, 0.0, distance)


def linear(rows: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    """The linear function of a model, accumulated in float64.

    Parameters
    ----------
    rows : ndarray (m, d) of float32 or float64
    weights : ndarray (d + 1,) of float64
        The last is the intercept.
    out : ndarray (m,) of float64
        OUT: rows @ weights[:d] + weights[d].
    """
    _run(linear_few_features, linear_many_features, rows, weights[:-1], float(weights[-1]), out)
