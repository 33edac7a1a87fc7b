"""Lloyd kernels with a row in each lane: a block of rows is packed feature by feature, centres are broadcast.

Scores of a tile of centres stay in registers while the features go by.  A score is the squared norm of the
centre, then one feature's product after the other: it depends on the row and the centre alone.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs

import numpy as np

from .blocks import add_lines, add_products, add_row, pack, pack_features, prefetch_lines
from .clusters import CHANGED_AND_SCORE, arguments, flush_sums, publish, publish_block
from .exact import CHUNK, rounded, split
from .registry import inline, kernel
from .simd import (
    block_of,
    count,
    full,
    iota,
    items,
    lanes,
    line_of,
    load,
    load_block,
    load_like,
    reduce,
    store,
    total,
    where,
    widen,
    zeros,
)

SLAB = 64
"""Features of a block that are packed and used together, so that they stay in the first-level cache."""


@inline
def closer(state, score):
    best, label, c = state
    better = score < best
    return where(better, score, best), where(better, c, label), c + 1


@inline
def compare(n, centers, norms, c, slab, block, s, scores, best, label):
    """Add a slab's products to the scores of n centres from c on, and after the last slab find the best."""
    zero, (first, last, d) = block_of(block), slab
    score = full(zero, items(n, norms, c)) if first == 0 else load_like(zeros(n, zero), scores, c, s)
    score = add_products(score, centers, c * d + first * n, last - first, block, s)
    if last == d:
        best, label, _ = reduce(closer, score, (best, label, c))
    else:
        store(score, scores, c, s)
    return best, label


@inline
def nearest(block, s, slab, centers, norms, scores, ahead):
    """The smallest score and its centre for each of a block of rows from s on, once the last slab is done.

    Meanwhile rows that come later are fetched, a few lines for each tile of centres: (rows, row, line, lines).
    """
    rows, row, line, share = ahead
    zero, k, c = block_of(block), norms.size, 0
    best, label = full(zero, np.inf), full(iota(zero), 0)
    while c + 6 <= k:
        prefetch_lines(rows, row, line, line + share)
        line += share
        best, label = compare(6, centers, norms, c, slab, block, s, scores, best, label)
        c += 6
    if k - c == 4:
        best, label = compare(4, centers, norms, c, slab, block, s, scores, best, label)
    elif k - c == 2:
        best, label = compare(2, centers, norms, c, slab, block, s, scores, best, label)
    return best, label


@kernel(*arguments(1), returns=CHANGED_AND_SCORE)
def lloyd_general(
    rows, tail, weights, weights_tail, centers, norms, shift, correction, quanta, update,
    labels, sums, counts, chunk_counts, chunk_sums, block, block_labels, scores,
):  # fmt: skip
    """Any shape; the rows are totalled one by one."""
    m, d = rows.shape
    size, step = block.shape[1], lanes(block_of(rows))
    tiles = max(norms.size // 6, 1)
    share = -(-size * d // (lanes(rows) * tiles * (size // step) * -(-d // SLAB)))
    changed, score, rest = 0, 0.0, 0.0
    for start in range(0, m, CHUNK):
        stop = min(start + CHUNK, m)
        chunk_score = line_of(rows)
        for i in range(start, stop, size):
            valid = min(size, stop - i)
            source, at = (rows, i) if valid == size else (tail, 0)
            line = 0
            for first in range(0, d, SLAB):
                slab = first, min(first + SLAB, d), d
                pack_features(source, at, first, slab[1], shift, block)
                for s in range(0, size, step):
                    ahead = rows, i + size, line, share
                    best, label = nearest(block, s, slab, centers, norms, scores, ahead)
                    line += tiles * share
                    if slab[1] == d:
                        store(label, block_labels, s)
                        if valid < size:
                            best = where(iota(label) < valid - s, best, 0.0)
                        if weights is not None:
                            best = best * load_like(best, weights if valid == size else weights_tail, at + s)
                        chunk_score = add_lines(chunk_score, best)
                        if valid == size:
                            changed += publish_block(label, labels, i + s)
            if valid < size:
                changed += publish(block_labels, valid, labels, i)
            if update:
                for r in range(valid):
                    weight = 1.0 if weights is None else weights[i + r]
                    add_row(chunk_sums, block_labels[r], rows, i + r, (0, d), shift, weight)
                    chunk_counts[block_labels[r]] += weight
        if update:
            flush_sums(chunk_sums, chunk_counts, correction, quanta, sums, counts)
            high, low = split(total(widen(chunk_score)), quanta, d + 1)
            score += high
            rest += low
    return changed, score, rest


@kernel(*arguments(1), returns=CHANGED_AND_SCORE)
def lloyd_few_features(
    rows, tail, weights, weights_tail, centers, norms, shift, correction, quanta, update,
    labels, sums, counts, chunk_counts, chunk_sums, block, block_labels, scores,
):  # fmt: skip
    """Few features and few centres: the totals stay in lanes, chunk_sums[c * (d + 1) + p] is a line.

    With weights the last of these lines has the weights of a cluster's rows.
    """
    m, d = rows.shape
    k, size, step = counts.size, block.shape[1], lanes(block_of(rows))
    changed, score, rest = 0, 0.0, 0.0
    for start in range(0, m, CHUNK):
        stop = min(start + CHUNK, m)
        chunk_score = line_of(rows)
        for i in range(start, stop, size):
            valid = min(size, stop - i)
            source, at = (rows, i) if valid == size else (tail, 0)
            pack(source, at, shift, block)
            for s in range(0, size, step):
                best, label = nearest(block, s, (0, d, d), centers, norms, scores, (rows, i, 0, 0))
                if valid == size:
                    changed += publish_block(label, labels, i + s)
                else:
                    store(label, block_labels, s)
                if update:
                    if valid < size:
                        is_row = iota(label) < valid - s
                        label, best = where(is_row, label, -1), where(is_row, best, 0.0)
                    if weights is not None:
                        weight = load_like(best, weights if valid == size else weights_tail, at + s)
                        best = best * weight
                    chunk_score = add_lines(chunk_score, best)
                    for c in range(k):
                        mine, line = label == c, c * (d + 1)
                        for p in range(d):
                            x = load_block(block, p, s)
                            if weights is not None:
                                x = x * weight
                            own = where(mine, x, 0.0)
                            store(add_lines(load(chunk_sums, line + p, 0), own), chunk_sums, line + p, 0)
                        if weights is None:
                            chunk_counts[c] += count(mine)
                        else:
                            own = where(mine, weight, 0.0)
                            store(add_lines(load(chunk_sums, line + d, 0), own), chunk_sums, line + d, 0)
            if valid < size:
                changed += publish(block_labels, valid, labels, i)
        if update:
            zero = line_of(rows)
            for c in range(k):
                line = c * (d + 1)
                if weights is not None:
                    chunk_counts[c] = total(widen(load(chunk_sums, line + d, 0)))
                    store(zero, chunk_sums, line + d, 0)
                in_chunk = chunk_counts[c]
                chunk_counts[c] = 0.0
                counts[c] += rounded(in_chunk, quanta[d])
                for p in range(d):
                    own_total = total(load(chunk_sums, line + p, 0)) + in_chunk * correction[p]
                    sums[c, p] += rounded(own_total, quanta[p])
                    store(zero, chunk_sums, line + p, 0)
            high, low = split(total(widen(chunk_score)), quanta, d + 1)
            score += high
            rest += low
    return changed, score, rest
