"""What the Lloyd kernels have in common: their arguments, and how labels and chunk totals leave them."""

# mypy: allow-untyped-defs, allow-incomplete-defs

import numpy as np
from numba import types

from .exact import rounded
from .registry import IN, INTEGER, OUT, REAL, WEIGHTS, inline
from .simd import count, lanes, load_like, narrow, store

CHANGED_AND_SCORE = types.Tuple((types.int64, types.float64, types.float64))


def arguments(centers_ndim: int) -> tuple:
    """What a Lloyd kernel takes; the arrays of centres differ in their dimensions."""
    return (
        IN(REAL, 2),  # rows
        IN(REAL, 2),  # tail, see `tail_of`
        WEIGHTS,
        WEIGHTS,  # tail of the weights
        IN(REAL, centers_ndim),  # centers, packed
        IN(REAL, 1),  # norms
        IN(REAL, 1),  # shift
        IN(types.float64, 1),  # correction
        IN(types.float64, 1),  # quanta: of d totals, of a count, and two of the score
        types.boolean,  # update: whether to total the rows, too
        OUT(types.int32, 1),  # labels
        OUT(types.float64, 2),  # sums
        OUT(types.float64, 1),  # counts
        OUT(types.float64, 1),  # scratch: chunk_counts, all zero
        OUT(REAL, 2),  # scratch: chunk_sums, all zero
        OUT(REAL, 2),  # scratch: block
        OUT(INTEGER, 1),  # scratch: block_labels
        OUT(REAL, 2),  # scratch: scores
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
    d = correction.size
    for c in range(counts.size):
        size = chunk_counts[c]
        if size != 0.0:
            chunk_counts[c] = 0.0
            counts[c] += rounded(size, quanta[d])
            for p in range(d):
                sums[c, p] += rounded(chunk_sums[c, p] + size * correction[p], quanta[p])
                chunk_sums[c, p] = 0
