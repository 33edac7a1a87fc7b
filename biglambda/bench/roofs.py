"""What the machine can do at most: multiply-adds out of registers, and reads of memory.

Both are measured with kernels made of the same `Vec` words as the others, on the same threads.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from biglambda.kernels import CHUNK
from biglambda.kernels.exact import aligned, line_length
from biglambda.kernels.registry import IN, OUT, REAL, kernel
from biglambda.kernels.simd import (
    block_of,
    fma,
    full,
    lanes,
    line_of,
    load_block,
    load_rows,
    minus,
    prefetch,
    store,
    total,
    zeros,
)
from biglambda.runtime.inner import Inner
from biglambda.runtime.inner.threads import TRY_BELOW
from biglambda.runtime.rows import Rows

from .timing import Timer, timed

CHAINS = 6  # blocks, as many as in the kernels' tiles: they hide the latency of an FMA
LINES_AT_ONCE = 4
AHEAD = 64  # lines
DRAM_BYTES = 1 << 30
REPEATS = 1 << 18  # per piece: some milliseconds, so that handing the work to the threads does not count


@kernel(types.int64, OUT(REAL, 2), returns=types.int64)
def multiply_adds(repeats, blocks):
    """blocks[r] = blocks[r] / 2 + 1, again and again; returns the floating-point operations of one time."""
    zero = block_of(blocks)
    half, one = full(zero, 0.5), full(zero, 1.0)
    # Read, not made: the compiler would see that equal chains need be computed only once.
    tile = (
        load_block(blocks, 0, 0), load_block(blocks, 1, 0), load_block(blocks, 2, 0),
        load_block(blocks, 3, 0), load_block(blocks, 4, 0), load_block(blocks, 5, 0),
    )  # fmt: skip
    for _ in range(repeats):
        tile = fma(tile, half, one)
    store(tile, blocks, 0, 0)
    return 2 * CHAINS * lanes(zero)


@kernel(IN(REAL, 2), returns=types.float64)
def read_lines(values):
    """What is left of 0 after all lines but the last few were subtracted: it says that they were read."""
    sums = zeros(LINES_AT_ONCE, line_of(values))
    for i in range(0, values.shape[0] - LINES_AT_ONCE + 1, LINES_AT_ONCE):
        prefetch(LINES_AT_ONCE, values, i + AHEAD, 0)
        sums = minus(sums, load_rows(LINES_AT_ONCE, values, i, 0))
    return np.float64(total(sums[0]) + total(sums[1]) + total(sums[2]) + total(sums[3]))


def fma_timer(inner: Inner, dtype: Any) -> Timer:
    """Seconds per floating-point operation, of all inner workers together."""
    run = multiply_adds[dtype]
    lanes_of_block = line_length(dtype) * 8  # room for a block on every CPU

    def work(rows: Rows) -> np.ndarray:
        return np.array([run(REPEATS, aligned((CHAINS, lanes_of_block), dtype))])

    enough = Rows(np.zeros((TRY_BELOW * CHUNK, 1)))  # not so few that the calling thread would begin alone
    flops = REPEATS * float(np.sum(inner.map(work, enough, ())))
    per_call = timed(lambda: inner.map(work, enough, ()))
    return lambda: per_call() / flops


def read_timer(inner: Inner, values: np.ndarray) -> Timer:
    """Seconds per byte of reading an array, of all inner workers together."""
    width = line_length(values.dtype)
    flat = values.reshape(-1)
    lines = flat[: flat.size // width * width].reshape(-1, width)
    run = read_lines[values.dtype]

    def work(rows: Rows) -> np.ndarray:
        return np.array([run(rows.X)])

    per_call = timed(lambda: inner.map(work, Rows(lines), ()))
    return lambda: per_call() / values.nbytes
