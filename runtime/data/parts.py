"""Values of rows in parts: one `.npy` file of each worker, and the manifest that says what they are together."""

from __future__ import annotations

import io
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from reprlib import repr as short
from typing import Any

import numpy as np

from ..errors import DataError
from .store import Store

VERSION = 1

SUFFIX = ".json"
"""Of a manifest; its parts lie beside it, and have its name with a number."""

BLOCK = 1 << 18
"""Values that have a checksum together, so that a few can be read, and checked, without all of a part."""

MOST_BYTES = 1 << 26
"""Of a manifest: one of 10,000 parts with 10**12 values together has fewer."""

MOST_ROWS = 1 << 48
"""A number of rows beyond this is no such number."""

DTYPE = re.compile(r"[<|][biuf][1248]")


@dataclass(frozen=True)
class Part:
    """What one worker wrote.

    Attributes
    ----------
    rows : int
        Values in it; there may be none.
    size : int
        Bytes of the file.
    checksums : tuple of int
        CRC-32 of each `BLOCK` values.
    """

    rows: int
    size: int
    checksums: tuple[int, ...]


@dataclass(frozen=True)
class Manifest:
    """What the parts are together.

    Attributes
    ----------
    run : str
        The run that wrote them.
    dtype : dtype
        Of the values.
    parts : tuple of Part
        In the order of the rows.
    """

    run: str
    dtype: np.dtype
    parts: tuple[Part, ...]

    @property
    def starts(self) -> list[int]:
        """The first row of each part, and at last the number of all rows."""
        return [0, *accumulate(part.rows for part in self.parts)]


def part_name(manifest: str, number: int) -> str:
    """The name of a part of the manifest of a name."""
    return f"{manifest.removesuffix(SUFFIX)}-{number:05d}.npy"


def checksums(values: np.ndarray) -> tuple[int, ...]:
    """The CRC-32 of each `BLOCK` values."""
    return tuple(zlib.crc32(values[low : low + BLOCK].view(np.uint8).data) for low in range(0, len(values), BLOCK))


def write_part(store: Store, name: str, values: np.ndarray) -> Part:
    """Write a one-dimensional contiguous array as a `.npy` file, whole or not at all, without a copy of it."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(values))
    store.write(name, header.getvalue(), values.view(np.uint8).data, private=False)
    return Part(len(values), header.tell() + values.nbytes, checksums(values))


def write_manifest(store: Store, name: str, manifest: Manifest) -> None:
    """Write a manifest: from now on its parts count."""
    base = name.rpartition("/")[2]
    told = {
        "version": VERSION,
        "run": manifest.run,
        "dtype": manifest.dtype.str,
        "rows": manifest.starts[-1],
        "parts": [
            {"name": part_name(base, number), "rows": part.rows, "size": part.size, "crc32": part.checksums}
            for number, part in enumerate(manifest.parts)
        ],
    }
    store.write(name, json.dumps(told).encode(), private=False)


def read_manifest(store: Store, name: str) -> Manifest:
    """Read a manifest.

    Raises
    ------
    MissingError
        It is not there.
    DataError
        The file holds something else, or names other files than parts beside it.
    """
    file = store.find(name)
    if file.size > MOST_BYTES:
        raise DataError(f"{name} has {file.size:,} bytes, which is no manifest: these have up to {MOST_BYTES:,}")
    try:
        return _parse(name.rpartition("/")[2], json.loads(bytes(file.read())))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name} is damaged, or no manifest that biglambda wrote: {error}") from None


def _parse(base: str, told: Any) -> Manifest:
    version, run, dtype, rows, parts = _values(told, ("version", "run", "dtype", "rows", "parts"))
    if version != VERSION:
        raise ValueError(f"its version is {short(version)}, and this biglambda reads version {VERSION}")
    if not isinstance(run, str) or not isinstance(dtype, str) or not DTYPE.fullmatch(dtype):
        raise ValueError(f"run {short(run)} with values of dtype {short(dtype)}")
    if not isinstance(parts, list) or not parts:
        raise ValueError(f"its parts are {short(parts)}")
    found = tuple(_part(part_name(base, number), part, np.dtype(dtype)) for number, part in enumerate(parts))
    manifest = Manifest(run, np.dtype(dtype), found)
    if _whole(rows, MOST_ROWS) != manifest.starts[-1]:
        raise ValueError(f"it has {rows} rows, and its parts have {manifest.starts[-1]}")
    return manifest


def _part(expected: str, told: Any, dtype: np.dtype) -> Part:
    name, rows, size, crcs = _values(told, ("name", "rows", "size", "crc32"))
    if name != expected:
        raise ValueError(f"it names a part {short(name)}, where only {expected}, beside it, can be")
    part = Part(_whole(rows, MOST_ROWS), _whole(size, 2 * MOST_ROWS * dtype.itemsize), tuple(crcs))
    if part.size < part.rows * dtype.itemsize:
        raise ValueError(f"{name} has {part.size} bytes for {part.rows} rows")
    if len([_whole(one, 1 << 32) for one in part.checksums]) != -(-part.rows // BLOCK):
        raise ValueError(f"{name} has {len(part.checksums)} checksums for {part.rows} rows")
    return part


def _values(told: Any, names: Sequence[str]) -> list[Any]:
    if not isinstance(told, dict) or set(told) != set(names):
        raise ValueError(f"there is {short(told)} where {', '.join(names)} should be")
    return [told[name] for name in names]


def _whole(value: Any, limit: int) -> int:
    if type(value) is not int or not 0 <= value < limit:
        raise ValueError(f"there is {short(value)} where a number from 0 to below {limit} should be")
    return value
