"""`.npy` files: memory-mapped where kernels can take the bytes as they lie, else a copy of the worker's rows."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError
from .arrays import as_array, as_features, ready
from .columns import Column, check_matrix, check_target, choose_columns, column_number, working_dtype
from .npy_fetch import Goal, fetch
from .npy_file import NpyFile, describe_file
from .partitioning import bounded_range, largest_share
from .pieces import PIECE_BYTES, at_once
from .source import Footprint, OfFiles, RowsPartition, row_bytes
from .store import File

COPY_ROWS = 16_384
"""Rows that one thread copies at a time: few enough for the temporary copy to stay in the cache."""


@dataclass(frozen=True, eq=False)
class NpySource(OfFiles):
    """One or several `.npy` files, one after the other.

    Attributes
    ----------
    files : tuple of NpyFile
        Of shape (n_i, c).
    dtype : dtype
        Of what is read, float32 or float64.
    target : NpyFile, ndarray of shape (n,), int or None
        A one-dimensional file, an array in memory, a column of ``files``, or none.
    features : tuple of int, or None
        Columns that are read; None for all.
    bounds : tuple of int, or None
        Rows at which the partitions are cut, instead of equal shares.
    """

    files: tuple[NpyFile, ...]
    dtype: np.dtype
    target: NpyFile | np.ndarray | int | None = None
    features: tuple[int, ...] | None = None
    bounds: tuple[int, ...] | None = None

    feature_names = None

    @property
    def n_rows(self) -> int:
        """Rows of all files."""
        return sum(file.shape[0] for file in self.files)

    @property
    def n_features(self) -> int:
        """Columns that are read."""
        return self.files[0].shape[1] if self.features is None else len(self.features)

    @property
    def in_memory(self) -> bool:
        """Whether the target is an array in memory."""
        return isinstance(self.target, np.ndarray)

    def read(self, worker: int, workers: int, threads: int = 1) -> RowsPartition:
        """The worker's rows.

        Of files on this machine a view of a mapped one if kernels can take it so, else a copy of the range. Of
        objects their bytes, fetched into place.
        """
        low, high = bounded_range(self.n_rows, worker, workers, self.bounds)
        if self.is_shared:
            return self._fetch(low, high, threads)
        parts = self._parts(low, high)
        plain = len(parts) == 1 and self.features is None and parts[0].flags.c_contiguous
        if plain and parts[0].dtype == self.dtype:
            X = ready(parts[0], self.dtype)
        else:
            X = np.empty((high - low, self.n_features), self.dtype)
            _copy(parts, self.features, X, threads)
        return RowsPartition(X, self._target(low, high, parts), low)

    def footprint(self, workers: int, threads: int) -> Footprint:
        """What the rows take; of files on this machine that are mapped as they are, nothing."""
        rows = largest_share(self.n_rows, workers, self.bounds)
        first = self.files[0]
        same = self.features is None and not first.by_column and first.dtype == self.dtype
        if not self.is_shared:
            is_mapped = same and len(self.files) == 1 and not isinstance(self.target, int)
            return Footprint(rows, 0 if is_mapped else rows * row_bytes(self), 0)
        reading = 0 if same and not isinstance(self.target, int) else threads * PIECE_BYTES
        return Footprint(rows, rows * row_bytes(self), reading, self.store_bytes)

    def _fetch(self, low: int, high: int, threads: int) -> RowsPartition:
        X = np.empty((high - low, self.n_features), self.dtype)
        y = np.empty(high - low, self.dtype) if self.has_target else None
        column = self.target if isinstance(self.target, int) else None
        fetch(self.files, low, Goal(X, self.features, y, column), threads)
        if isinstance(self.target, NpyFile):
            assert y is not None
            fetch([self.target], low, Goal(y.reshape(-1, 1)), threads)
        return RowsPartition(X, y, low)

    def _parts(self, low: int, high: int) -> list[np.ndarray]:
        """Mapped views of the rows ``low`` to ``high``, one for each file that holds some of them."""
        parts, start = [], 0
        for file in self.files:
            stop = start + file.shape[0]
            if low < stop and start < high:
                parts.append(file.map()[max(low - start, 0) : high - start])
            start = stop
        return parts

    def _target(self, low: int, high: int, parts: list[np.ndarray]) -> np.ndarray | None:
        if self.target is None:
            return None
        if isinstance(self.target, NpyFile):
            return ready(self.target.map()[low:high], self.dtype)
        if isinstance(self.target, np.ndarray):
            return ready(self.target[low:high], self.dtype)
        y = np.empty(high - low, self.dtype)
        if parts:
            np.concatenate([part[:, self.target] for part in parts], out=y, casting="unsafe")
        return y


def _copy(parts: Sequence[np.ndarray], features: Sequence[int] | None, out: np.ndarray, threads: int) -> None:
    """Copy the rows of ``parts`` into ``out``, slice by slice on several threads (NumPy releases the GIL)."""
    jobs, row = [], 0
    for part in parts:
        for low in range(0, len(part), COPY_ROWS):
            source = part[low : low + COPY_ROWS]
            jobs.append((source, out[row : row + len(source)]))
            row += len(source)

    def copy(job: tuple[np.ndarray, np.ndarray]) -> None:
        source, goal = job
        np.copyto(goal, as_features(source, features), casting="unsafe")

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(copy, jobs))


def describe_npy(
    found: Sequence[File], target: Any, columns: Sequence[Column] | None, dtype: np.dtype | None
) -> NpySource:
    """The source for `.npy` files; ``target`` is a column number, a 1-D `.npy` file, an array, or None."""
    files = at_once(describe_file, found)
    for file in files:
        check_matrix(file.shape, file.path)
        working_dtype(file.dtype, file.path)
    width = files[0].shape[1]
    for file in files:
        if file.shape[1] != width:
            raise DataError(f"{file.path} has {file.shape[1]} columns, but {files[0].path} has {width}")
    number = column_number(target)
    features, goal = choose_columns(columns, number, width, None, files[0].path)
    y: NpyFile | np.ndarray | int | None = goal
    if target is not None and goal is None:
        y = _describe_target(target, sum(file.shape[0] for file in files))
    stored = [working_dtype(file.dtype, file.path) for file in files]
    everything = features == tuple(range(width))
    return NpySource(tuple(files), dtype or np.result_type(*stored), y, None if everything else features)


def _describe_target(target: Any, rows: int) -> NpyFile | np.ndarray:
    if not isinstance(target, File):
        values = as_array(target, "target")
        check_target(values.shape, rows, "target")
        return values
    file = describe_file(target)
    check_target(file.shape, rows, file.path)
    working_dtype(file.dtype, file.path)
    return file
