"""Arrays in the client's memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError
from .columns import Column, check_matrix, check_target, choose_columns, column_number, working_dtype
from .partitioning import bounded_range, largest_share
from .source import Footprint, RowsPartition, row_bytes


def ready(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """``values`` as kernels take them: native ``dtype``, aligned, C-contiguous; without a copy if they are so."""
    return np.require(values.view(np.ndarray), dtype, ["C_CONTIGUOUS", "ALIGNED"])


def as_array(data: Any, where: str) -> np.ndarray:
    """``data`` as an array of numbers, with its own dtype."""
    if isinstance(data, np.ma.MaskedArray) and np.ma.is_masked(data):
        raise DataError(f"{where} has masked values; fill them, or drop their rows")
    try:
        values = np.asarray(data)
    except (ValueError, TypeError) as error:
        raise DataError(f"{where} cannot become an array: {error}") from error
    if values.dtype == object and values.ndim == 0:
        raise DataError(f"{where} is a {type(data).__name__}; allowed are arrays, and paths to files")
    working_dtype(values.dtype, where)
    return values


def as_features(array: np.ndarray, features: Sequence[int] | None) -> np.ndarray:
    """The columns ``features`` of ``array``: a view where they are consecutive."""
    if features is None:
        return array
    first, last = features[0], features[-1]
    if tuple(features) == tuple(range(first, last + 1)):
        return array[:, first : last + 1]
    return array[:, list(features)]


@dataclass(frozen=True, eq=False)
class ArraySource:
    """A data set in memory.

    Attributes
    ----------
    X : ndarray of shape (n, c)
        Columns in any order and dtype that `working_dtype` allows.
    y : ndarray of shape (n,) or None
        Target.
    dtype : dtype
        Of what is read, float32 or float64.
    features : tuple of int, or None
        Columns of ``X`` that are read; None for all.
    bounds : tuple of int, or None
        Rows at which the partitions are cut, instead of equal shares.
    """

    X: np.ndarray
    y: np.ndarray | None
    dtype: np.dtype
    features: tuple[int, ...] | None = None
    bounds: tuple[int, ...] | None = None

    in_memory = True
    is_shared = False
    feature_names = None

    @property
    def n_rows(self) -> int:
        """Rows."""
        return len(self.X)

    @property
    def n_features(self) -> int:
        """Columns that are read."""
        return self.X.shape[1] if self.features is None else len(self.features)

    @property
    def has_target(self) -> bool:
        """Whether there is a target."""
        return self.y is not None

    def read(self, worker: int, workers: int, threads: int = 1) -> RowsPartition:
        """The worker's rows: views where the arrays are as kernels take them."""
        low, high = bounded_range(self.n_rows, worker, workers, self.bounds)
        X = ready(as_features(self.X[low:high], self.features), self.dtype)
        return RowsPartition(X, None if self.y is None else ready(self.y[low:high], self.dtype), low)

    def footprint(self, workers: int, threads: int) -> Footprint:
        """What the rows take; whoever spools them knows what it takes to read them there."""
        rows = largest_share(self.n_rows, workers, self.bounds)
        return Footprint(rows, rows * row_bytes(self), 0)


def describe_array(
    data: Any, target: Any, columns: Sequence[Column] | None, dtype: np.dtype | None
) -> ArraySource:
    """The source for an array; ``target`` is a column number, an array, or None."""
    X = as_array(data, "data")
    check_matrix(X.shape, "data")
    if isinstance(target, str):
        raise DataError(f"target={target!r}: for an array the target is a column number or an array")
    number = column_number(target)
    features, goal = choose_columns(columns, number, X.shape[1], None, "data")
    if goal is not None:
        y = X[:, goal]
    elif target is None:
        y = None
    else:
        y = as_array(target, "target")
        check_target(y.shape, len(X), "target")
    everything = features == tuple(range(X.shape[1]))
    return ArraySource(X, y, dtype or working_dtype(X.dtype, "data"), None if everything else features)
