"""Blocks of rows: packing them feature by feature, and products with packed vectors."""

# mypy: allow-untyped-defs, allow-incomplete-defs

from .registry import inline
from .simd import (
    columns,
    dot,
    fma,
    full,
    items,
    lanes,
    lines,
    load,
    load_block,
    load_part,
    load_square,
    load_square_part,
    minus,
    prefetch,
    reduce,
    register_lanes,
    store,
    store_part,
    transpose,
)

AHEAD = 4  # blocks of narrow rows that are prefetched; of wide rows, one


@inline
def pack(rows, first, shift, block):
    """block[p, r] = rows[first + r, p] - shift[p]; shift is padded with zeros to whole lines."""
    d, width, size = rows.shape[1], register_lanes(rows), block.shape[1]
    coming = first + (size if d > width else AHEAD * size)
    for r in range(0, size, width):
        if d == 1:
            pack_columns(1, rows, first + r, coming + r, shift, block, r)
        elif d == 2:
            pack_columns(2, rows, first + r, coming + r, shift, block, r)
        elif d == 3:
            pack_columns(3, rows, first + r, coming + r, shift, block, r)
        elif d == 4:
            pack_columns(4, rows, first + r, coming + r, shift, block, r)
        elif d == 8:
            pack_columns(8, rows, first + r, coming + r, shift, block, r)
        else:
            for p in range(0, d, width):
                prefetch(width, rows, coming + r, p * width)
                if p + width <= d:
                    square = transpose(load_square(rows, first + r, p))
                else:
                    square = transpose(load_square_part(rows, first + r, p, d - p))
                store(minus(square, items(width, shift, p)), block, p, r)


@inline
def pack_columns(n, rows, row, coming, shift, block, r):
    prefetch(n, rows, coming, 0)
    store(minus(columns(n, rows, row), items(n, shift, 0)), block, 0, r)


@inline
def add_products(tile, centers, c, d, block, s):
    """tile[j] + the packed rows from s on times row c + j of centers, which are packed in tiles of rows."""
    size = len(tile)
    for p in range(d):
        tile = fma(items(tile, centers, c * d + p * size), load_block(block, p, s), tile)
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
def add_row(totals, c, rows, i, shift, squares):
    """totals[c] += rows[i] - shift; returns squares plus the squares of these differences, lane by lane."""
    d, width, p = rows.shape[1], lanes(rows), 0
    row_squares = full(squares, 0.0)
    while p + width <= d:
        x = load(rows, i, p) - load(shift, p)
        store(load(totals, c, p) + x, totals, c, p)
        row_squares = fma(x, x, row_squares)
        p += width
    if p < d:
        x = load_part(rows, i, p, d - p) - load(shift, p)
        store_part(load_part(totals, c, p, d - p) + x, totals, c, p, d - p)
        row_squares = fma(x, x, row_squares)
    return squares + row_squares
