"""The bytes of a part, in each format."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..runtime.rows import CHUNK
from .kinds import Kind

FORMATS = ("npy", "csv", "parquet")
PART_BYTES = 100_000_000
"""About the size of a part: large enough for few requests, small enough to hold one per thread."""
MOST_PART_BYTES = 4_000_000_000
"""S3 takes no more than 5 GB in one request."""
BATCH_BYTES = 1 << 23
"""Bytes of the rows that are handed to pyarrow at a time; a row group of a Parquet file."""

WIDTHS = {
    "npy": {"float32": 4.0, "float64": 8.0},
    "parquet": {"float32": 4.0, "float64": 8.0},
    "csv": {"float32": 10.2, "float64": 18.8},
}
"""Bytes of a number, by format and dtype; those of CSV are means, with the comma."""


def row_bytes(columns: int, dtype: str, kind_of_file: str) -> float:
    """About how many bytes a row has in a file."""
    return columns * WIDTHS[kind_of_file][dtype]


def rows_within(size: int, bytes_per_row: float) -> int:
    """As many rows as have about so many bytes: whole chunks, and at least one."""
    return max(1, int(size / (bytes_per_row * CHUNK))) * CHUNK


def encode(kind: Kind, first: int, rows: int, dtype: str, kind_of_file: str) -> bytes | bytearray:
    """A part as a file.

    Parameters
    ----------
    kind : Kind
        What its rows are.
    first : int
        Number of its first row in the data set, a multiple of ``CHUNK``.
    rows : int
        How many it has.
    dtype : {"float32", "float64"}
        Of the features.
    kind_of_file : {"npy", "csv", "parquet"}
    """
    return _ENCODERS[kind_of_file](kind, first, rows, np.dtype(dtype).newbyteorder("<"))


def _npy(kind: Kind, first: int, rows: int, dtype: np.dtype) -> bytearray:
    shape = rows, kind.n_features + kind.has_target
    header = io.BytesIO()
    about = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, about)
    data = bytearray(header.tell() + rows * shape[1] * dtype.itemsize)
    data[: header.tell()] = header.getbuffer()
    _fill(kind, first, np.frombuffer(data, dtype, offset=header.tell()).reshape(shape))
    return data


def _fill(kind: Kind, first: int, out: np.ndarray) -> None:
    for start in range(0, len(out), CHUNK):
        kind.fill((first + start) // CHUNK, out[start : start + CHUNK])


def names(kind: Kind) -> list[str]:
    """Names of the columns."""
    return [f"x{number}" for number in range(kind.n_features)] + ["y"] * kind.has_target


def _batches(kind: Kind, first: int, rows: int, dtype: np.dtype) -> Iterator[Any]:
    """The rows as Arrow's record batches; a target is int8, so that its text is 0 or 1."""
    import pyarrow

    titles = names(kind)
    step = rows_within(BATCH_BYTES, len(titles) * dtype.itemsize)
    for start in range(0, rows, step):
        block = np.empty((min(step, rows - start), len(titles)), dtype)
        _fill(kind, first + start, block)
        columns = list(np.ascontiguousarray(block.T))
        if kind.has_target:
            columns[-1] = columns[-1].astype(np.int8)
        yield pyarrow.record_batch([pyarrow.array(column) for column in columns], titles)


def _written(open_writer: Callable[[Any, Any], Any], batches: Iterator[Any], start: bytes = b"") -> bytes:
    """What a writer of pyarrow makes of batches."""
    out = io.BytesIO()
    out.write(start)
    head = next(batches)
    with open_writer(out, head.schema) as writer:
        writer.write_batch(head)
        for batch in batches:
            writer.write_batch(batch)
    return out.getvalue()


def _csv(kind: Kind, first: int, rows: int, dtype: np.dtype) -> bytes:
    from pyarrow import csv

    options = csv.WriteOptions(include_header=False)  # pyarrow's own would be in quotes
    header = ",".join(names(kind)).encode() + b"\n"
    return _written(
        lambda out, schema: csv.CSVWriter(out, schema, write_options=options),
        _batches(kind, first, rows, dtype),
        header,
    )


def _parquet(kind: Kind, first: int, rows: int, dtype: np.dtype) -> bytes:
    from pyarrow import parquet

    # Random numbers neither repeat nor compress.
    return _written(
        lambda out, schema: parquet.ParquetWriter(out, schema, compression="none", use_dictionary=False),
        _batches(kind, first, rows, dtype),
    )


_ENCODERS: dict[str, Callable[[Kind, int, int, np.dtype], bytes | bytearray]] = {
    "npy": _npy,
    "csv": _csv,
    "parquet": _parquet,
}
