"""From what a user names to a source."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from ..errors import DataError
from .arrays import describe_array
from .columns import Column, check_dtype
from .csv_describe import Header, describe_csv
from .npy import describe_npy
from .parquet import describe_parquet
from .source import Source
from .store import LocalFiles

FORMATS = {".npy": "npy", ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".txt": "csv", ".tsv": "csv"}
"""Format of a file by its suffix, in lower case."""


def describe(
    data: Any,
    target: Any = None,
    *,
    columns: Sequence[Column] | None = None,
    header: Header = "auto",
    delimiter: str = ",",
    dtype: Any = None,
) -> Source:
    """Describe a data set, so that each worker can read its own partition of it.

    Everything that can be known without reading all of the data is checked here, before anything is launched.

    Parameters
    ----------
    data : array-like of shape (n, c), path, glob, or list of paths and globs
        Several files are one data set, in the given order; the matches of a glob are sorted. The suffix says
        the format: ``.npy``, ``.parquet`` and ``.pq``, or ``.csv``, ``.txt`` and ``.tsv`` (separated by tabs).
    target : array-like of shape (n,), column name or number, or path, optional
        A name (CSV, Parquet) or a number means that column, which is then not a feature. With an array or `.npy`
        files it may be an array, with `.npy` files also the path to a one-dimensional `.npy` file.
    columns : list of str or int, optional
        The features: names (CSV, Parquet) or numbers. All columns less the target, if not given.
    header : {"auto", True, False}
        Whether CSV files start with column names. "auto": if the first line of the first file has a field that is
        not a number.
    delimiter : str
        What separates the fields of ``.csv`` and ``.txt`` files.
    dtype : {float32, float64}, optional
        What the rows are read as. If not given: float64 for CSV; else float32 and float64 stay what they are,
        float16 becomes float32, integers and bool become float64.

    Returns
    -------
    Source
        Of the class `ArraySource`, `NpySource`, `ParquetSource` or `CsvSource`.

    Raises
    ------
    DataError
        The data is not there, or is not what it is said to be; the message names the file and what is allowed.
    """
    wanted = check_dtype(dtype)
    names = _named(data)
    if names is None:
        return describe_array(data, target, columns, wanted)
    store = LocalFiles()
    paths = [path for name in names for path in store.expand(name)]
    suffixes = sorted({PurePath(path).suffix.lower() for path in paths})
    formats = {_format(path) for path in paths}
    if len(formats) > 1 or (".tsv" in suffixes and len(suffixes) > 1):
        raise DataError(f"the files of one data set must have one format; these have {', '.join(suffixes)}")
    if formats == {"npy"}:
        return describe_npy(paths, target, columns, wanted)
    if formats == {"parquet"}:
        return describe_parquet(store, paths, target, columns, wanted)
    if ".tsv" in suffixes and delimiter == ",":
        delimiter = "\t"
    return describe_csv(store, paths, target, columns, header, delimiter, wanted)


def _named(data: Any) -> list[str] | None:
    """The paths and globs that ``data`` is; None if it is an array."""
    if isinstance(data, str | os.PathLike):
        data = [data]
    elif not isinstance(data, list | tuple) or not all(isinstance(item, str | os.PathLike) for item in data):
        return None
    if not data:
        raise DataError("data is an empty list; give an array, a path, or a list of paths")
    names = []
    for item in data:
        name = os.fspath(item)
        if not isinstance(name, str):
            raise DataError(f"data={item!r}: paths are text, not bytes")
        if "://" in name:
            raise DataError(f"{name}: this version reads local files only; download it first")
        if not name or "\0" in name:
            raise DataError(f"data={name!r}: not a path")
        names.append(name)
    return names


def _format(path: str) -> str:
    suffix = PurePath(path).suffix
    if suffix.lower() in FORMATS:
        return FORMATS[suffix.lower()]
    if os.path.isdir(path):
        raise DataError(f"{path} is a directory; give its files, for example {os.path.join(path, '*.csv')}")
    raise DataError(
        f"{path}: files that end in {suffix!r} are not supported; supported are {', '.join(sorted(FORMATS))}"
    )
