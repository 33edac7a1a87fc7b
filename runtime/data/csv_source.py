"""CSV files: each worker parses the lines that start in its share of the bytes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from .. import rows as _rows
from ..errors import DataError
from .csv_lines import Block, CsvFile, blocks, count_rows, cut_rows, share
from .csv_parse import Layout, Parser
from .partitioning import aligned_range, check_worker
from .store import Store

BLOCK_BYTES = 1 << 22
"""Bytes that one thread parses at a time: few enough for its columns to be near while they are transposed."""

COLUMN_BYTES = 1 << 16
"""Bytes of a block for each column at least, so that in wide files the work on a column outweighs its overhead."""

MOST_BYTES = 1 << 24
"""Bytes of a block at most, whatever the number of columns."""

LEAST_BYTES = 1 << 19
"""Bytes of a block at least, where a small share is cut so that every thread gets some blocks."""


@dataclass(frozen=True)
class CsvSource:
    """One or several CSV files, one after the other.

    Attributes
    ----------
    store : Store
        Where the files are.
    files : tuple of CsvFile
        The files; all have the same columns.
    width : int
        Columns of the files.
    features : tuple of int
        Columns that become ``X``.
    target : int or None
        Column that becomes ``y``.
    names : tuple of str, or None
        The header.
    delimiter : str
        What is between two fields.
    dtype : dtype
        Of what is read, float32 or float64.
    """

    store: Store
    files: tuple[CsvFile, ...]
    width: int
    features: tuple[int, ...]
    target: int | None
    names: tuple[str, ...] | None
    delimiter: str
    dtype: np.dtype

    n_rows = None
    in_memory = False

    @property
    def n_features(self) -> int:
        """Columns that are read."""
        return len(self.features)

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Names of the features, if the files have a header."""
        return None if self.names is None else tuple(self.names[column] for column in self.features)

    @property
    def has_target(self) -> bool:
        """Whether there is a target."""
        return self.target is not None

    def read(self, worker: int, workers: int, threads: int = 1) -> CsvPartition:
        """Parse the lines that start in the worker's share of the bytes."""
        check_worker(worker, workers)
        for file in self.files:
            size = self.store.size(file.path)
            if size != file.size:
                raise DataError(
                    f"{file.path} has {size:,} bytes, but had {file.size:,} when the run was described; files "
                    "must not change during a run"
                )
        low, high = share(self.files, worker, workers)
        size = min(
            max(BLOCK_BYTES, COLUMN_BYTES * self.width),
            MOST_BYTES,
            max((high - low) // (4 * threads), LEAST_BYTES),
        )
        own = list(blocks(self.store, self.files, low, high, size))
        with ThreadPoolExecutor(threads) as pool:
            # Counted first, so that every block is parsed into its place and no second copy is ever held. Counting
            # is several times faster than parsing.
            counts = list(pool.map(lambda block: count_rows(block.read(self.store)), own))
            partition = CsvPartition(self, worker, high, sum(counts))
            starts = accumulate(counts, initial=0)
            list(pool.map(partition.parse, own, counts, starts))
        return partition


class CsvPartition:
    """The rows of the lines that start in a worker's share of the bytes."""

    def __init__(self, source: CsvSource, worker: int, stop: int, count: int) -> None:
        self.count = count
        self._source, self._worker, self._stop = source, worker, stop
        # Room for the rows beyond the own range that alignment may add: less than a chunk.
        room = count + _rows.CHUNK - 1
        self._X = np.empty((room, source.n_features), source.dtype)
        self._y = np.empty(room, source.dtype) if source.has_target else None
        layout = Layout(source.width, source.features, source.target, source.names, source.delimiter, source.dtype)
        self._parser = Parser(source.store, layout)

    def parse(self, block: Block, rows: int, start: int) -> None:
        """Parse a block of ``rows`` rows into the arrays from row ``start``."""
        self._parse(block, block.read(self._source.store), rows, start)

    def _parse(self, block: Block, raw: bytes, rows: int, start: int) -> None:
        y = None if self._y is None else self._y[start : start + rows]
        self._parser.parse(block, raw, rows, self._X[start : start + rows], y)

    def align(self, counts: Sequence[int] | None = None) -> tuple[np.ndarray, np.ndarray | None, int]:
        """The rows from chunk boundary to chunk boundary; reads the few that lie beyond the own range."""
        counts = [self.count] if counts is None else counts
        if not self._worker < len(counts) or counts[self._worker] != self.count:
            raise ValueError(f"counts={list(counts)}: worker {self._worker} has {self.count} rows")
        offset, low, high = aligned_range(counts, self._worker)
        if low < high:
            self._extend(high - offset - self.count)
        part = slice(low - offset, high - offset)
        return self._X[part], None if self._y is None else self._y[part], low

    def _extend(self, extra: int) -> None:
        """Parse the first ``extra`` rows behind the own range, which may lie in several ranges and files."""
        source, start = self._source, self.count
        for block in blocks(source.store, source.files, self._stop, None, LEAST_BYTES):
            if extra <= 0:
                return
            raw = block.read(source.store)
            rows = count_rows(raw)
            if rows > extra:
                raw, rows = cut_rows(raw, extra), extra
            self._parse(block, raw, rows, start)
            start += rows
            extra -= rows
        if extra > 0:
            raise DataError(
                f"{source.files[-1].path} ended {extra} rows before the counts say that it does; files must not "
                "change during a run"
            )
