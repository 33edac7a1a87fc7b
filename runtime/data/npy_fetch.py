"""Numbers of `.npy` objects, fetched into place: only those that are wanted, several ranges of bytes at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from .arrays import as_features
from .npy_file import NpyFile
from .pieces import PIECE_BYTES


@dataclass(frozen=True, eq=False)
class Goal:
    """Where numbers go.

    Attributes
    ----------
    X : ndarray of shape (m, d)
        OUT, C-contiguous.
    features : sequence of int, or None
        Columns of the files that go there; None for all.
    y : ndarray of shape (m,), or None
        OUT.
    target : int, or None
        Column of the files that goes into ``y``.
    """

    X: np.ndarray
    features: Sequence[int] | None = None
    y: np.ndarray | None = None
    target: int | None = None

    def takes_bytes_of(self, file: NpyFile) -> bool:
        """Whether the rows of a file go there as they are stored."""
        plain = self.features is None and self.target is None and not file.by_column
        return plain and file.dtype == self.X.dtype

    def take_bytes(self, file: NpyFile, start: int, part: slice) -> None:
        """Fetch bytes from ``start`` of a file to those of ``X``."""
        file.file.store.read_into(file.file, start, self.X.reshape(-1).view(np.uint8).data[part])

    def take_rows(self, file: NpyFile, row: int, part: slice) -> None:
        """Fetch the rows from ``row`` of a file that has them one after another."""
        X, width = self.X[part], _width(file)
        rows = np.empty((len(X), width), file.dtype)
        _read(file, row * width, rows)
        X[...] = as_features(rows, self.features)
        if self.y is not None and self.target is not None:
            self.y[part] = rows[:, self.target]

    def take_column(self, file: NpyFile, row: int, part: slice, column: int) -> None:
        """Fetch the numbers from ``row`` of one column of a file that has these one after another."""
        values = np.empty(part.stop - part.start, file.dtype)
        _read(file, column * file.shape[0] + row, values)
        if column == self.target and self.y is not None:
            self.y[part] = values
        else:
            self.X[part, column if self.features is None else list(self.features).index(column)] = values


def _read(file: NpyFile, first: int, out: np.ndarray) -> None:
    """Fill ``out`` with the numbers from the ``first`` on, as they are stored."""
    data = out.reshape(-1).view(np.uint8).data
    file.file.store.read_into(file.file, file.offset + first * file.dtype.itemsize, data)


def fetch(files: Sequence[NpyFile], low: int, goal: Goal, threads: int) -> None:
    """Fill ``goal`` with the rows from ``low`` of ``files``, which are one data set, on ``threads`` threads."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda job: job(), _jobs(files, low, goal)))


def _jobs(files: Sequence[NpyFile], low: int, goal: Goal) -> Iterator[Callable[[], None]]:
    base = -low
    for file in files:
        rows = file.shape[0]
        first, last = max(base, 0), min(base + rows, len(goal.X))
        row_bytes = file.dtype.itemsize * _width(file)
        if goal.takes_bytes_of(file):
            shift = file.offset - base * row_bytes  # from a byte of X to that of the file
            for low, high in _pieces(shift + first * row_bytes, shift + last * row_bytes):
                yield partial(goal.take_bytes, file, low, slice(low - shift, high - shift))
        elif not file.by_column:
            for part in _parts(first, last, row_bytes):
                yield partial(goal.take_rows, file, part.start - base, part)
        else:
            wanted = range(file.shape[1]) if goal.features is None else goal.features
            for column in (*wanted, *(() if goal.target is None else (goal.target,))):
                for part in _parts(first, last, file.dtype.itemsize):
                    yield partial(goal.take_column, file, part.start - base, part, column)
        base += rows


def _width(file: NpyFile) -> int:
    return math.prod(file.shape[1:])


def _pieces(low: int, high: int) -> Iterator[tuple[int, int]]:
    """Ranges of bytes that end at multiples of `PIECE_BYTES`, as those who serve a file store it."""
    while low < high:
        end = min((low // PIECE_BYTES + 1) * PIECE_BYTES, high)
        yield low, end
        low = end


def _parts(first: int, last: int, row_bytes: int) -> Iterator[slice]:
    step = max(1, PIECE_BYTES // row_bytes)
    for row in range(first, last, step):
        yield slice(row, min(row + step, last))
