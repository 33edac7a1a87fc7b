"""One-pass statistics of the rows: extremes, finiteness, power sums, and the accurate inertia."""

# mypy: allow-untyped-defs, allow-incomplete-defs

from collections.abc import Iterator
from math import gcd

import numpy as np
from numba import types

from .accumulator import MOST_ROWS, accumulate, carry
from .exact import CHUNK, line_length, padded, split
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


@kernel(IN(REAL, 2), types.int64, IN(types.float64, 2), *[OUT(REAL, 1)] * 2, *[OUT(types.float64, 2)] * 2)
def chunk_sums(rows, chunk, origins, low, high, sums, squares):
    """Lower low and raise high; of each chunk, the sums of row - origin and of its square; all padded to lines."""
    m, d = rows.shape
    width = lanes(rows)
    for c in range(origins.shape[0]):
        chunk_stop = min((c + 1) * chunk, m)
        for start in range(c * chunk, chunk_stop, BAND):
            stop = min(start + BAND, chunk_stop)
            for p in range(0, d, width):
                first = full(widen(line_of(rows)), 0.0)
                second, origin = first, load_like(first, origins, c, p)
                smallest, largest = load(low, p), load(high, p)
                if p + width <= d:
                    for i in range(start, stop):
                        prefetch(1, rows, i + BAND, p)
                        x = load(rows, i, p)
                        smallest, largest = minimum(smallest, x), maximum(largest, x)
                        difference = widen(x) - origin
                        first, second = first + difference, fma(difference, difference, second)
                else:
                    for i in range(start, stop):
                        x = load_part(rows, i, p, d - p)
                        smallest, largest = minimum(smallest, x), maximum(largest, x)
                        difference = widen(x) - origin
                        first, second = first + difference, fma(difference, difference, second)
                store(smallest, low, p)
                store(largest, high, p)
                store(load_like(first, sums, c, p) + first, sums, c, p)
                store(load_like(second, squares, c, p) + second, squares, c, p)


def summarize(rows: np.ndarray, minimum: np.ndarray, maximum: np.ndarray, limbs: np.ndarray) -> int:
    """Extremes and power sums of each feature, and the first value that is not finite.

    What a chunk adds to a sum is rounded as sums of the distances from its first row are, which are no larger than
    the spread of the data; the rest is exact.

    Parameters
    ----------
    rows : ndarray (m, d) of float32 or float64
        Its first row is at a global multiple of `CHUNK`.
    minimum, maximum : ndarray (d,) of float64
        INOUT: lowered and raised; meaningless if a value is not finite.
    limbs : ndarray (LIMBS, 2, d) of int64
        INOUT: the sums of the values and of their squares are added, see `mean_and_variance`; meaningless if a
        value is not finite or its square overflows.

    Returns
    -------
    int
        row * d + feature of the first NaN or infinity, or -1.
    """
    dtype, d = rows.dtype, rows.shape[1]
    for block in range(0, len(rows), MOST_ROWS):
        offset = block
        for part, fold in folded(rows[block : block + MOST_ROWS]):
            size = padded(d * fold, dtype)
            first_rows = part[:: CHUNK // fold, :d].astype(np.float64)
            origins, sums, squares = np.zeros((3, len(first_rows), size))
            origins[:, : d * fold] = np.tile(first_rows, fold)
            low, high = np.full(size, np.inf, dtype), np.full(size, -np.inf, dtype)
            chunk_sums[dtype](part, CHUNK // fold, origins, low, high, sums, squares)
            for chunk in np.flatnonzero(~np.isfinite(sums).all(axis=1)):
                start = offset + chunk * CHUNK
                bad = np.flatnonzero(~np.isfinite(rows[start : min(start + CHUNK, offset + part.size // d)]))
                if len(bad):
                    return int(start * d + bad[0])
            np.minimum(minimum, low[: d * fold].reshape(fold, d).min(axis=0), out=minimum)
            np.maximum(maximum, high[: d * fold].reshape(fold, d).max(axis=0), out=maximum)
            accumulate[np.float64](first_rows, sums, squares, part.size // d, limbs)
            offset += part.size // d
        carry(limbs)
    return -1


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
