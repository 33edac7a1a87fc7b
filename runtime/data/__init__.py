"""Data sets: a store says where bytes are, a format how they become rows, a source what each worker reads."""

from .arrays import ArraySource
from .csv_describe import Header
from .csv_source import CsvPartition, CsvSource
from .describe import describe
from .locate import locate, store_for
from .npy import NpySource
from .npy_file import NpyFile
from .parquet import ParquetFile, ParquetSource
from .partitioning import row_range
from .s3 import S3Objects
from .source import Partition, RowsPartition, Source
from .spool import spool
from .storage import NpyObject, StorageNpySource, delete_spooled, spool_to_storage
from .store import File, LocalFiles, MissingError, Store
from .stored import StoredArray

__all__ = [
    "ArraySource",
    "CsvPartition",
    "CsvSource",
    "File",
    "Header",
    "LocalFiles",
    "MissingError",
    "NpyFile",
    "NpyObject",
    "NpySource",
    "ParquetFile",
    "ParquetSource",
    "Partition",
    "RowsPartition",
    "S3Objects",
    "Source",
    "StorageNpySource",
    "Store",
    "StoredArray",
    "delete_spooled",
    "describe",
    "locate",
    "row_range",
    "spool",
    "spool_to_storage",
    "store_for",
]
