"""What the client can know of CSV files without reading them: their header, their columns, their first rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..errors import DataError
from .columns import Column, choose_columns, listed
from .csv_fields import check_row, decode, is_number, rows_of, split_line
from .csv_lines import CsvFile, Lines, count_rows, pieces, whole_lines
from .csv_source import CsvSource
from .pieces import at_once
from .store import File

Header = bool | Literal["auto"]
HEAD_BYTES = 1 << 26
SAMPLES = 8
SAMPLE_BYTES = 1 << 15
BOM = b"\xef\xbb\xbf"


def describe_csv(
    found: Sequence[File],
    target: Column | None,
    columns: Sequence[Column] | None,
    header: Header,
    delimiter: str,
    dtype: np.dtype | None,
) -> CsvSource:
    """The source for CSV files, whose first lines are read here; see `describe` for the parameters."""
    _check_options(target, header, delimiter)
    heads = at_once(lambda file: _Head(file, delimiter), found)
    first = heads[0]
    if header == "auto":
        header = not all(map(is_number, first.fields))
    names = _names(first) if header else None
    width = len(first.fields)
    features, goal = choose_columns(columns, target, width, names, first.path)
    read = (*features, *(() if goal is None else (goal,)))
    files = []
    for head in heads:
        if header and [field.strip() for field in head.fields] != list(names or ()):
            raise DataError(
                f"{head.path}, line {head.lines[0][0]}: its header is {listed(head.fields)}, but that of "
                f"{first.path} is {listed(names or ())}; the files of one data set have the same columns"
            )
        if header and len(head.lines) == 1:
            raise DataError(
                f"{head.path} has a header, but no rows (header=False would make the first line a row)"
            )
        line, _, text = head.lines[1 if header else 0]
        check_row(f"{head.path}, line {line}", text, delimiter, width, read, names)
        files.append(CsvFile(head.file, head.lines[0][1] if header else head.start))
    return CsvSource(
        tuple(files), width, features, goal, names, delimiter, dtype or np.dtype(np.float64), _line_bytes(files)
    )


class _Head:
    """The first two lines of a file that are not blank, each with its number and where the next one starts."""

    def __init__(self, file: File, delimiter: str) -> None:
        self.file = file
        self.path, self.size = file.name, file.size
        self.start = 0
        self.lines: list[tuple[int, int, str]] = []
        if self.size == 0:
            raise DataError(f"{self.path} is empty; at least one row is needed")
        length = 1 << 16
        while True:
            raw = file.read(0, length)
            lines = self._split(raw)
            # The last of the lines may be cut, unless this is the whole file.
            if len(lines) > 2 or len(raw) >= self.size or length >= HEAD_BYTES:
                break
            length *= 8
        if len(raw) < self.size and len(lines) <= 2:
            raise DataError(f"{self.path}: no two lines in the first {len(raw):,} bytes; this is no CSV file")
        if not lines:
            raise DataError(f"{self.path} has only blank lines; at least one row is needed")
        self.lines = lines[:2]
        self.fields = split_line(f"{self.path}, line {lines[0][0]}", lines[0][2], delimiter)

    def _split(self, raw: bytearray) -> list[tuple[int, int, str]]:
        if bytes(raw[:2]) in (b"\xff\xfe", b"\xfe\xff"):
            raise DataError(f"{self.path} is UTF-16 text; allowed is UTF-8")
        self.start = len(BOM) if raw.startswith(BOM) else 0
        lines: list[tuple[int, int, str]] = []
        for number, stop, line in rows_of(raw[self.start :]):
            lines.append((number + 1, self.start + stop, decode(line)))
            if len(lines) == 3:
                break
        return lines


def _line_bytes(files: Sequence[CsvFile]) -> float:
    """Bytes of a row, by samples from all over the files."""
    total = sum(file.size - file.start for file in files)

    def sample(low: int) -> list[Lines]:
        read = pieces(files, low, min(low + SAMPLE_BYTES, total), SAMPLE_BYTES)
        return list(whole_lines((piece, piece.read()) for piece in read))

    samples = at_once(sample, range(0, total, max(SAMPLE_BYTES, total // SAMPLES)))
    texts = [lines.raw for some in samples for lines in some]
    return sum(map(len, texts)) / max(1, sum(map(count_rows, texts)))


def _names(head: _Head) -> tuple[str, ...]:
    names = tuple(field.strip() for field in head.fields)
    where = f"{head.path}, line {head.lines[0][0]}"
    if "\ufffd" in "".join(names):
        raise DataError(f"{where}: the header {listed(names)} is not UTF-8 text")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{where}: the header has {listed(twice)} more than once; column names must differ")
    return names


def _check_options(target: object, header: object, delimiter: object) -> None:
    if not isinstance(delimiter, str) or len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0':
        raise DataError(f"delimiter={delimiter!r}: one ASCII character is allowed, no quote or line break")
    if not (isinstance(header, bool) or header == "auto"):
        raise DataError(f'header={header!r}: "auto", True and False are allowed')
    if target is not None and not isinstance(target, str | int | np.integer):
        raise DataError(
            f"target is a {type(target).__name__}; for CSV files it is a column name or a column number"
        )
