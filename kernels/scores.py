"""What the kernels of linear models share: linear functions of the rows, and sums of the rows times a number each.

With rows in lanes a block of rows is packed feature by feature; with features in lanes eight rows are taken at a
time.  Either way n linear functions are evaluated at once: weights is an array of n or more rows, padded with
zeros to whole lines.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs

from typing import Any

import numpy as np

from .blocks import add_line_products, add_lines
from .exact import BLOCK_BYTES, aligned, line_length, padded, rounded, with_tails
from .registry import Kernel, inline
from .simd import (
    BLOCK_LINES,
    add_outer,
    dot,
    fma,
    items_down,
    lanes,
    line_of,
    load,
    load_block,
    load_part,
    load_rows,
    load_rows_part,
    prefetch,
    store,
    store_part,
    total,
    widen,
)

ROWS_AT_ONCE = 8  # with features in lanes
HALF_OF_THEM = 4
LONG_LINES = 4  # rows from which on prefetching for the next eight is left in part to the second loop over them
AHEAD_BYTES = 16384  # how far ahead of the rows in work others are prefetched; at least the next ones
SECOND_LINES = BLOCK_LINES // 2
FIRST_LINES = BLOCK_LINES - SECOND_LINES


@inline
def coming_row(rows, i, group):
    """Where to prefetch from while the group of rows from i on is in work."""
    group_bytes = max(1, group * rows.shape[1] * rows.itemsize)
    return i + group * max(1, AHEAD_BYTES // group_bytes)


# ---- rows in lanes -------------------------------------------------------------------------------


@inline
def add_scores(tile, weights, c, block, r, rows, coming):
    """tile[j] + the packed rows from r on times weights[c + j]; half of the rows coming are prefetched."""
    width = lanes(rows)
    # Evenly among the arithmetic: a core has fewer buffers for lines on their way than a block has lines.
    for p in range(rows.shape[1]):
        prefetch(FIRST_LINES, rows, coming + r, BLOCK_LINES * width * p)
        tile = fma(items_down(tile, weights, c, p), load_block(block, p, r), tile)
    return tile


@inline
def add_block(lane_sums, factor, block, r, rows, coming):
    """lane_sums[p] += factor * feature p, lane_sums[d] += factor; the other half of the rows is prefetched."""
    d, width = rows.shape[1], lanes(rows)
    for p in range(d):
        prefetch(SECOND_LINES, rows, coming + r, BLOCK_LINES * width * p + FIRST_LINES * width)
        sums = add_line_products(load(lane_sums, p, 0), factor, load_block(block, p, r))
        store(sums, lane_sums, p, 0)
    store(add_lines(load(lane_sums, d, 0), factor), lane_sums, d, 0)


@inline
def flush_lanes(lane_sums, quanta, sums):
    """Add the totals of a chunk to sums, rounded, and clear them."""
    zero = line_of(lane_sums)
    for p in range(lane_sums.shape[0]):
        sums[p] += rounded(total(widen(load(lane_sums, p, 0))), quanta[p])
        store(zero, lane_sums, p, 0)


# ---- features in lanes ---------------------------------------------------------------------------


@inline
def add_products_of_eight(tile, weights, source, at, rows, coming):
    """tile[j][r] + weights[j] * row at + r, lane by lane; rows coming are prefetched, of long ones half."""
    d, width, p = rows.shape[1], lanes(rows), 0
    while p + width <= d:
        prefetch(HALF_OF_THEM, rows, coming, ROWS_AT_ONCE * p)
        if d < LONG_LINES * width:
            prefetch(HALF_OF_THEM, rows, coming, ROWS_AT_ONCE * p + HALF_OF_THEM * width)
        tile = add_outer(tile, load_rows(tile, weights, 0, p), load_rows(ROWS_AT_ONCE, source, at, p))
        p += width
    if p < d:
        last = load_rows_part(ROWS_AT_ONCE, source, at, p, d - p)
        tile = add_outer(tile, load_rows(tile, weights, 0, p), last)
    return tile


@inline
def add_eight(sums, factors, source, at, rows, coming):
    """Adds to sums factors[0] * row at + factors[1] * row at + 1 + ..., eight of them; the other half comes."""
    d, width, p = source.shape[1], lanes(source), 0
    while p + width <= d:
        if d >= LONG_LINES * width:
            prefetch(HALF_OF_THEM, rows, coming, ROWS_AT_ONCE * p + HALF_OF_THEM * width)
        store(dot(factors, load_rows(ROWS_AT_ONCE, source, at, p), load(sums, p)), sums, p)
        p += width
    if p < d:
        last = load_rows_part(ROWS_AT_ONCE, source, at, p, d - p)
        store_part(dot(factors, last, load_part(sums, p, d - p)), sums, p, d - p)


@inline
def flush(chunk_sums, quanta, sums):
    """Add the totals of a chunk to sums, rounded, and clear them."""
    for p in range(chunk_sums.size):
        sums[p] += rounded(np.float64(chunk_sums[p]), quanta[p])
        chunk_sums[p] = 0


# ---- drivers -------------------------------------------------------------------------------------

PATHS = ("few_features", "many_features")


def choose_logistic_path(d: int, dtype: np.dtype) -> str:
    """Which kernel is fastest for d features: all workers choose alike, by d and the dtype alone.

    Parameters
    ----------
    d : int
    dtype : dtype
        float32 or float64, that of the rows.

    Returns
    -------
    {"few_features", "many_features"}
        Rows in lanes; features in lanes.

    Notes
    -----
    The number is that of ``python -m benchmarks.paths``.
    """
    return "few_features" if d < 16 + 2 * line_length(dtype) else "many_features"


def padded_weights(weights: np.ndarray, dtype: np.dtype, group: int = 1) -> np.ndarray:
    """Weights (n, d) in the dtype of the rows, padded with zeros to whole lines and to groups of rows."""
    n, d = weights.shape
    out = aligned((-(-n // group) * group, padded(d, dtype)), dtype)
    out[:n, :d] = weights
    return out


def run_path(
    few: Kernel, many: Kernel, columns: tuple[np.ndarray, ...], weights: np.ndarray, quanta: np.ndarray,
    out: np.ndarray, sample_weight: np.ndarray | None, path: str | None,
) -> Any:  # fmt: skip
    """Pad what has to be, and run the kernel of the path; columns are the rows and what belongs to each of them.

    Raises
    ------
    ValueError
        If the path is not known.
    """
    rows = columns[0]
    dtype, d = rows.dtype, rows.shape[1]
    path = path or choose_logistic_path(d, dtype)
    if path not in PATHS:
        raise ValueError(f"path {path!r} is not one of {', '.join(PATHS)}")
    size = BLOCK_BYTES // dtype.itemsize
    scratch: tuple[np.ndarray, ...]
    if path == "few_features":
        chosen, group = few, size
        scratch = (aligned((d + 1, line_length(dtype)), dtype), aligned((padded(d, dtype), size), dtype))
    else:
        chosen, group, scratch = many, ROWS_AT_ONCE, (aligned((d,), dtype),)
    tailed = with_tails(group, *columns, sample_weight)
    return chosen.given(sample_weight)[dtype](
        *tailed, padded_weights(weights[:, :d], dtype), weights[:, d].astype(dtype), quanta, out, *scratch
    )
