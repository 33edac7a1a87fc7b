"""Blocks of rows: packing them feature by feature, and products with packed vectors."""

# mypy: allow-untyped-defs, allow-incomplete-defs

from .registry import inline
from .simd import (
    columns,
    dot,
    fma,
    items,
    lanes,
    lines,
    load,
    load_block,
    load_part,
    load_square,
    load_square_part,
    minus,
    prefetch_far,
    reduce,
    register_lanes,
    store,
    transpose,
)

AHEAD = 4  # blocks of narrow rows that are prefetched; of wide rows, one


@inline
def less(tile, shift, p):
    """tile[j] - shift[p + j]; without a shift the tile itself."""
    if shift is None:
        return tile
    return minus(tile, items(tile, shift, p))


@inline
def pack(rows, row, shift, block):
    """`pack_features` of all features, and rows that come next are fetched."""
    d, size = rows.shape[1], block.shape[1]
    coming = row + (size if d > register_lanes(rows) else AHEAD * size)
    prefetch_lines(rows, coming, 0, -(-size * d // lanes(rows)))
    pack_features(rows, row, 0, d, shift, block)


@inline
def pack_features(rows, row, first, last, shift, block):
    """block[p - first, r] = rows[row + r, p] - shift[p] for the features p from first to last - 1.

    The shift is padded with zeros to whole lines, or None.
    """
    width, d = register_lanes(rows), rows.shape[1]
    for r in range(0, block.shape[1], width):
        if d == 1:
            store(less(columns(1, rows, row + r), shift, 0), block, 0, r)
        elif d == 2:
            store(less(columns(2, rows, row + r), shift, 0), block, 0, r)
        elif d == 3:
            store(less(columns(3, rows, row + r), shift, 0), block, 0, r)
        elif d == 4:
            store(less(columns(4, rows, row + r), shift, 0), block, 0, r)
        elif d == 5:
            store(less(columns(5, rows, row + r), shift, 0), block, 0, r)
        elif d == 6:
            store(less(columns(6, rows, row + r), shift, 0), block, 0, r)
        elif d == 8:
            store(less(columns(8, rows, row + r), shift, 0), block, 0, r)
        else:
            for p in range(first, last, width):
                if p + width <= d:
                    square = transpose(load_square(rows, row + r, p))
                else:
                    square = transpose(load_square_part(rows, row + r, p, d - p))
                store(less(square, shift, p), block, p - first, r)


@inline
def prefetch_lines(rows, row, first, last):
    """Fetch the lines of memory from first to last - 1, counted from the start of a row."""
    for line in range(first, last):
        prefetch_far(1, rows, row, line * lanes(rows))


@inline
def add_products(tile, centers, at, count, block, s):
    """tile[j] plus the packed features from s on times those of centre j: centers[at], [at + 1], ..."""
    size = len(tile)
    for p in range(count):
        tile = fma(items(tile, centers, at + p * size), load_block(block, p, s), tile)
    return tile


@inline
def plus(x, y):
    return x + y


@inline
def add_lines(acc, wide):
    """The lines of a wide Vec added to acc, one after the other: the same order whatever the width."""
    return reduce(plus, lines(wide), acc)


@inline
def add_line_products(acc, x, y):
    """The lines of x times those of y added to acc, one after the other."""
    return dot(lines(x), lines(y), acc)


@inline
def add_row(totals, c, rows, i, slab, shift, weight):
    """totals[c] += weight * (rows[i] - shift) for a slab of features; a row of totals is padded to whole lines."""
    (p, last), d, width = slab, rows.shape[1], lanes(rows)
    while p + width <= last:
        store(load(totals, c, p) + (load(rows, i, p) - load(shift, p)) * weight, totals, c, p)
        p += width
    if p < last:
        store(load(totals, c, p) + (load_part(rows, i, p, d - p) - load(shift, p)) * weight, totals, c, p)
