"""A `.npy` file: what its header says."""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from ..errors import DataError
from .store import File, LocalFiles

HEADER_BYTES = 1 << 14
"""Bytes in which a header must be; NumPy refuses those of more than 10,000."""


@dataclass(frozen=True)
class NpyFile:
    """A file, and what its header says.

    Attributes
    ----------
    file : File
        Where its bytes are.
    shape : tuple of int
    dtype : dtype
    offset : int
        Bytes before the first number.
    by_column : bool
        Whether the numbers of a column follow one another (Fortran order), and not those of a row.
    """

    file: File
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int
    by_column: bool

    @property
    def path(self) -> str:
        """Its name."""
        return self.file.name

    def map(self) -> np.ndarray:
        """The array of a file of this machine, memory-mapped and read-only."""
        store = self.file.store
        assert isinstance(store, LocalFiles)
        with store.open(self.file) as file:
            mapped = np.memmap(file, self.dtype, "r", self.offset, self.shape, "F" if self.by_column else "C")
        return mapped.view(np.ndarray)


def describe_file(file: File) -> NpyFile:
    """The header of a file, which must be long enough for what the header says."""
    path = file.name
    if file.size == 0:
        raise DataError(f"{path} is empty; a .npy file is what numpy.save writes")
    raw = bytes(file.read(0, HEADER_BYTES))
    if raw.startswith(b"PK"):
        raise DataError(f"{path} is an .npz archive; save each array as a .npy file of its own")
    if not raw.startswith(np.lib.format.MAGIC_PREFIX):
        raise DataError(f"{path} is no .npy file; allowed are arrays of numbers, as numpy.save writes them")
    try:
        found = _parse_header(file, io.BytesIO(raw))
    except Exception as error:  # a damaged header makes NumPy raise a dozen kinds, SyntaxError among them
        raise DataError(f"{path} is damaged, cut short, or no .npy file: {error}") from error
    if found.dtype.hasobject:
        raise DataError(f"{path} holds Python objects; allowed are arrays of numbers")
    needed = found.offset + math.prod(found.shape) * found.dtype.itemsize
    if any(side < 0 for side in found.shape) or file.size < needed:
        raise DataError(
            f"{path} is damaged, cut short, or no .npy file: its header says shape {found.shape} and dtype "
            f"{found.dtype}, which are {needed:,} bytes, and there are {file.size:,}"
        )
    return found


def _parse_header(file: File, header: BinaryIO) -> NpyFile:
    version = np.lib.format.read_magic(header)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if version == (1, 0):
            shape, by_column, dtype = np.lib.format.read_array_header_1_0(header)
        elif version == (2, 0):
            shape, by_column, dtype = np.lib.format.read_array_header_2_0(header)
        else:
            raise ValueError(f"version {version} of the format, which arrays of numbers do not need")
    return NpyFile(file, shape, dtype, header.tell(), by_column and len(shape) > 1)
