"""Arrays in a Lithops storage backend, for workers that share no file system with the client."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .. import rows as _rows
from ..errors import DataError
from .partitioning import bounded_range, largest_share
from .source import Footprint, RowsPartition, row_bytes
from .spool import as_source, read_all

PART_BYTES = 1 << 26
"""Bytes of an object. Small against the memory of the client, which copies as many as it writes at a time."""

GET_BYTES = 1 << 23
"""Bytes that one thread gets at a time."""


@dataclass(frozen=True)
class NpyObject:
    """A `.npy` object: its key, its rows, and the bytes before the first one."""

    key: str
    rows: int
    offset: int


@dataclass(frozen=True, eq=False)
class StorageNpySource:
    """Rows in `.npy` objects of a storage backend; each worker gets the bytes of its own rows only.

    Attributes
    ----------
    backend : str
        Name of the Lithops storage backend.
    bucket : str
        Where the objects are.
    X, y : tuple of NpyObject
        Objects with the features and the target; ``y`` is empty without one.
    n_features : int
        Columns of ``X``.
    dtype : dtype
        Of all values, float32 or float64.
    feature_names : tuple of str, or None
        Names of the features.
    bounds : tuple of int, or None
        Rows at which the partitions are cut, instead of equal shares.
    storage : lithops.storage.Storage, or None
        The connection. It holds credentials, so it is neither shown nor pickled: a worker connects with the
        configuration that Lithops gave to its function, or is given a connection by `with_storage`.
    """

    backend: str
    bucket: str
    X: tuple[NpyObject, ...]
    y: tuple[NpyObject, ...]
    n_features: int
    dtype: np.dtype
    feature_names: tuple[str, ...] | None = None
    bounds: tuple[int, ...] | None = None
    storage: Any = field(default=None, repr=False)

    in_memory = False
    is_shared = True

    @property
    def n_rows(self) -> int:
        """Rows of all objects."""
        return sum(item.rows for item in self.X)

    @property
    def has_target(self) -> bool:
        """Whether there is a target."""
        return bool(self.y)

    @property
    def keys(self) -> list[str]:
        """Keys of all objects."""
        return [item.key for item in (*self.X, *self.y)]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "storage": None}

    def with_storage(self, storage: Any) -> StorageNpySource:
        """The same source over a connection that is already there."""
        return replace(self, storage=storage)

    def connect(self) -> Any:
        """The connection: the given one, or a new one."""
        if self.storage is not None:
            return self.storage
        from lithops.storage import Storage

        return Storage(backend=self.backend)

    def read(self, worker: int, workers: int, threads: int = 1) -> RowsPartition:
        """Get the worker's rows in ranges, ``threads`` of them at a time."""
        low, high = bounded_range(self.n_rows, worker, workers, self.bounds)
        X = np.empty((high - low, self.n_features), self.dtype)
        y = np.empty(high - low, self.dtype) if self.y else None
        ranges = [*_ranges(self.X, low, X), *(() if y is None else _ranges(self.y, low, y))]
        if ranges:
            storage = self.connect()
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda job: self._get(storage, *job), ranges))
        return RowsPartition(X, y, low)

    def footprint(self, workers: int, threads: int) -> Footprint:
        """What the rows take, and the bodies that are copied to where they belong."""
        rows = largest_share(self.n_rows, workers, self.bounds)
        return Footprint(rows, rows * row_bytes(self), threads * GET_BYTES)

    def _get(self, storage: Any, key: str, offset: int, out: np.ndarray) -> None:
        """Fill ``out`` with the bytes from ``offset`` of an object."""
        from lithops.storage.utils import StorageNoSuchKeyError

        wanted = {"Range": f"bytes={offset}-{offset + out.nbytes - 1}"}
        name = f"{self.bucket}/{key} in the storage backend {self.backend}"
        try:
            body = storage.get_object(self.bucket, key, extra_get_args=wanted)
        except StorageNoSuchKeyError as error:
            raise DataError(f"{name} does not exist: its run has ended, or it was deleted") from error
        if len(body) != out.nbytes:
            raise DataError(f"{name}: {len(body):,} bytes came for the {out.nbytes:,} from byte {offset:,}")
        out[...] = np.frombuffer(body, out.dtype).reshape(out.shape)


def _ranges(items: Sequence[NpyObject], low: int, out: np.ndarray) -> Iterator[tuple[str, int, np.ndarray]]:
    """Key, offset and destination of every range to get for the rows from ``low`` that ``out`` takes."""
    row_bytes = out.itemsize * int(np.prod(out.shape[1:]))
    step = max(1, GET_BYTES // row_bytes)
    start = 0
    for item in items:
        stop = min(start + item.rows, low + len(out))
        for row in range(max(start, low), stop, step):
            last = min(row + step, stop)
            yield item.key, item.offset + (row - start) * row_bytes, out[row - low : last - low]
        start += item.rows


def spool_to_storage(data: Any, storage: Any, bucket: str, prefix: str, *, threads: int = 1) -> StorageNpySource:
    """Write all rows of ``data`` as `.npy` objects to a Lithops storage backend.

    Parameters
    ----------
    data : Source, array of shape (n, d), or tuple (X, y)
        What to write. Local files are read and written as well, as remote workers cannot see them.
    storage : lithops.storage.Storage
        Where to write.
    bucket, prefix : str
        The keys are ``prefix/X-00000.npy`` and so on.
    threads : int
        Threads that read the client's files, and objects that are written at a time.

    Returns
    -------
    StorageNpySource
        To be deleted with `delete_spooled`. If writing fails, nothing is left behind.
    """
    source = as_source(data)
    X, y = read_all(source, threads)
    parts = _cut(X, f"{prefix}/X")
    targets = [] if y is None else _cut(y, f"{prefix}/y")

    def put(part: tuple[str, np.ndarray]) -> NpyObject:
        key, values = part
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, values, allow_pickle=False)
        body = buffer.getvalue()
        storage.put_object(bucket, key, body)
        return NpyObject(key, len(values), len(body) - values.nbytes)

    try:
        with ThreadPoolExecutor(threads) as pool:
            items = tuple(pool.map(put, [*parts, *targets]))
    except BaseException:
        with suppress(Exception):  # the first error is the one to report
            storage.delete_objects(bucket, [key for key, _ in (*parts, *targets)])
        raise
    return StorageNpySource(
        storage.backend,
        bucket,
        items[: len(parts)],
        items[len(parts) :],
        X.shape[1],
        X.dtype,
        source.feature_names,
        getattr(source, "bounds", None),
        storage,
    )


def _cut(values: np.ndarray, name: str) -> list[tuple[str, np.ndarray]]:
    """Keys and rows of the objects, of whole chunks where one is not too large."""
    rows = max(1, PART_BYTES // (values.nbytes // len(values)))
    if rows > _rows.CHUNK:
        rows -= rows % _rows.CHUNK
    starts = range(0, len(values), rows)
    return [(f"{name}-{number:05d}.npy", values[low : low + rows]) for number, low in enumerate(starts)]


def delete_spooled(source: StorageNpySource) -> None:
    """Delete the objects of a source; those that are gone already are no error."""
    source.connect().delete_objects(source.bucket, source.keys)
