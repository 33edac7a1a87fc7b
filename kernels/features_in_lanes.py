"""The Lloyd kernel with features in lanes, for few centres and many features: rows need no packing.

A score is accumulated in the lanes of a line, which are added by halves at the end.  A block of rows goes through
one slab of the features after another, so that the centres' part of it stays in the first-level cache.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs

import numpy as np

from .blocks import add_row
from .clusters import CHANGED_AND_SCORE, arguments, flush_sums, publish
from .exact import CHUNK, split
from .registry import inline, kernel
from .simd import (
    WIDE,
    add_outer,
    full,
    iota,
    lanes,
    line_of,
    load,
    load_like,
    load_rows,
    load_rows_part,
    minus,
    prefetch_rows,
    reduce,
    store,
    totals,
    where,
    zeros,
)

BLOCK_ROWS, ROWS_AT_ONCE = 16, 2
SLAB_LINES = 32
TILE, LAST_TILES = (10, (5, 2)) if WIDE else (3, (2, 1))
"""Centres that are compared at a time, as many as have their products in registers, and the last of them."""


@inline
def closer_total(state, products):
    best, label, c, norms = state
    score = totals(products) + norms[c]
    better = score < best
    return where(better, score, best), where(better, c, label), c + 1, norms


@inline
def compare(n, centers, norms, c, slab, rows, i, shift, scores, place, coming, best, label):
    """Add a slab's products to the scores of n centres from c on, and after the last slab find the best.

    The scores wait for the next slab from a place on; rows that come later are fetched meanwhile.
    """
    (first, last), d, width, p = slab, rows.shape[1], lanes(rows), slab[0]
    tile = zeros(n, zeros(ROWS_AT_ONCE, line_of(rows)))
    if first > 0:
        tile = load_like(tile, scores, place, 0)
    while p + width <= last:
        if c == 0:
            prefetch_rows(ROWS_AT_ONCE, rows, coming, p)
        x = minus(load_rows(ROWS_AT_ONCE, rows, i, p), load(shift, p))
        tile = add_outer(tile, load_rows(n, centers, c, p), x)
        p += width
    if p < last:
        x = minus(load_rows_part(ROWS_AT_ONCE, rows, i, p, d - p), load(shift, p))
        tile = add_outer(tile, load_rows(n, centers, c, p), x)
    if last == d:
        best, label, _, _ = reduce(closer_total, tile, (best, label, c, norms))
    else:
        store(tile, scores, place, 0)
    return best, label


@kernel(*arguments(2), returns=CHANGED_AND_SCORE)
def lloyd_few_centers(
    rows, tail, weights, weights_tail, centers, norms, shift, correction, quanta, update,
    labels, sums, counts, chunk_counts, chunk_sums, block, block_labels, scores,
):  # fmt: skip
    """Few centres, many features; block has the best score of each row."""
    m, d = rows.shape
    k, slab_size = norms.size, SLAB_LINES * lanes(rows)
    none = totals(zeros(ROWS_AT_ONCE, line_of(rows)))
    changed, score, rest = 0, 0.0, 0.0
    for start in range(0, m, CHUNK):
        stop = min(start + CHUNK, m)
        chunk_score = 0.0
        for i in range(start, stop, BLOCK_ROWS):
            valid = min(BLOCK_ROWS, stop - i)
            source, at = (rows, i) if valid == BLOCK_ROWS else (tail, 0)
            for first in range(0, d, slab_size):
                slab = first, min(first + slab_size, d)
                for r in range(0, valid, ROWS_AT_ONCE):
                    best, label, c, coming = full(none, np.inf), full(iota(none), 0), 0, i + BLOCK_ROWS + r
                    place = r * k
                    while c + TILE <= k:
                        best, label = compare(
                            TILE, centers, norms, c, slab, source, at + r, shift, scores, place, coming,
                            best, label,
                        )  # fmt: skip
                        c += TILE
                        place += TILE * ROWS_AT_ONCE
                    if k - c == LAST_TILES[0]:
                        best, label = compare(
                            LAST_TILES[0], centers, norms, c, slab, source, at + r, shift, scores, place, coming,
                            best, label,
                        )  # fmt: skip
                    elif k - c == LAST_TILES[1]:
                        best, label = compare(
                            LAST_TILES[1], centers, norms, c, slab, source, at + r, shift, scores, place, coming,
                            best, label,
                        )  # fmt: skip
                    store(best, block, 0, r)
                    store(label, block_labels, r)
            changed += publish(block_labels, valid, labels, i)
            if update:
                for first in range(0, d, slab_size):
                    slab = first, min(first + slab_size, d)
                    for r in range(valid):
                        weight = 1.0 if weights is None else weights[i + r]
                        add_row(chunk_sums, block_labels[r], rows, i + r, slab, shift, weight)
                for r in range(valid):
                    weight = 1.0 if weights is None else weights[i + r]
                    chunk_score += weight * np.float64(block[0, r])
                    chunk_counts[block_labels[r]] += weight
        if update:
            flush_sums(chunk_sums, chunk_counts, correction, quanta, sums, counts)
            high, low = split(chunk_score, quanta, d + 1)
            score += high
            rest += low
    return changed, score, rest
