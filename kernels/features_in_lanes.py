"""The Lloyd kernel with features in lanes, for few centres and many features: rows need no packing.

A score is accumulated in the lanes of a line, which are added by halves at the end.
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
    each,
    full,
    iota,
    lanes,
    line_of,
    load,
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

ROWS_AT_ONCE = 2
TILE, LAST_TILES = (10, (5, 2)) if WIDE else (3, (2, 1))
"""Centres that are compared at a time, as many as have their products in registers, and the last of them."""


@inline
def closer_total(state, products):
    best, label, c, norms = state
    score = totals(products) + norms[c]
    better = score < best
    return where(better, score, best), where(better, c, label), c + 1, norms


@inline
def compare(n, centers, norms, c, rows, i, shift, best, label):
    """Compare n centres from c on with the best so far; the rows that come next are fetched meanwhile."""
    d, width, p = rows.shape[1], lanes(rows), 0
    tile = zeros(n, zeros(ROWS_AT_ONCE, line_of(rows)))
    while p + width <= d:
        if c == 0:
            prefetch_rows(ROWS_AT_ONCE, rows, i + ROWS_AT_ONCE, p)
        x = minus(load_rows(ROWS_AT_ONCE, rows, i, p), load(shift, p))
        tile = add_outer(tile, load_rows(n, centers, c, p), x)
        p += width
    if p < d:
        x = minus(load_rows_part(ROWS_AT_ONCE, rows, i, p, d - p), load(shift, p))
        tile = add_outer(tile, load_rows(n, centers, c, p), x)
    best, label, _, _ = reduce(closer_total, tile, (best, label, c, norms))
    return best, label


@kernel(*arguments(2), returns=CHANGED_AND_SCORE)
def lloyd_few_centers(
    rows, tail, weights, weights_tail, centers, norms, shift, correction, quanta, update,
    labels, sums, counts, chunk_counts, chunk_sums, block, block_labels, scores,
):  # fmt: skip
    """Few centres, many features: two rows at a time; neither block nor scores is used."""
    m, d = rows.shape
    none = totals(zeros(ROWS_AT_ONCE, line_of(rows)))
    changed, score, rest = 0, 0.0, 0.0
    for start in range(0, m, CHUNK):
        stop = min(start + CHUNK, m)
        chunk_score = 0.0
        for i in range(start, stop, ROWS_AT_ONCE):
            valid = min(ROWS_AT_ONCE, stop - i)
            source, at = (rows, i) if valid == ROWS_AT_ONCE else (tail, 0)
            best, label, c = full(none, np.inf), full(iota(none), 0), 0
            while c + TILE <= norms.size:
                best, label = compare(TILE, centers, norms, c, source, at, shift, best, label)
                c += TILE
            if norms.size - c == LAST_TILES[0]:
                best, label = compare(LAST_TILES[0], centers, norms, c, source, at, shift, best, label)
            elif norms.size - c == LAST_TILES[1]:
                best, label = compare(LAST_TILES[1], centers, norms, c, source, at, shift, best, label)
            store(label, block_labels, 0)
            changed += publish(block_labels, valid, labels, i)
            if update:
                best_of = each(best)
                for r in range(valid):
                    weight = 1.0 if weights is None else weights[i + r]
                    chunk_score += weight * np.float64(best_of[r])
                    chunk_counts[block_labels[r]] += weight
                    add_row(chunk_sums, block_labels[r], rows, i + r, shift, weight)
        if update:
            flush_sums(chunk_sums, chunk_counts, correction, quanta, sums, counts)
            high, low = split(chunk_score, quanta, d + 1)
            score += high
            rest += low
    return changed, score, rest
