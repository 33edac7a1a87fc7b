"""An array that lies in parts, on this machine or on S3, and is read as far as it is asked for."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from ..errors import DataError
from .npy_file import NpyFile, describe_file
from .parts import BLOCK, Manifest, checksums, part_name, read_manifest
from .pieces import PIECE_BYTES, at_once
from .store import Store


class StoredArray(NDArrayOperatorsMixin):
    """A one-dimensional array that workers wrote, each of them a part.

    Whole numbers and slices read only the parts, and of these the ranges, that they need; `numpy.asarray`, and so
    NumPy's functions and operators, read all of it. What is read is checked against the manifest.

    Parameters
    ----------
    name : str
        Of the manifest. It is read when it is first needed.
    store : Store
        Where it is.
    manifest : Manifest, optional
        If it is known already.

    Attributes
    ----------
    name : str
    shape : tuple of int
    dtype : dtype
    size, ndim, nbytes : int

    Raises
    ------
    DataError
        When it is read: a part, or the manifest, is missing, damaged, or not what was written.
    """

    def __init__(self, name: str, store: Store, manifest: Manifest | None = None) -> None:
        self.name = name
        self._store = store
        self._files: dict[int, NpyFile] = {}
        if manifest is not None:
            self.manifest = manifest

    @cached_property
    def manifest(self) -> Manifest:
        """What the parts are."""
        return read_manifest(self._store, self.name)

    @property
    def shape(self) -> tuple[int]:
        """Number of values, as a tuple."""
        return (self._starts[-1],)

    @property
    def dtype(self) -> np.dtype:
        """Of the values."""
        return self.manifest.dtype

    @property
    def size(self) -> int:
        """Number of values."""
        return self._starts[-1]

    @property
    def ndim(self) -> int:
        """1."""
        return 1

    @property
    def nbytes(self) -> int:
        """Bytes of memory that all of it takes."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.size

    def __repr__(self) -> str:
        known = f", {self.size:,} of {self.dtype}" if "manifest" in self.__dict__ else ""
        return f"StoredArray({self.name}{known})"

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            wanted = range(*index.indices(self.size))
            return self._read(wanted) if wanted.step > 0 else self._read(wanted[::-1])[::-1]
        try:
            row = operator.index(index)
        except TypeError:
            raise TypeError(
                f"the index is a {type(index).__name__}: allowed are whole numbers and slices; for any other, "
                "numpy.asarray reads the whole array"
            ) from None
        if not -self.size <= row < self.size:
            raise IndexError(f"row {row} of {self.size}")
        return self._read(range(row % self.size, row % self.size + 1))[0]

    def __iter__(self) -> Iterator[Any]:
        for low in range(0, self.size, BLOCK):
            yield from self[low : low + BLOCK]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("a stored array is read into memory, which is a copy of it")
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        read = (np.asarray(one) if isinstance(one, StoredArray) else one for one in inputs)
        return getattr(ufunc, method)(*read, **options)

    @cached_property
    def _starts(self) -> list[int]:
        return self.manifest.starts

    def _read(self, wanted: range) -> np.ndarray:
        """The values of the rows ``wanted``, whose step is positive."""
        out = np.empty(len(wanted), self.dtype)
        pieces = list(self._pieces(wanted))
        missing = [number for number in dict.fromkeys(piece.part for piece in pieces) if number not in self._files]
        if missing:
            self._files.update(zip(missing, at_once(self._found, missing), strict=True))
        if pieces:
            at_once(lambda piece: self._read_piece(piece, wanted, out), pieces)
        return out

    def _pieces(self, wanted: range) -> Iterator[_Piece]:
        """What is to be read, in whole blocks."""
        if not wanted:
            return
        rows = max(BLOCK, PIECE_BYTES // self.dtype.itemsize // BLOCK * BLOCK)
        for number, part in enumerate(self.manifest.parts):
            base = self._starts[number]
            low, high = max(wanted[0] - base, 0), min(wanted[-1] + 1 - base, part.rows)
            for first in range(low // BLOCK * BLOCK, high, rows):
                last = min(first + rows, -(-high // BLOCK) * BLOCK, part.rows)
                taken = slice(_index(wanted, base + max(first, low)), _index(wanted, base + min(last, high)))
                if taken.start < taken.stop:
                    yield _Piece(number, first, last, taken)

    def _read_piece(self, piece: _Piece, wanted: range, out: np.ndarray) -> None:
        file, goal = self._files[piece.part], out[piece.taken]
        rows = piece.last - piece.first
        values = goal if len(goal) == rows else np.empty(rows, self.dtype)
        offset = file.offset + piece.first * self.dtype.itemsize
        self._store.read_into(file.file, offset, values.view(np.uint8).data)
        told = self.manifest.parts[piece.part].checksums[piece.first // BLOCK : -(-piece.last // BLOCK)]
        if checksums(values) != told:
            raise DataError(
                f"{file.path} was replaced or damaged: the checksums of its rows {piece.first:,} to "
                f"{piece.last - 1:,} are not those in {self.name}"
            )
        if values is not goal:
            first = wanted[piece.taken.start] - self._starts[piece.part] - piece.first
            goal[...] = values[first :: wanted.step][: len(goal)]

    def _found(self, number: int) -> NpyFile:
        """A part, which must be what the manifest says."""
        part, name = self.manifest.parts[number], part_name(self.name, number)
        file = self._store.find(name)
        if file.size != part.size:
            raise DataError(
                f"{name} was cut or replaced: it has {file.size:,} bytes, and {self.name} says {part.size:,}"
            )
        found = describe_file(file)
        if found.shape != (part.rows,) or found.dtype != self.dtype:
            raise DataError(
                f"{name} was replaced: it has shape {found.shape} and dtype {found.dtype}, and {self.name} says "
                f"({part.rows},) and {self.dtype}"
            )
        return found


@dataclass(frozen=True)
class _Piece:
    """Rows ``first`` to ``last`` of a part, whole blocks, and which of the rows that are wanted are in it."""

    part: int
    first: int
    last: int
    taken: slice


def _index(wanted: range, row: int) -> int:
    """How many of the rows ``wanted`` are before ``row``, which is not before the first."""
    return min(-(-(row - wanted.start) // wanted.step), len(wanted))
