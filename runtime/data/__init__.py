"""Data sets: a store says where bytes are, a format how they become rows, a source what each worker reads."""

from .arrays import ArraySource
from .csv_describe import Header
from .csv_source import CsvPartition, CsvSource
from .describe import describe
from .npy import NpyFile, NpySource
from .parquet import ParquetFile, ParquetSource
from .partitioning import row_range
from .source import Partition, RowsPartition, Source
from .spool import spool
from .storage import NpyObject, StorageNpySource, delete_spooled, spool_to_storage

__all__ = [
    "ArraySource",
    "CsvPartition",
    "CsvSource",
    "Header",
    "NpyFile",
    "NpyObject",
    "NpySource",
    "ParquetFile",
    "ParquetSource",
    "Partition",
    "RowsPartition",
    "Source",
    "StorageNpySource",
    "delete_spooled",
    "describe",
    "row_range",
    "spool",
    "spool_to_storage",
]
