"""Parquet files: each worker decodes the row groups, or the parts of them, that hold its rows."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError
from .arrow_values import LIBRARY_BYTES, arrow_values
from .columns import Column, choose_columns, column_number, listed, working_dtype
from .partitioning import bounded_range, largest_share
from .pieces import at_once
from .source import Footprint, OfFiles, RowsPartition, row_bytes
from .store import File

FOOTER_BYTES = 1 << 16
"""Bytes at the end of a file that are read first, by Arrow, too: most footers are no longer."""
JOB_BYTES = 1 << 26
"""Compressed bytes that a thread fetches and decodes at a time, if a single column has no more."""
GAP_BYTES = 1 << 16
"""Bytes between two columns that are rather read than left out by a second read."""
BATCH_BYTES = 1 << 20
"""Bytes of the rows that are decoded at a time: few enough to stay in the cache while they are transposed."""
COLUMN_BYTES = 96 << 10
"""Bytes that Arrow takes for each column that it reads at a time, beside what it reads."""

_import = threading.Lock()


@dataclass(frozen=True)
class ParquetFile:
    """A file, the rows of each of its row groups, and how many bytes are needed to read the largest of these."""

    file: File
    groups: tuple[int, ...]
    largest: int


@dataclass(frozen=True)
class ParquetSource(OfFiles):
    """One or several Parquet files, one after the other.

    Attributes
    ----------
    files : tuple of ParquetFile
        The files; all have the columns that are read.
    names : tuple of str
        Names of the columns that become ``X``.
    target : str or None
        Name of the column that becomes ``y``.
    dtype : dtype
        Of what is read, float32 or float64.
    """

    files: tuple[ParquetFile, ...]
    names: tuple[str, ...]
    target: str | None
    dtype: np.dtype

    in_memory = False

    @property
    def n_rows(self) -> int:
        """Rows of all files."""
        return sum(sum(file.groups) for file in self.files)

    @property
    def n_features(self) -> int:
        """Columns that are read."""
        return len(self.names)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features."""
        return self.names

    def read(self, worker: int, workers: int, threads: int = 1) -> RowsPartition:
        """Decode the worker's rows, ``threads`` columns or row groups at a time."""
        low, high = bounded_range(self.n_rows, worker, workers, None)
        X = np.empty((high - low, self.n_features), self.dtype)
        y = None if self.target is None else np.empty(high - low, self.dtype)
        jobs = list(self._jobs(low, high, threads))
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda job: job.decode(low, X, y), jobs))
        return RowsPartition(X, y, low)

    def footprint(self, workers: int, threads: int) -> Footprint:
        """What the rows take, and the compressed columns that are decoded at a time."""
        rows, columns = largest_share(self.n_rows, workers), self.n_features + self.has_target
        groups, size = sum(len(file.groups) for file in self.files), max(file.largest for file in self.files)
        at_once = _columns_at_once(columns, size, -(-groups // workers), threads)
        reading = threads * (2 * size * at_once // columns + at_once * COLUMN_BYTES)
        return Footprint(rows, rows * row_bytes(self), reading, LIBRARY_BYTES + self.store_bytes)

    def _jobs(self, low: int, high: int, threads: int) -> Iterator[_Job]:
        """Row groups that hold the rows ``low`` to ``high``, by some of their columns."""
        groups = []
        start = 0
        for file in self.files:
            footer = None
            for number, rows in enumerate(file.groups):
                first, stop = max(low, start), min(high, start + rows)
                if first < stop:
                    footer = footer or _Footer(file.file)
                    groups.append((footer, number, start, first, stop))
                start += rows
        columns: list[tuple[str, int | None]] = [(name, number) for number, name in enumerate(self.names)]
        columns += [] if self.target is None else [(self.target, None)]
        for footer, number, start, first, stop in groups:
            size = sum(last - begin for begin, last in footer.ranges(number, [name for name, _ in columns]))
            step = _columns_at_once(len(columns), size, len(groups), threads)
            for at in range(0, len(columns), step):
                yield _Job(footer, number, tuple(columns[at : at + step]), start, first, stop)


def _columns_at_once(columns: int, size: int, groups: int, threads: int) -> int:
    """Of a row group of ``size`` bytes, one of ``groups``, the columns of one job."""
    parts = max(-(-4 * threads // groups), -(-size // JOB_BYTES), 1)
    return -(-columns // min(parts, columns))


@dataclass(frozen=True)
class _Job:
    """Some columns of the rows ``first`` to ``stop`` (of all files), which are in one row group.

    ``columns`` are names, each with its place in ``X``, or None for the target; ``start`` is the group's first
    row.
    """

    footer: _Footer
    group: int
    columns: tuple[tuple[str, int | None], ...]
    start: int
    first: int
    stop: int

    def decode(self, low: int, X: np.ndarray, y: np.ndarray | None) -> None:
        """Write the rows, of which row ``low`` is the first of ``X``."""
        row = self.start
        for batch in self._batches(max(1, BATCH_BYTES // (X.itemsize * len(self.columns)))):
            first, stop = max(self.first, row), min(self.stop, row + batch.num_rows)
            if first < stop:
                to = slice(first - low, stop - low)
                part = batch.slice(first - row, stop - first)
                for name, column in self.columns:
                    values = self._numbers(part, name, first)
                    if column is not None:
                        np.copyto(X[to, column], values, casting="unsafe")
                    elif y is not None:
                        np.copyto(y[to], values, casting="unsafe")
            row += batch.num_rows
            if row >= self.stop:
                return
        raise DataError(f"{self.footer.path}, row group {self.group} is damaged: it ends before row {self.stop}")

    def _batches(self, size: int) -> Iterator[Any]:
        """The columns of the whole row group, ``size`` rows at a time."""
        footer, names = self.footer, [name for name, _ in self.columns]
        ranges = footer.ranges(self.group, names)
        pieces = [(begin, footer.file.read(begin, end - begin)) for begin, end in ranges]
        try:
            file = footer.parquet.ParquetFile(
                _Pieces(pieces, footer.size),
                metadata=footer.metadata,
                pre_buffer=False,
                page_checksum_verification=True,
            )
            yield from file.iter_batches(size, [self.group], names, use_threads=False)
        except (footer.arrow.ArrowException, OSError) as error:
            raise DataError(f"{footer.path}, row group {self.group} is damaged: {_said(error)}") from error

    def _numbers(self, batch: Any, name: str, first: int) -> np.ndarray:
        """A column of a batch that starts with row ``first`` of all files."""
        values = batch.column(batch.schema.get_field_index(name))
        if values.null_count:
            missing = first + int(np.argmax(values.is_null().to_numpy(zero_copy_only=False)))
            raise DataError(
                f"{self.footer.path}: column {name!r} has no value in row {missing} of the data set, row "
                f"{missing - self.start} of row group {self.group}; fill such rows, or drop them"
            )
        dtype = self.footer.dtype(name)
        if dtype == np.bool_:  # which Arrow keeps as bits
            values, dtype = values.cast(self.footer.arrow.uint8()), np.dtype(np.uint8)
        return arrow_values(values, dtype)


class _Footer:
    """What the end of a file says of its columns and row groups."""

    def __init__(self, file: File) -> None:
        with _import:
            import pyarrow as arrow
            from pyarrow import parquet
        self.arrow, self.parquet = arrow, parquet
        self.file, self.path, self.size = file, file.name, file.size
        path = self.path
        if self.size < 12:
            raise DataError(f"{path} has {self.size} bytes; a Parquet file has at least 12")
        tail = file.read(max(0, self.size - FOOTER_BYTES))
        wanted = int.from_bytes(tail[-8:-4], "little") + 8
        if tail[-4:] == b"PARE":
            raise DataError(f"{path} is encrypted, which is not supported")
        if tail[-4:] != b"PAR1" or wanted > self.size:
            raise DataError(f"{path} is no Parquet file, or cut short: it does not end as one")
        if wanted > len(tail):
            tail = file.read(self.size - wanted)
        try:
            self.metadata = parquet.read_metadata(_Pieces([(self.size - len(tail), tail)], self.size))
            self.schema = self.metadata.schema.to_arrow_schema()
        except (arrow.ArrowException, OSError) as error:
            raise DataError(f"{path} has a damaged footer: {_said(error)}") from error
        columns = self.metadata.schema
        self._numbers = {columns.column(number).path: number for number in range(len(columns))}
        self.groups = tuple(self.metadata.row_group(n).num_rows for n in range(self.metadata.num_row_groups))

    def dtype(self, name: str) -> np.dtype:
        """The NumPy dtype of a column of numbers."""
        kind = self.schema.field(name).type
        types = self.arrow.types
        if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
            raise DataError(
                f"{self.path}: column {name!r} has type {kind}; allowed are integers, floats and bool. Choose "
                "others by columns="
            )
        return np.dtype(kind.to_pandas_dtype())

    def largest(self, names: Sequence[str]) -> int:
        """Bytes of some columns of the largest row group; dictionaries thrice, as they are decoded."""
        if not self.groups:
            return 0
        about = self.metadata.row_group(int(np.argmax(self.groups)))
        chunks = [about.column(self._numbers[name]) for name in names]
        return sum(one.total_compressed_size + 2 * (one.data_page_offset - _extent(one)[0]) for one in chunks)

    def ranges(self, group: int, names: Sequence[str]) -> list[tuple[int, int]]:
        """Where the bytes of some columns of a row group begin and end, neighbours together."""
        about = self.metadata.row_group(group)
        pieces: list[tuple[int, int]] = []
        chunks = (about.column(self._numbers[name]) for name in names)
        for begin, end in sorted(map(_extent, chunks)):
            if not 0 <= begin <= end <= self.size:
                raise DataError(f"{self.path}, row group {group} is damaged: it lies outside of the file")
            if pieces and begin - pieces[-1][1] <= GAP_BYTES:
                pieces[-1] = pieces[-1][0], max(end, pieces[-1][1])
            else:
                pieces.append((begin, end))
        return pieces


def _extent(chunk: Any) -> tuple[int, int]:
    begin = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset is not None:
        begin = min(begin, chunk.dictionary_page_offset)
    return begin, begin + chunk.total_compressed_size


class _Pieces(io.RawIOBase):
    """A file of which some pieces are in memory, for Arrow to read; it gets views, not copies."""

    def __init__(self, pieces: Sequence[tuple[int, bytes | bytearray]], size: int) -> None:
        self._pieces, self._size, self._at = pieces, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = base + offset
        return self._at

    def read(self, length: int = -1) -> memoryview:
        stop = self._size if length < 0 else min(self._at + length, self._size)
        for begin, data in self._pieces:
            if begin <= self._at and stop <= begin + len(data):
                found = memoryview(data)[self._at - begin : stop - begin]
                self._at = stop
                return found
        raise OSError(f"bytes {self._at} to {stop} are not where the footer says that there are some")


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def describe_parquet(
    files: Sequence[File], target: Any, columns: Sequence[Column] | None, dtype: np.dtype | None
) -> ParquetSource:
    """The source for Parquet files, whose footers are read here; ``target`` is a column, or None."""
    if target is not None and not isinstance(target, str | int | np.integer):
        raise DataError(f"target is a {type(target).__name__}; for Parquet files it is a column's name or number")
    footers = at_once(_Footer, files)
    first = footers[0]
    names = first.schema.names
    if len(set(names)) < len(names):
        raise DataError(f"{first.path} has several columns of one name among {listed(names)}")
    column = target if isinstance(target, str) else column_number(target)
    features, goal = choose_columns(columns, column, len(names), names, first.path)
    read = [names[number] for number in (*features, *(() if goal is None else (goal,)))]
    for footer in footers:
        missing = [name for name in read if footer.schema.names.count(name) != 1]
        if missing:
            raise DataError(f"{footer.path} has no column {listed(missing)}, but {first.path} has")
    if not any(sum(footer.groups) for footer in footers):
        raise DataError(f"{first.path} has no rows; at least one is needed")
    stored = [[working_dtype(footer.dtype(name), footer.path) for name in read] for footer in footers]
    return ParquetSource(
        tuple(ParquetFile(footer.file, footer.groups, footer.largest(read)) for footer in footers),
        tuple(names[number] for number in features),
        None if goal is None else names[goal],
        dtype or np.result_type(*(kind for kinds in stored for kind in kinds[: len(features)])),
    )
