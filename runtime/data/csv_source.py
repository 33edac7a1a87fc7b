"""CSV files: each worker parses the lines that start in its share of the bytes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from .. import rows as _rows
from ..errors import DataError
from .arrow_values import LIBRARY_BYTES
from .csv_lines import CsvFile, Lines, Piece, count_rows, cut_rows, pieces, share, whole_lines
from .csv_parse import Layout, Parser
from .partitioning import aligned_range, check_worker
from .pieces import PIECE_BYTES, ahead
from .source import Footprint, OfFiles, row_bytes

BLOCK_BYTES = 1 << 22
"""Bytes that one thread parses at a time: few enough for its columns to be near while they are transposed."""

COLUMN_BYTES = 1 << 16
"""Bytes of a block for each column at least, so that in wide files the work on a column outweighs its overhead."""

MOST_BYTES = 1 << 24
"""Bytes of a block at most, whatever the number of columns."""

LEAST_BYTES = 1 << 19
"""Bytes of a block at least, where a small share is cut so that every thread gets some blocks."""

IN_MEMORY = 4
"""Blocks in memory for each thread: those that are read, that wait, and that are parsed, with their columns."""


SLACK = 1.5
"""Room for so many times the rows that are still to come, as the lines so far have it."""


@dataclass(frozen=True)
class CsvSource(OfFiles):
    """One or several CSV files, one after the other.

    Attributes
    ----------
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
    line_bytes : float
        Bytes of a row, as some lines have it.
    """

    files: tuple[CsvFile, ...]
    width: int
    features: tuple[int, ...]
    target: int | None
    names: tuple[str, ...] | None
    delimiter: str
    dtype: np.dtype
    line_bytes: float

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

    def read(self, worker: int, workers: int, threads: int = 1) -> CsvPartition:
        """Parse the lines that start in the worker's share of the bytes, each read once."""
        check_worker(worker, workers)
        low, high = share(self.files, worker, workers)
        size = self._block_bytes(high - low, threads)
        partition = CsvPartition(self, worker, low, high, threads)
        # Threads of their own read and parse: the ones wait for the disk or the network, the others work.
        with ThreadPoolExecutor(threads) as readers, ThreadPoolExecutor(threads) as parsers:
            read = ahead(readers, _read, pieces(self.files, low, high, size), threads)
            for lines, rows in ahead(parsers, _counted, whole_lines(read), threads):
                partition.parse(lines, rows, parsers)
            partition.settle()
        return partition

    def footprint(self, workers: int, threads: int) -> Footprint:
        """What the rows may take, and the blocks that are read and parsed meanwhile."""
        low, high = share(self.files, workers - 1, workers)
        rows = math.ceil((high - low) / self.line_bytes) + _rows.CHUNK
        return Footprint(
            rows,
            rows * row_bytes(self),
            IN_MEMORY * threads * self._block_bytes(high - low, threads),
            LIBRARY_BYTES + self.store_bytes,
        )

    def _block_bytes(self, share: int, threads: int) -> int:
        """Bytes that one thread parses at a time, of a share of so many."""
        wanted = min(
            max(PIECE_BYTES if self.is_shared else BLOCK_BYTES, COLUMN_BYTES * self.width),
            MOST_BYTES,
            max(share // (4 * threads), LEAST_BYTES),
        )
        return 1 << (wanted.bit_length() - 1)


def _read(piece: Piece) -> tuple[Piece, bytearray]:
    return piece, piece.read()


def _counted(lines: Lines) -> tuple[Lines, int]:
    return lines, count_rows(lines.raw)


class CsvPartition:
    """The rows of the lines that start in a worker's share of the bytes.

    How many these are is known once the last block was counted. Until then there is room for more than seem to
    come: memory that is never written to is never used.
    """

    def __init__(self, source: CsvSource, worker: int, low: int, high: int, threads: int) -> None:
        self.count = 0
        self._source, self._worker, self._bytes, self._stop = source, worker, high - low, high
        self._read, self._most_waiting = 0, threads
        self._X = np.empty((0, source.n_features), source.dtype)
        self._y = np.empty(0, source.dtype) if source.has_target else None
        layout = Layout(source.width, source.features, source.target, source.names, source.delimiter, source.dtype)
        self._parser = Parser(layout)
        self._parses: deque[Future[None]] = deque()

    def parse(self, lines: Lines, rows: int, pool: ThreadPoolExecutor) -> None:
        """Let ``pool`` parse the ``rows`` rows of ``lines``, which follow those that there are."""
        self._read += len(lines.raw)
        # Room for the rows beyond the own range that alignment may add, too: less than a chunk.
        need = self.count + rows + _rows.CHUNK - 1
        if need > len(self._X):
            self.settle()
            left = max(self._bytes - self._read, 0) / max(self._read, 1)
            self._make_room(need + int(SLACK * left * (self.count + rows)))
        elif len(self._parses) > self._most_waiting:
            self._parses.popleft().result()
        self._parses.append(pool.submit(self._parser.parse, lines, rows, *self._rows_at(self.count, rows)))
        self.count += rows

    def settle(self) -> None:
        """Wait for what is being parsed."""
        while self._parses:
            self._parses.popleft().result()

    def _make_room(self, rows: int) -> None:
        X, y = self._X, self._y
        self._X = np.empty((rows, X.shape[1]), X.dtype)
        self._X[: self.count] = X[: self.count]
        if y is not None:
            self._y = np.empty(rows, y.dtype)
            self._y[: self.count] = y[: self.count]

    def _rows_at(self, start: int, rows: int) -> tuple[np.ndarray, np.ndarray | None]:
        part = slice(start, start + rows)
        return self._X[part], None if self._y is None else self._y[part]

    def align(self, counts: Sequence[int] | None = None) -> tuple[np.ndarray, np.ndarray | None, int]:
        """The rows from chunk boundary to chunk boundary; reads the few that lie beyond the own range."""
        counts = [self.count] if counts is None else counts
        if not self._worker < len(counts) or counts[self._worker] != self.count:
            raise ValueError(f"counts={list(counts)}: worker {self._worker} has {self.count} rows")
        offset, low, high = aligned_range(counts, self._worker)
        if low < high:
            self._extend(high - offset - self.count)
        return *self._rows_at(low - offset, high - low), low

    def _extend(self, extra: int) -> None:
        """Parse the first ``extra`` rows behind the own range, which may lie in several pieces and files."""
        if extra <= 0:
            return
        source, start = self._source, self.count
        read = map(_read, pieces(source.files, self._stop, None, LEAST_BYTES))
        for lines, rows in map(_counted, whole_lines(read)):
            if rows > extra:
                lines, rows = replace(lines, raw=cut_rows(lines.raw, extra)), extra
            self._parser.parse(lines, rows, *self._rows_at(start, rows))
            start += rows
            extra -= rows
            if not extra:
                return
        raise DataError(
            f"{source.files[-1].path} ended {extra} rows before the counts say that it does; files must not "
            "change during a run"
        )
