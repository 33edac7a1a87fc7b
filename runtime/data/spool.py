"""Arrays that live in the client's memory, written to where the workers can read them."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .arrays import ArraySource, describe_array, ready
from .npy import NpySource
from .npy_file import NpyFile, describe_file
from .source import Source
from .store import LocalFiles


def as_source(data: Any) -> Source:
    """``data`` itself if it is a source, else the source of an array or of a tuple ``(X, y)``."""
    if isinstance(data, Source):
        return data
    if isinstance(data, tuple) and len(data) == 2:
        return describe_array(data[0], data[1], None, None)
    return describe_array(data, None, None, None)


def read_all(source: Source, threads: int) -> tuple[np.ndarray, np.ndarray | None]:
    """All rows of a source, for a client that has them anyway."""
    if isinstance(source, ArraySource | NpySource):
        source = replace(source, bounds=None)
    partition = source.read(0, 1, threads)
    X, y, _ = partition.align([partition.count])
    return X, y


def spool(data: Any, directory: str | os.PathLike[str]) -> Source:
    """Write what ``data`` holds in memory as `.npy` files that the workers on this machine can map.

    Parameters
    ----------
    data : Source, array of shape (n, d), or tuple (X, y)
        What to write. A source that holds nothing in memory is returned as it is.
    directory : path
        An existing directory. The files get names that are not taken, and mode 0600; whoever made the directory
        deletes them with it.

    Returns
    -------
    Source
        A source of the files, with the same rows and bounds.
    """
    source = as_source(data)
    if not source.in_memory:
        return source
    if isinstance(source, NpySource) and isinstance(source.target, np.ndarray):
        return replace(source, target=_write(ready(source.target, source.dtype), directory, "y"))
    X, y = read_all(source, 1)
    bounds = source.bounds if isinstance(source, ArraySource) else None
    files = (_write(X, directory, "X"),)
    return NpySource(files, source.dtype, None if y is None else _write(y, directory, "y"), bounds=bounds)


def _write(values: np.ndarray, directory: str | os.PathLike[str], name: str) -> NpyFile:
    where = Path(directory).absolute()
    try:
        descriptor, path = tempfile.mkstemp(suffix=".npy", prefix=f"{name}-", dir=where)  # mode 0600
    except OSError as error:
        raise DataError(f"cannot write to the directory {where}: {error.strerror}") from error
    try:
        with open(descriptor, "wb") as file:
            np.lib.format.write_array(file, values, allow_pickle=False)
    except BaseException as error:
        os.unlink(path)
        if isinstance(error, OSError):
            raise DataError(
                f"cannot write {values.nbytes:,} bytes to the directory {where}: {error.strerror or error}"
            ) from error
        raise
    return describe_file(LocalFiles().find(path))
