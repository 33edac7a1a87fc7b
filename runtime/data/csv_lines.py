"""Lines in bytes: where they start, how many rows they are, and where to cut a range of bytes between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .csv_fields import Raw
from .store import File

LF, CR = 10, 13
SCAN_BYTES = 1 << 18
"""Bytes that are counted at a time: few enough for the temporary arrays to stay in the cache."""

READ_BYTES = 1 << 22
"""Bytes that are read at a time at most, in search of line ends."""

TAIL_BYTES = 1 << 15
"""Bytes that are read beyond a stretch, so that the end of its last line is mostly among them."""


HEAD_BYTES = 1 << 16
"""Bytes that are free before what was read, so that the line that began in the piece before can be put there."""


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
    raw: Raw


@dataclass(frozen=True)
class Stretch:
    """The lines of a file whose first byte lies in ``start`` to ``stop``, wherever they end."""

    file: CsvFile
    start: int
    stop: int

    @property
    def first(self) -> int:
        """The first byte to read: the one before tells whether a line starts at ``start``."""
        return self.start - (self.start > self.file.start)


@dataclass(frozen=True)
class Piece:
    """A range of bytes, one of those that a stretch is read in."""

    of: Stretch
    low: int
    high: int

    @property
    def is_first(self) -> bool:
        """Whether the stretch begins with it."""
        return self.low == self.of.first

    @property
    def is_last(self) -> bool:
        """Whether the stretch ends with it."""
        return self.high == self.of.stop

    def read(self) -> bytearray:
        """The bytes, behind `HEAD_BYTES` free ones; of the last piece to the end of the line."""
        source, size = self.of.file.file, self.of.file.size
        stop = min(self.high + TAIL_BYTES, size) if self.is_last else self.high
        raw = bytearray(HEAD_BYTES + stop - self.low)
        source.store.read_into(source, self.low, memoryview(raw)[HEAD_BYTES:])
        if self.is_last:
            seen, length = len(raw) - (stop - self.high) - 1, TAIL_BYTES
            while not (end := raw.find(b"\n", seen) + 1) and stop < size:
                seen, length = len(raw), min(2 * length, READ_BYTES)
                raw += source.read(stop, length)
                stop = self.low + len(raw) - HEAD_BYTES
            if end:
                del raw[end:]
        return raw


def pieces(files: Sequence[CsvFile], low: int, high: int | None, size: int) -> Iterator[Piece]:
    """What to read for the lines whose first byte lies in ``low`` to ``high`` of all rows' bytes, file by file.

    Parameters
    ----------
    files : sequence of CsvFile
        The data set.
    low, high : int
        Range of bytes, counted over the rows of all files; ``high`` is None for the end.
    size : int
        Bytes in a piece. Files are cut at multiples of it, as those who serve them store them.
    """
    base = 0
    for file in files:
        start = file.start + max(low - base, 0)
        stop = file.size if high is None else min(file.start + high - base, file.size)
        base += file.size - file.start
        if start < stop:
            stretch = Stretch(file, start, stop)
            position = stretch.first
            while position < stop:
                end = min((position // size + 1) * size, stop)
                yield Piece(stretch, position, end)
                position = end


def whole_lines(read: Iterable[tuple[Piece, bytearray]]) -> Iterator[Lines]:
    """The lines that start in the stretches that were read, each once, many at a time.

    Only a line feed ends a line here. Where files end lines with a carriage return alone there are more lines at
    a time than there could be.
    """
    rest = bytearray()
    is_anothers = False  # the line whose middle was read last
    for piece, raw in read:
        begin, base = HEAD_BYTES, piece.low - HEAD_BYTES
        if piece.is_first:
            rest, is_anothers = bytearray(), piece.low < piece.of.start
        if is_anothers:
            begin = raw.find(b"\n", HEAD_BYTES) + 1
            is_anothers = not begin
            if is_anothers or base + begin >= piece.high:
                continue
        end = len(raw) if piece.is_last else raw.rfind(b"\n", begin) + 1
        if end <= begin:
            rest += raw[begin:]
            continue
        following = raw[end:]
        if len(rest) <= HEAD_BYTES:
            begin -= len(rest)
            raw[begin : begin + len(rest)] = rest
            yield Lines(piece.of.file, base + begin, memoryview(raw)[begin:end])
        else:
            yield Lines(piece.of.file, base + begin - len(rest), rest + raw[begin:end])
        rest = following


def share(files: Sequence[CsvFile], worker: int, workers: int) -> tuple[int, int]:
    """A worker's share of the bytes of all rows, as if the files were one."""
    total = sum(file.size - file.start for file in files)
    return total * worker // workers, total * (worker + 1) // workers


def _breaks(data: np.ndarray) -> np.ndarray:
    return (data == LF) | (data == CR)


def count_rows(raw: Raw) -> int:
    """Lines that are not blank, which is what Arrow makes rows of."""
    data = np.frombuffer(raw, np.uint8)
    rows = 0
    for low in range(0, len(data), SCAN_BYTES):
        # One byte more than a slice: a row ends where a byte that breaks no line is followed by one that does.
        is_break = _breaks(data[low : low + SCAN_BYTES + 1])
        rows += int(np.count_nonzero(is_break[1:] > is_break[:-1]))
    return rows + int(len(data) > 0 and data[-1] not in (LF, CR))


def cut_rows(raw: Raw, rows: int) -> Raw:
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
