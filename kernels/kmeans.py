"""One Lloyd iteration: label each row with its nearest centre, and total the rows of each cluster.

Labels come from the scores |c|**2 - 2 x.c, smallest first, ties to the lowest index.  A score is accumulated
feature after feature ("few_features", "general") or in the lanes of a line ("few_centers"), so that it
depends on the row and the centre alone.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs

import numpy as np
from numba import types

from .blocks import add_lines, add_products, add_row, pack
from .centers import FEATURE_TILE, PackedCenters
from .exact import BLOCK_BYTES, CHUNK, aligned, line_length, padded, rounded, split, tail_of
from .registry import IN, INTEGER, OUT, REAL, inline, kernel
from .simd import (
    add_outer,
    block_of,
    count,
    each,
    fma,
    full,
    iota,
    items,
    lanes,
    line_of,
    load,
    load_block,
    load_like,
    load_part,
    load_rows,
    load_rows_part,
    minus,
    narrow,
    prefetch_rows,
    reduce,
    store,
    store_part,
    total,
    totals,
    where,
    widen,
    zeros,
)

ROWS_AT_ONCE = 2  # in the features-in-lanes kernel
CHANGED_AND_INERTIA = types.Tuple((types.int64, types.float64, types.float64))
ARGUMENTS = (
    IN(REAL, 2),  # rows
    IN(REAL, 2),  # tail, see `tail_of`
    IN(REAL, 1),  # centers, packed; in two dimensions for features in lanes
    IN(REAL, 1),  # norms
    IN(REAL, 1),  # shift
    IN(types.float64, 1),  # correction
    IN(types.float64, 1),  # quanta
    types.boolean,  # update: whether to total the rows, too
    OUT(types.int32, 1),  # labels
    OUT(types.float64, 2),  # sums
    OUT(types.float64, 1),  # counts
    OUT(types.int64, 1),  # scratch: chunk_counts, all zero
    OUT(REAL, 2),  # scratch: chunk_sums, all zero
    OUT(REAL, 2),  # scratch: block
    OUT(INTEGER, 1),  # scratch: block_labels
)


@inline
def publish(block_labels, size, labels, first):
    """Copy the labels of a block to their place; returns how many are new."""
    changed = 0
    for r in range(size):
        label = np.int32(block_labels[r])
        changed += label != labels[first + r]
        labels[first + r] = label
    return changed


@inline
def publish_block(label, labels, first):
    short = narrow(label)
    same = count(load_like(short, labels, first) == short)
    store(short, labels, first)
    return lanes(short) - same


@inline
def flush_sums(chunk_sums, chunk_counts, correction, quanta, sums, counts):
    """Add the totals of a chunk to those of the slice, rounded, and clear them."""
    for c in range(counts.size):
        size = chunk_counts[c]
        if size:
            chunk_counts[c] = 0
            counts[c] += size
            for p in range(correction.size):
                sums[c, p] += rounded(chunk_sums[c, p] + size * correction[p], quanta[p])
                chunk_sums[c, p] = 0


# ---- rows in lanes -------------------------------------------------------------------------------


@inline
def closer(state, score):
    best, label, c = state
    better = score < best
    return where(better, score, best), where(better, c, label), c + 1


@inline
def compare(score, centers, c, d, block, s, best, label):
    """Compare centres c, c + 1, ... with the best so far; score starts as their squared norms."""
    best, label, _ = reduce(closer, add_products(score, centers, c, d, block, s), (best, label, c))
    return best, label


@inline
def nearest(block, s, centers, norms, d):
    """The smallest score and its centre for each of a block of packed rows from s on."""
    zero = block_of(block)
    best, label, k, c = full(zero, np.inf), iota(zero), norms.size, 0
    label = full(label, 0)
    while c + 6 <= k:
        best, label = compare(full(zero, items(6, norms, c)), centers, c, d, block, s, best, label)
        c += 6
    if k - c == 4:
        best, label = compare(full(zero, items(4, norms, c)), centers, c, d, block, s, best, label)
    elif k - c == 2:
        best, label = compare(full(zero, items(2, norms, c)), centers, c, d, block, s, best, label)
    return best, label


@kernel(*ARGUMENTS, returns=CHANGED_AND_INERTIA)
def lloyd_general(
    rows, tail, centers, norms, shift, correction, quanta, update,
    labels, sums, counts, chunk_counts, chunk_sums, block, block_labels,
):  # fmt: skip
    """Any shape. Rows in lanes for the scores, features in lanes for the totals."""
    m, d = rows.shape
    size, step = block.shape[1], lanes(block_of(rows))
    changed, inertia, rest = 0, 0.0, 0.0
    for start in range(0, m, CHUNK):
        stop = min(start + CHUNK, m)
        squares, scores = line_of(rows), line_of(rows)
        for i in range(start, stop, size):
            valid = min(size, stop - i)
            source, at = (rows, i) if valid == size else (tail, 0)
            pack(source, at, shift, block)
            for s in range(0, size, step):
                best, label = nearest(block, s, centers, norms, d)
                store(label, block_labels, s)
                if valid == size:
                    changed += publish_block(label, labels, i + s)
                else:
                    best = where(iota(label) < valid - s, best, 0.0)
                scores = add_lines(scores, best)
            if valid < size:
                changed += publish(block_labels, valid, labels, i)
            if update:
                for r in range(valid):
                    c = block_labels[r]
                    chunk_counts[c] += 1
                    squares = add_row(chunk_sums, c, source, at + r, shift, squares)
        if update:
            flush_sums(chunk_sums, chunk_counts, correction, quanta, sums, counts)
            distance = total(widen(squares)) + total(widen(scores))
            high, low = split(max(distance, 0.0), quanta, d)
            inertia += high
            rest += low
    return changed, inertia, rest


@kernel(*ARGUMENTS, returns=CHANGED_AND_INERTIA)
def lloyd_few_features(
    rows, tail, centers, norms, shift, correction, quanta, update,
    labels, sums, counts, chunk_counts, chunk_sums, block, block_labels,
):  # fmt: skip
    """Few features and few centres: the totals stay in lanes, chunk_sums[c * d + p] is a line."""
    m, d = rows.shape
    k, size, step = counts.size, block.shape[1], lanes(block_of(rows))
    changed, inertia, rest = 0, 0.0, 0.0
    for start in range(0, m, CHUNK):
        stop = min(start + CHUNK, m)
        distances = line_of(rows)
        for i in range(start, stop, size):
            valid = min(size, stop - i)
            source, at = (rows, i) if valid == size else (tail, 0)
            pack(source, at, shift, block)
            for s in range(0, size, step):
                distance, label = nearest(block, s, centers, norms, d)
                if valid == size:
                    changed += publish_block(label, labels, i + s)
                else:
                    store(label, block_labels, s)
                if update:
                    for p in range(d):
                        x = load_block(block, p, s)
                        distance = fma(x, x, distance)
                    if valid < size:
                        is_row = iota(label) < valid - s
                        label, distance = where(is_row, label, -1), where(is_row, distance, 0.0)
                    distances = add_lines(distances, distance)
                    for c in range(k):
                        mine = label == c
                        chunk_counts[c] += count(mine)
                        for p in range(d):
                            own = where(mine, load_block(block, p, s), 0.0)
                            store(add_lines(load(chunk_sums, c * d + p, 0), own), chunk_sums, c * d + p, 0)
            if valid < size:
                changed += publish(block_labels, valid, labels, i)
        if update:
            zero = line_of(rows)
            for c in range(k):
                in_chunk = chunk_counts[c]
                chunk_counts[c] = 0
                counts[c] += in_chunk
                for p in range(d):
                    own_total = total(load(chunk_sums, c * d + p, 0)) + in_chunk * correction[p]
                    sums[c, p] += rounded(own_total, quanta[p])
                    store(zero, chunk_sums, c * d + p, 0)
            high, low = split(max(total(widen(distances)), 0.0), quanta, d)
            inertia += high
            rest += low
    return changed, inertia, rest


# ---- features in lanes ---------------------------------------------------------------------------


@inline
def closer_total(state, products):
    best, label, c, norms = state
    score = totals(products) + norms[c]
    better = score < best
    return where(better, score, best), where(better, c, label), c + 1, norms


@inline
def compare_features(tile, centers, norms, c, rows, i, shift, best, label):
    """tile: zeros, one row per centre from c on and one column per row from i on."""
    d, width, p = rows.shape[1], lanes(rows), 0
    while p + width <= d:
        prefetch_rows(ROWS_AT_ONCE, rows, i + ROWS_AT_ONCE, p)
        x = minus(load_rows(ROWS_AT_ONCE, rows, i, p), load(shift, p))
        tile = add_outer(tile, load_rows(tile, centers, c, p), x)
        p += width
    if p < d:
        x = minus(load_rows_part(ROWS_AT_ONCE, rows, i, p, d - p), load(shift, p))
        tile = add_outer(tile, load_rows(tile, centers, c, p), x)
    best, label, _, _ = reduce(closer_total, tile, (best, label, c, norms))
    return best, label


@inline
def add_pair(chunk_sums, first, second, rows, i, shift, squares):
    """`add_row` of rows i and i + 1, which belong to clusters first and second."""
    d, width, p = rows.shape[1], lanes(rows), 0
    first_squares, second_squares = full(squares, 0.0), full(squares, 0.0)
    while p + width <= d:
        offset = load(shift, p)
        x = load(rows, i, p) - offset
        y = load(rows, i + 1, p) - offset
        store(load(chunk_sums, first, p) + x, chunk_sums, first, p)
        store(load(chunk_sums, second, p) + y, chunk_sums, second, p)
        first_squares = fma(x, x, first_squares)
        second_squares = fma(y, y, second_squares)
        p += width
    if p < d:
        offset = load(shift, p)
        x = load_part(rows, i, p, d - p) - offset
        y = load_part(rows, i + 1, p, d - p) - offset
        store_part(load_part(chunk_sums, first, p, d - p) + x, chunk_sums, first, p, d - p)
        store_part(load_part(chunk_sums, second, p, d - p) + y, chunk_sums, second, p, d - p)
        first_squares = fma(x, x, first_squares)
        second_squares = fma(y, y, second_squares)
    return squares + (first_squares + second_squares)


@kernel(*ARGUMENTS[:2], IN(REAL, 2), *ARGUMENTS[3:], returns=CHANGED_AND_INERTIA)
def lloyd_few_centers(
    rows, tail, centers, norms, shift, correction, quanta, update,
    labels, sums, counts, chunk_counts, chunk_sums, block, block_labels,
):  # fmt: skip
    """Few centres, many features. Features in lanes, two rows at a time; the block is not used."""
    m, d = rows.shape
    row_tile = zeros(ROWS_AT_ONCE, line_of(rows))
    changed, inertia, rest = 0, 0.0, 0.0
    for start in range(0, m, CHUNK):
        stop = min(start + CHUNK, m)
        squares, scores = line_of(rows), 0.0
        for i in range(start, stop, ROWS_AT_ONCE):
            valid = min(ROWS_AT_ONCE, stop - i)
            source, at = (rows, i) if valid == ROWS_AT_ONCE else (tail, 0)
            best = full(totals(row_tile), np.inf)
            label, c = full(iota(best), 0), 0
            while c + FEATURE_TILE <= norms.size:
                tile = zeros(FEATURE_TILE, row_tile)
                best, label = compare_features(tile, centers, norms, c, source, at, shift, best, label)
                c += FEATURE_TILE
            if norms.size - c == 5:
                tile_of_5 = zeros(5, row_tile)
                best, label = compare_features(tile_of_5, centers, norms, c, source, at, shift, best, label)
            elif norms.size - c == 2:
                tile_of_2 = zeros(2, row_tile)
                best, label = compare_features(tile_of_2, centers, norms, c, source, at, shift, best, label)
            store(label, block_labels, 0)
            changed += publish(block_labels, valid, labels, i)
            if update:
                score = each(best)
                for r in range(valid):
                    chunk_counts[block_labels[r]] += 1
                    scores += np.float64(score[r])
                if valid == ROWS_AT_ONCE:
                    squares = add_pair(chunk_sums, block_labels[0], block_labels[1], source, at, shift, squares)
                else:
                    squares = add_row(chunk_sums, block_labels[0], source, at, shift, squares)
        if update:
            flush_sums(chunk_sums, chunk_counts, correction, quanta, sums, counts)
            high, low = split(max(total(widen(squares)) + scores, 0.0), quanta, d)
            inertia += high
            rest += low
    return changed, inertia, rest


# ---- drivers -------------------------------------------------------------------------------------

BY_PATH = {"few_features": lloyd_few_features, "few_centers": lloyd_few_centers, "general": lloyd_general}


def _run(
    rows: np.ndarray, packed: PackedCenters, quanta: np.ndarray, labels: np.ndarray,
    sums: np.ndarray, counts: np.ndarray, update: bool,
) -> tuple[int, float, float]:  # fmt: skip
    dtype, k, d = rows.dtype, packed.k, packed.d
    size = BLOCK_BYTES // dtype.itemsize
    block_shape, sums_shape = (padded(d, dtype), size), (k, d)
    group = size
    if packed.path == "few_centers":
        group, block_shape = ROWS_AT_ONCE, (1, size)
    elif packed.path == "few_features":
        sums_shape = (k * d, line_length(dtype))
    integer = np.int32 if dtype.itemsize == 4 else np.int64
    return BY_PATH[packed.path][dtype](
        rows, tail_of(rows, group), packed.centers, packed.norms, packed.shift, packed.correction, quanta, update,
        labels, sums, counts, np.zeros(k, np.int64), aligned(sums_shape if update else (0, 0), dtype),
        aligned(block_shape, dtype), np.empty(size, integer),
    )  # fmt: skip


def lloyd(
    rows: np.ndarray,
    packed: PackedCenters,
    quanta: np.ndarray,
    labels: np.ndarray,
    totals: np.ndarray,
    counts: np.ndarray,
) -> tuple[int, float, float]:
    """One Lloyd iteration over the rows of one inner worker.

    Parameters
    ----------
    rows : ndarray (m, d) of float32 or float64
        C-contiguous; its first row is at a global multiple of `CHUNK`.
    packed : PackedCenters
        From `pack_centers`, for the dtype of the rows.
    quanta : ndarray (d + 2,) of float64
        To what the totals of each feature are rounded, see `quantum`, and last the two units of the inertia, see
        `quantum_pair`.
    labels : ndarray (m,) of int32
        INOUT: the labels of the last iteration, then the index of the nearest centre, the lowest among equals.
    totals : ndarray (k, d) of float64
        INOUT: the sum of (row - shift) over the rows of each cluster is added.
    counts : ndarray (k,) of float64
        INOUT: the number of rows of each cluster is added.

    Returns
    -------
    changed : int
        How many labels changed.
    inertia, rest : float
        Their sum is that of the squared distances to the nearest centres, in the dtype of the rows: good for
        watching convergence; `inertia` gives the accurate one.
    """
    if len(quanta) != packed.d + 2:
        raise ValueError(f"{len(quanta)} quanta for {packed.d} features: there must be {packed.d + 2}")
    return _run(rows, packed, quanta, labels, totals, counts, True)


def assign(rows: np.ndarray, packed: PackedCenters, labels: np.ndarray) -> None:
    """Label each row with its nearest centre, as `lloyd` does.

    Parameters
    ----------
    rows : ndarray (m, d) of float32 or float64
    packed : PackedCenters
    labels : ndarray (m,) of int32
        OUT.
    """
    unused = np.empty(0)
    _run(rows, packed, unused, labels, unused.reshape(0, 0), np.empty(packed.k), False)
