"""What the tests of this folder share."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np

from biglambda.runtime import rows
from biglambda.runtime.data import Source, csv_lines, csv_source


@contextmanager
def small(chunk: int = 4, block: int = 32) -> Iterator[None]:
    """Small chunks and blocks, so that small files have many of them."""
    with (
        mock.patch.object(rows, "CHUNK", chunk),
        mock.patch.object(csv_lines, "READ_BYTES", max(block, 8)),
        mock.patch.object(csv_lines, "TAIL_BYTES", max(block // 4, 1)),
        mock.patch.object(csv_source, "BLOCK_BYTES", block),
        mock.patch.object(csv_source, "PIECE_BYTES", block),
        mock.patch.object(csv_source, "COLUMN_BYTES", 1),
        mock.patch.object(csv_source, "LEAST_BYTES", block),
    ):
        yield


Aligned = tuple[np.ndarray, np.ndarray | None, int]


def read_workers(source: Source, workers: int, threads: int = 2) -> list[Aligned]:
    """What each of ``workers`` workers has after alignment, each with its own copy of the source."""
    partitions = [pickle.loads(pickle.dumps(source)).read(w, workers, threads) for w in range(workers)]
    counts = [partition.count for partition in partitions] if source.n_rows is None else None
    return [partition.align(counts) for partition in partitions]


def check_workers(
    source: Source, workers: int, X: np.ndarray, y: np.ndarray | None = None, threads: int = 2
) -> None:
    """Every row is with exactly one worker, in order, and every partition starts at a chunk boundary."""
    parts = read_workers(source, workers, threads)
    low = 0
    for part_X, part_y, first in parts:
        assert part_X.flags.c_contiguous
        assert part_X.flags.aligned
        assert part_X.dtype == source.dtype
        assert part_X.dtype.isnative
        assert part_X.shape[1:] == (source.n_features,)
        assert first == low
        assert len(part_X) == 0 or first % rows.CHUNK == 0
        assert (part_y is None) == (not source.has_target)
        if part_y is not None:
            assert part_y.dtype == source.dtype
            assert part_y.shape == (len(part_X),)
            assert part_y.flags.c_contiguous
        low += len(part_X)
    np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), X)
    if y is not None:
        np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), y)
