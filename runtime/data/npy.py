"""`.npy` files: memory-mapped where kernels can take the bytes as they lie, else a copy of the worker's rows."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError
from .arrays import as_array, as_features, ready
from .columns import Column, check_matrix, check_target, choose_columns, column_number, working_dtype
from .partitioning import bounded_range
from .source import RowsPartition
from .store import LocalFiles

COPY_ROWS = 16_384
"""Rows that one thread copies at a time: few enough for the temporary copy to stay in the cache."""


def open_npy(path: str) -> np.ndarray:
    """The array in a file, memory-mapped and read-only."""
    if LocalFiles().size(path) == 0:
        raise DataError(f"{path} is empty; a .npy file is what numpy.save writes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header makes NumPy raise a dozen kinds, SyntaxError among them
        if "allow_pickle" in str(error) or "Python objects" in str(error):
            raise DataError(
                f"{path} holds Python objects or is no .npy file; allowed are arrays of numbers"
            ) from error
        raise DataError(f"{path} is damaged, cut short, or no .npy file: {error}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise DataError(f"{path} is an .npz archive; save each array as a .npy file of its own")
    return array.view(np.ndarray)


@dataclass(frozen=True)
class NpyFile:
    """A file with its shape and dtype as the client saw them."""

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def open(self) -> np.ndarray:
        """The array, which must still be the one that was described."""
        array = open_npy(self.path)
        if array.shape != self.shape or array.dtype != self.dtype:
            raise DataError(
                f"{self.path} has shape {array.shape} and dtype {array.dtype}, but had {self.shape} and "
                f"{self.dtype} when the run was described; files must not change during a run"
            )
        return array


@dataclass(frozen=True, eq=False)
class NpySource:
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
    def has_target(self) -> bool:
        """Whether there is a target."""
        return self.target is not None

    @property
    def in_memory(self) -> bool:
        """Whether the target is an array in memory."""
        return isinstance(self.target, np.ndarray)

    def read(self, worker: int, workers: int, threads: int = 1) -> RowsPartition:
        """The worker's rows: a view of one mapped file if kernels can take it so, else a copy of the range."""
        low, high = bounded_range(self.n_rows, worker, workers, self.bounds)
        parts = self._parts(low, high)
        plain = len(parts) == 1 and self.features is None and parts[0].flags.c_contiguous
        if plain and parts[0].dtype == self.dtype:
            X = ready(parts[0], self.dtype)
        else:
            X = np.empty((high - low, self.n_features), self.dtype)
            _copy(parts, self.features, X, threads)
        return RowsPartition(X, self._target(low, high, parts), low)

    def _parts(self, low: int, high: int) -> list[np.ndarray]:
        """Mapped views of the rows ``low`` to ``high``, one for each file that holds some of them."""
        parts, start = [], 0
        for file in self.files:
            stop = start + file.shape[0]
            if low < stop and start < high:
                parts.append(file.open()[max(low - start, 0) : high - start])
            start = stop
        return parts

    def _target(self, low: int, high: int, parts: list[np.ndarray]) -> np.ndarray | None:
        if self.target is None:
            return None
        if isinstance(self.target, NpyFile):
            return ready(self.target.open()[low:high], self.dtype)
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
    paths: Sequence[str], target: Any, columns: Sequence[Column] | None, dtype: np.dtype | None
) -> NpySource:
    """The source for `.npy` files; ``target`` is a column number, a path to a 1-D `.npy`, an array, or None."""
    files = []
    for path in paths:
        array = open_npy(path)
        check_matrix(array.shape, path)
        working_dtype(array.dtype, path)
        files.append(NpyFile(path, array.shape, array.dtype))
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
    if not isinstance(target, str | os.PathLike):
        values = as_array(target, "target")
        check_target(values.shape, rows, "target")
        return values
    name = os.fspath(target)
    if not name.lower().endswith(".npy"):
        raise DataError(
            f"target={name!r}: for .npy files the target is a column number, an array, or the path to a "
            "one-dimensional .npy file"
        )
    path = os.path.abspath(os.path.expanduser(name))
    array = open_npy(path)
    check_target(array.shape, rows, path)
    working_dtype(array.dtype, path)
    return NpyFile(path, array.shape, array.dtype)
