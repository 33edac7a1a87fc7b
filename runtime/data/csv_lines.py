"""Lines in bytes: where they start, how many rows they are, and where to cut a range of bytes between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .store import File

LF, CR = 10, 13
SCAN_BYTES = 1 << 18
"""Bytes that are counted at a time: few enough for the temporary arrays to stay in the cache."""

READ_BYTES = 1 << 22
"""Bytes that are read at a time at most, in search of line ends."""

TAIL_BYTES = 1 << 15
"""Bytes that are read beyond a block, so that the end of its last line is mostly among them."""


@dataclass(frozen=True)
class CsvFile:
    """A file, and where its first row starts, behind byte order mark and header."""

    file: File
    start: int

    @property
    def path(self) -> str:
        """Its name."""
        return self.file.name

    @property
    def size(self) -> int:
        """Bytes."""
        return self.file.size


@dataclass(frozen=True)
class Lines:
    """Whole lines of a file, from byte ``start``."""

    file: CsvFile
    start: int
    raw: bytes | bytearray


@dataclass(frozen=True)
class Block:
    """The lines of a file whose first byte lies in ``low`` to ``high``, wherever they end.

    Only a line feed ends a line here. Where files end lines with a carriage return alone, blocks are longer than
    they could be, but every line is still in exactly one.
    """

    file: CsvFile
    low: int
    high: int

    def read(self) -> Lines:
        """The lines, in one read unless the last of them is long."""
        file, source = self.file, self.file.file
        # The byte before tells whether a line starts at `low`.
        first = self.low - 1 if self.low > file.start else file.start
        raw = source.read(first, self.high - first + TAIL_BYTES)
        start = raw.find(b"\n") + 1 if self.low > file.start else 0
        if first + start >= self.high or (self.low > file.start and not start):
            return Lines(file, self.high, b"")
        stop, length = raw.find(b"\n", self.high - 1 - first) + 1, TAIL_BYTES
        while not stop and first + len(raw) < file.size:
            length = min(2 * length, READ_BYTES)
            more = source.read(first + len(raw), length)
            found = more.find(b"\n") + 1
            stop = len(raw) + found if found else 0
            raw += more
        if stop:
            del raw[stop:]
        del raw[:start]
        return Lines(file, first + start, raw)


def share(files: Sequence[CsvFile], worker: int, workers: int) -> tuple[int, int]:
    """A worker's share of the bytes of all rows, as if the files were one."""
    total = sum(file.size - file.start for file in files)
    return total * worker // workers, total * (worker + 1) // workers


def blocks(files: Sequence[CsvFile], low: int, high: int | None, size: int) -> Iterator[Block]:
    """Blocks of ``size`` bytes with the lines whose first byte lies in ``low`` to ``high`` of all rows' bytes.

    Parameters
    ----------
    files : sequence of CsvFile
        The data set.
    low, high : int
        Range of bytes, counted over the rows of all files; ``high`` is None for the end.
    size : int
        Bytes in a block; fewer at the end of a file and of the range.
    """
    base = 0
    for file in files:
        start = file.start + max(low - base, 0)
        stop = file.size if high is None else min(file.start + high - base, file.size)
        for position in range(start, stop, size):
            yield Block(file, position, min(position + size, stop))
        base += file.size - file.start


def _breaks(data: np.ndarray) -> np.ndarray:
    return (data == LF) | (data == CR)


def count_rows(raw: bytes | bytearray) -> int:
    """Lines that are not blank, which is what Arrow makes rows of."""
    data = np.frombuffer(raw, np.uint8)
    rows = 0
    for low in range(0, len(data), SCAN_BYTES):
        # One byte more than a slice: a row ends where a byte that breaks no line is followed by one that does.
        is_break = _breaks(data[low : low + SCAN_BYTES + 1])
        rows += int(np.count_nonzero(is_break[1:] > is_break[:-1]))
    return rows + int(len(data) > 0 and data[-1] not in (LF, CR))


def cut_rows(raw: bytes | bytearray, rows: int) -> bytes | bytearray:
    """The bytes of the first ``rows`` rows, of at least so many."""
    is_break = _breaks(np.frombuffer(raw, np.uint8))
    ends = np.flatnonzero(is_break[1:] > is_break[:-1]) + 1
    return raw[: ends[rows - 1]] if rows <= len(ends) else raw


def count_lines(file: CsvFile, stop: int) -> int:
    """Lines of any kind that end before byte ``stop`` of a file, for the line number in a message."""
    lines, last = 0, 0
    for low in range(0, stop, READ_BYTES):
        raw = file.file.read(low, min(READ_BYTES, stop - low))
        lines += raw.count(b"\n") + raw.count(b"\r") - raw.count(b"\r\n")
        lines -= last == CR and raw[:1] == b"\n"  # a line end that lies in two reads is one
        last = raw[-1] if raw else 0
    return lines
