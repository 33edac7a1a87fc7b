"""Blocks of CSV lines to columns of an array, with Arrow."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError
from .arrow_values import arrow_values
from .csv_fields import Raw, check_row, decode, rows_of
from .csv_lines import Lines, count_lines

ARROW_BYTES = 2**31 - 2
"""Arrow's parser counts the bytes of a block in 32 bits."""

COUNTED_BYTES = 1 << 26
"""Bytes of an object that are read again to count lines, for a message."""

_import = threading.Lock()


@dataclass(frozen=True)
class Layout:
    """What each line must be, and which of its fields are read."""

    width: int
    features: tuple[int, ...]
    target: int | None
    names: tuple[str, ...] | None
    delimiter: str
    dtype: np.dtype

    @property
    def columns(self) -> tuple[int, ...]:
        """Numbers of the columns that are read, the target last."""
        return self.features if self.target is None else (*self.features, self.target)


class Parser:
    """Parses blocks; used from several threads at a time."""

    def __init__(self, layout: Layout) -> None:
        with _import:
            import pyarrow as arrow
            from pyarrow import csv
        self._arrow, self._csv = arrow, csv
        self._layout = layout
        names = [str(number) for number in range(layout.width)]
        read = [names[number] for number in layout.columns]
        kind = arrow.float32() if layout.dtype == np.float32 else arrow.float64()
        self._names = names
        self._parse_options = csv.ParseOptions(delimiter=layout.delimiter)
        self._convert_options = csv.ConvertOptions(
            column_types=dict.fromkeys(read, kind), include_columns=read, null_values=[""], check_utf8=False
        )

    def parse(self, lines: Lines, rows: int, X: np.ndarray, y: np.ndarray | None) -> None:
        """Parse the ``rows`` rows of ``lines`` into ``X`` and ``y``, which have so many."""
        if not rows:
            return
        raw = lines.raw
        if len(raw) >= ARROW_BYTES:
            raise DataError(
                f"{lines.file.path} has a line of {len(raw):,} bytes; at most {ARROW_BYTES:,} are allowed"
            )
        columns = self._columns(raw, rows)
        if columns is None:
            raise self._explain(lines)
        for number in range(X.shape[1]):
            X[:, number] = self._values(columns[number])
        if y is not None:
            y[:] = self._values(columns[-1])

    def _columns(self, raw: Raw, rows: int) -> Sequence[Any] | None:
        # Arrow drops a byte order mark at the start of what it is given. In the middle of a file it belongs to a
        # field, wherever the blocks are cut; a blank line before it is dropped instead.
        text = b"\n" + raw if raw[:3] == b"\xef\xbb\xbf" else raw
        options = self._csv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=self._names)
        try:
            table = self._csv.read_csv(
                self._arrow.BufferReader(text),
                read_options=options,
                parse_options=self._parse_options,
                convert_options=self._convert_options,
            )
        except self._arrow.ArrowInvalid:
            return None
        # Fewer rows than lines: a line break inside quotes, in a column that is not read.
        if table.num_rows != rows:
            return None
        return [column.combine_chunks() if column.num_chunks > 1 else column.chunk(0) for column in table.columns]

    def _values(self, column: Any) -> np.ndarray:
        values = arrow_values(column, self._layout.dtype)
        if column.null_count:
            bits = np.frombuffer(column.buffers()[0], np.uint8)
            there = np.unpackbits(bits, bitorder="little")[column.offset : column.offset + len(column)]
            values = np.where(there.view(np.bool_), values, np.nan).astype(self._layout.dtype, copy=False)
        return values

    def _explain(self, lines: Lines) -> DataError:
        """What is wrong with lines that Arrow refused, found by reading them one by one."""
        layout, file = self._layout, lines.file
        # Lines are counted from the start of the file, which is not fetched again for that if it is far and large.
        far = file.file.store.is_shared and lines.start > COUNTED_BYTES
        before = 0 if far else count_lines(file, lines.start)
        whence = f" after byte {lines.start:,}" if far else ""
        try:
            for number, _, line in rows_of(lines.raw):
                where = f"{file.path}, line {before + number + 1}{whence}"
                check_row(where, decode(line), layout.delimiter, layout.width, layout.columns, layout.names)
        except DataError as error:
            return error
        return DataError(f"{file.path}, from line {before + 1}{whence}: Arrow's CSV parser refuses these lines")
