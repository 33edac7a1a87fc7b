"""Lines in bytes: where they start, how many rows they are, and where to cut a range of bytes between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .store import Store

LF, CR = 10, 13
SCAN_BYTES = 1 << 18
"""Bytes that are counted at a time: few enough for the temporary arrays to stay in the cache."""

READ_BYTES = 1 << 22
"""Bytes that are read at a time at most, in search of line ends."""


@dataclass(frozen=True)
class CsvFile:
    """A file, its size in bytes, and where its first row starts, behind byte order mark and header."""

    path: str
    size: int
    start: int


@dataclass(frozen=True)
class Block:
    """Whole lines: bytes ``start`` to ``stop`` of a file."""

    file: CsvFile
    start: int
    stop: int

    def read(self, store: Store) -> bytes:
        """The bytes."""
        return store.read(self.file.path, self.start, self.stop - self.start)


def line_start(store: Store, file: CsvFile, offset: int) -> int:
    """Where the first line at or after ``offset`` starts; the end of the file if no other line does.

    Only a line feed ends a line here. Where files end lines with a carriage return alone, ranges are longer than
    they could be, but every line is still in exactly one.
    """
    if offset <= file.start:
        return file.start
    position, length = offset - 1, 1 << 12
    while position < file.size:
        data = store.read(file.path, position, min(length, file.size - position))
        found = data.find(b"\n")
        if found >= 0:
            return position + found + 1
        if not data:
            break
        position += len(data)
        length = min(2 * length, READ_BYTES)
    return file.size


def share(files: Sequence[CsvFile], worker: int, workers: int) -> tuple[int, int]:
    """A worker's share of the bytes of all rows, as if the files were one."""
    total = sum(file.size - file.start for file in files)
    return total * worker // workers, total * (worker + 1) // workers


def blocks(store: Store, files: Sequence[CsvFile], low: int, high: int | None, size: int) -> Iterator[Block]:
    """The lines whose first byte lies in ``low`` to ``high`` of all rows' bytes, in blocks of about ``size``.

    Parameters
    ----------
    store : Store
        Where the files are.
    files : sequence of CsvFile
        The data set.
    low, high : int
        Range of bytes, counted over the rows of all files; ``high`` is None for the end.
    size : int
        Bytes in a block. It is longer by the rest of its last line, and shorter at the end of a file.
    """
    base = 0
    for file in files:
        length = file.size - file.start
        if low < base + length and (high is None or base < high):
            position = line_start(store, file, file.start + max(low - base, 0))
            goal = file.size if high is None else min(file.start + high - base, file.size)
            stop = line_start(store, file, goal)
            while position < stop:
                cut = stop if position + size >= stop else min(line_start(store, file, position + size), stop)
                yield Block(file, position, cut)
                position = cut
        base += length


def _breaks(data: np.ndarray) -> np.ndarray:
    return (data == LF) | (data == CR)


def count_rows(raw: bytes) -> int:
    """Lines that are not blank, which is what Arrow makes rows of."""
    data = np.frombuffer(raw, np.uint8)
    rows = 0
    for low in range(0, len(data), SCAN_BYTES):
        # One byte more than a slice: a row ends where a byte that breaks no line is followed by one that does.
        is_break = _breaks(data[low : low + SCAN_BYTES + 1])
        rows += int(np.count_nonzero(is_break[1:] > is_break[:-1]))
    return rows + int(len(data) > 0 and data[-1] not in (LF, CR))


def cut_rows(raw: bytes, rows: int) -> bytes:
    """The bytes of the first ``rows`` rows, of at least so many."""
    is_break = _breaks(np.frombuffer(raw, np.uint8))
    ends = np.flatnonzero(is_break[1:] > is_break[:-1]) + 1
    return raw[: ends[rows - 1]] if rows <= len(ends) else raw


def count_lines(store: Store, file: CsvFile, stop: int) -> int:
    """Lines of any kind that end before byte ``stop`` of a file, for the line number in a message."""
    lines, last = 0, 0
    for low in range(0, stop, READ_BYTES):
        raw = store.read(file.path, low, min(READ_BYTES, stop - low))
        lines += raw.count(b"\n") + raw.count(b"\r") - raw.count(b"\r\n")
        lines -= last == CR and raw[:1] == b"\n"  # a line end that lies in two reads is one
        last = raw[-1] if raw else 0
    return lines
