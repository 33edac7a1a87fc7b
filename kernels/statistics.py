"""One-pass statistics of the rows: extremes, finiteness, moments, and the accurate inertia."""

# mypy: allow-untyped-defs, allow-incomplete-defs

from collections.abc import Iterator
from math import gcd

import numpy as np
from numba import types

from .exact import CHUNK, line_length, padded, rounded, split
from .registry import IN, OUT, REAL, kernel
from .simd import (
    fma,
    full,
    lanes,
    line_of,
    load,
    load_like,
    load_part,
    maximum,
    minimum,
    prefetch,
    store,
    total,
    widen,
)

BAND = 32  # rows whose sums for one line of features stay in registers
FOLD_BELOW_LINES = 4


def fold_of(d: int, dtype: np.dtype) -> int:
    """How many rows to read as one, so that a row is whole lines; a divisor of `CHUNK`.  1 for wide rows."""
    lane_count = line_length(dtype)
    return lane_count // gcd(d, lane_count) if d < FOLD_BELOW_LINES * lane_count else 1


def folded(rows: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """The rows, `fold` at a time as one long row, then those that are left over one by one.

    Yields
    ------
    part : ndarray (m / fold, d * fold)
    fold : int
    """
    m, d = rows.shape
    fold = fold_of(d, rows.dtype)
    whole = m - m % fold
    if whole:
        yield rows[:whole].reshape(whole // fold, d * fold), fold
    if whole < m:
        yield rows[whole:], 1


@kernel(IN(REAL, 2), OUT(REAL, 1), OUT(REAL, 1), returns=types.int64)
def extremes(rows, low, high):
    """Lower low and raise high, both padded to whole lines; the flat index of what is not finite, or -1."""
    m, d = rows.shape
    width = lanes(rows)
    for start in range(0, m, BAND):
        stop = min(start + BAND, m)
        poison = line_of(rows)  # x - x is 0, or NaN if x is not finite
        for p in range(0, d, width):
            smallest, largest = load(low, p), load(high, p)
            if p + width <= d:
                for i in range(start, stop):
                    prefetch(1, rows, i + BAND, p)
                    x = load(rows, i, p)
                    smallest, largest, poison = minimum(smallest, x), maximum(largest, x), poison + (x - x)
            else:
                for i in range(start, stop):
                    x = load_part(rows, i, p, d - p)
                    smallest, largest, poison = minimum(smallest, x), maximum(largest, x), poison + (x - x)
            store(smallest, low, p)
            store(largest, high, p)
        if total(poison) != 0.0:
            for i in range(start, stop):
                for p in range(d):
                    if rows[i, p] - rows[i, p] != 0.0:
                        return i * d + p
    return -1


def scan(rows: np.ndarray, minimum: np.ndarray, maximum: np.ndarray) -> int:
    """Extremes of each feature, and the first value that is not finite.

    Parameters
    ----------
    rows : ndarray (m, d) of float32 or float64
    minimum, maximum : ndarray (d,) of float64
        INOUT: lowered and raised; meaningless if a value is not finite.

    Returns
    -------
    int
        row * d + feature of the first NaN or infinity, or -1.
    """
    dtype, d = rows.dtype, rows.shape[1]
    offset = 0
    for part, fold in folded(rows):
        low = np.full(padded(d * fold, dtype), np.inf, dtype)
        high = np.full(padded(d * fold, dtype), -np.inf, dtype)
        bad = extremes[dtype](part, low, high)
        if bad >= 0:
            return offset + bad
        np.minimum(minimum, low[: d * fold].reshape(fold, d).min(axis=0), out=minimum)
        np.maximum(maximum, high[: d * fold].reshape(fold, d).max(axis=0), out=maximum)
        offset += part.size
    return -1


@kernel(IN(REAL, 2), types.int64, *[IN(types.float64, 1)] * 2, OUT(types.float64, 1), OUT(types.float64, 2))
def power_sums(rows, chunk, shift, quanta, sums, chunk_sums):
    """Sums of (row - shift) and of its squares; shift and the scratch chunk_sums (2, d) are padded to lines."""
    m, d = rows.shape
    width = lanes(rows)
    for chunk_start in range(0, m, chunk):
        chunk_stop = min(chunk_start + chunk, m)
        for start in range(chunk_start, chunk_stop, BAND):
            stop = min(start + BAND, chunk_stop)
            for p in range(0, d, width):
                zero = full(widen(line_of(rows)), 0.0)
                offset = load_like(zero, shift, p)
                first, second = load_like(zero, chunk_sums, 0, p), load_like(zero, chunk_sums, 1, p)
                if p + width <= d:
                    for i in range(start, stop):
                        prefetch(1, rows, i + BAND, p)
                        x = widen(load(rows, i, p)) - offset
                        first, second = first + x, fma(x, x, second)
                else:
                    for i in range(start, stop):
                        x = widen(load_part(rows, i, p, d - p)) - offset
                        first, second = first + x, fma(x, x, second)
                store(first, chunk_sums, 0, p)
                store(second, chunk_sums, 1, p)
        for power in range(2):
            for p in range(d):
                sums[power * d + p] += rounded(chunk_sums[power, p], quanta[power * d + p])
                chunk_sums[power, p] = 0.0


def moments(rows: np.ndarray, shift: np.ndarray, quanta: np.ndarray, sums: np.ndarray) -> None:
    """Sums of the first and second powers of each feature, in float64.

    Parameters
    ----------
    rows : ndarray (m, d) of float32 or float64
        Its first row is at a global multiple of `CHUNK`.
    shift : ndarray (d,) of float64
    quanta : ndarray (2 * d,) of float64
        To what chunk totals are rounded: see `quantum`.
    sums : ndarray (2 * d,) of float64
        INOUT: the sums of (row - shift), then those of (row - shift)**2, are added.
    """
    dtype, d = rows.dtype, rows.shape[1]
    for part, fold in folded(rows):
        size = padded(d * fold, dtype)
        long_shift = np.zeros(size)
        long_shift[: d * fold] = np.tile(shift, fold)
        long_quanta = np.tile(quanta.reshape(2, d), fold).ravel()
        part_sums = np.zeros(2 * d * fold)
        power_sums[dtype](part, CHUNK // fold, long_shift, long_quanta, part_sums, np.zeros((2, size)))
        sums += part_sums.reshape(2, fold, d).sum(axis=1).ravel()


@kernel(
    IN(REAL, 2), IN(types.float64, 2), IN(types.int32, 1), IN(types.float64, 1),
    returns=types.UniTuple(types.float64, 2),
)  # fmt: skip
def own_distances(rows, centers, labels, units):
    """The sum of squared distances to the own centre; centers are padded to whole lines."""
    m, d = rows.shape
    width = lanes(rows)
    result, rest = 0.0, 0.0
    for start in range(0, m, CHUNK):
        squares = widen(line_of(rows))
        for i in range(start, min(start + CHUNK, m)):
            c, p = labels[i], 0
            while p + width <= d:
                difference = widen(load(rows, i, p)) - load_like(squares, centers, c, p)
                squares = fma(difference, difference, squares)
                p += width
            if p < d:
                difference = widen(load_part(rows, i, p, d - p)) - load_like(squares, centers, c, p)
                squares = fma(difference, difference, squares)
        high, low = split(total(squares), units, 0)
        result += high
        rest += low
    return result, rest


def inertia(rows: np.ndarray, centers: np.ndarray, labels: np.ndarray, units: np.ndarray) -> tuple[float, float]:
    """The sum of squared distances of the rows to their centres, by float64 differences.

    Parameters
    ----------
    rows : ndarray (m, d) of float32 or float64
        Its first row is at a global multiple of `CHUNK`.
    centers : ndarray (k, d) of float64
    labels : ndarray (m,) of int32
        Each from 0 to k - 1; that is not checked.
    units : ndarray (2,) of float64
        Into multiples of what chunk totals are split, see `quantum_pair`.

    Returns
    -------
    inertia, rest : float
        Two parts of the sum, each exact to add to those of other rows; add both in the end.
    """
    dtype, (k, d) = rows.dtype, centers.shape
    wide = np.zeros((k, padded(d, dtype)))
    wide[:, :d] = centers
    return own_distances[dtype](rows, wide, labels, units)
