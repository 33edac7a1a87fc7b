"""What a data set is to the runtime: a small description that every worker reads its partition from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np


class Partition(Protocol):
    """The rows that one worker has read."""

    @property
    def count(self) -> int:
        """Rows in this worker's own range, before alignment."""

    def align(self, counts: Sequence[int] | None) -> tuple[np.ndarray, np.ndarray | None, int]:
        """The worker's rows, from chunk boundary to chunk boundary.

        Parameters
        ----------
        counts : sequence of int, or None
            ``count`` of every worker in the order of the workers; None where the source knows ``n_rows``.

        Returns
        -------
        X : ndarray of shape (m, d), float32 or float64, C-contiguous
            Features; may be read-only and may be memory-mapped. ``m`` may be 0.
        y : ndarray of shape (m,) or None
            Target, of the dtype of ``X``.
        first : int
            Index of the first row in the whole data set, a multiple of ``CHUNK`` unless ``m`` is 0.
        """


@dataclass(frozen=True)
class Footprint:
    """Memory that the worker with the most rows needs for them.

    Attributes
    ----------
    rows : int
        How many it has; of CSV, whose rows nobody has counted, about so many.
    held : int
        Bytes of its features and target, but for what is mapped from files.
    reading : int
        Bytes beside these while it reads them.
    libraries : int
        Bytes of their own that the libraries have which read them.
    """

    rows: int
    held: int
    reading: int
    libraries: int = 0


@runtime_checkable
class Source(Protocol):
    """A data set. Small and picklable (unless ``in_memory``): the client makes it, every worker reads it."""

    @property
    def n_rows(self) -> int | None:
        """Rows of the whole data set; None if only reading it can tell."""

    @property
    def n_features(self) -> int:
        """Columns of ``X``."""

    @property
    def dtype(self) -> np.dtype:
        """Dtype of ``X`` and ``y``, float32 or float64."""

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Names of the columns of ``X``, where the data has names."""

    @property
    def has_target(self) -> bool:
        """Whether partitions have a ``y``."""

    @property
    def in_memory(self) -> bool:
        """Whether the source itself holds rows, so that it must be spooled before it is sent to workers."""

    @property
    def is_shared(self) -> bool:
        """Whether functions on other machines can read it, so that it need not be spooled for them."""

    def read(self, worker: int, workers: int, threads: int) -> Partition:
        """Read the share of one worker, ``0 <= worker < workers``, on ``threads`` threads."""

    def footprint(self, workers: int, threads: int) -> Footprint:
        """What the worker with the most rows needs to read them on ``threads`` threads, and to hold them."""


def row_bytes(source: Source) -> int:
    """Bytes of a row's features and target, once they are read."""
    return (source.n_features + source.has_target) * source.dtype.itemsize


class OfFiles:
    """What all sources of files have in common."""

    files: tuple[Any, ...]
    target: Any

    @property
    def is_shared(self) -> bool:
        """Whether functions on other machines can read the files."""
        return all(item.file.store.is_shared for item in self.files)

    @property
    def has_target(self) -> bool:
        """Whether there is a target."""
        return self.target is not None

    @property
    def store_bytes(self) -> int:
        """Bytes of their own that the libraries have which read from the files' stores."""
        return max(item.file.store.library_bytes for item in self.files)


@dataclass(frozen=True, eq=False)
class RowsPartition:
    """A partition of a source that knows its row numbers: it was cut at chunk boundaries to begin with."""

    X: np.ndarray
    y: np.ndarray | None
    first: int

    @property
    def count(self) -> int:
        """Rows of this worker."""
        return len(self.X)

    def align(self, counts: Sequence[int] | None = None) -> tuple[np.ndarray, np.ndarray | None, int]:
        """The rows as they were read; ``counts`` has nothing to add."""
        return self.X, self.y, self.first
