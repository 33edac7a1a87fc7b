"""A line's fields, read slowly and explained exactly: for the first lines, and once Arrow refused a block."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..errors import DataError
from .columns import shorten

NUMBER = re.compile(
    r"[ \t]*[+-]?(?:\d+\.?\d*(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?|inf(?:inity)?|nan(?:\(\w*\))?)[ \t]*", re.I | re.A
)
"""What Arrow's parser takes for a floating-point number."""

Raw = bytes | bytearray | memoryview

LINE = re.compile(rb"([^\r\n]*)(\r\n|\n|\r|$)")


def is_number(text: str) -> bool:
    """Whether a field is a number, or empty, which stands for NaN."""
    return not text or NUMBER.fullmatch(text) is not None


def split_fields(line: str, delimiter: str) -> list[str] | None:
    """The fields of a line, or None if a quoted field does not end in it."""
    if '"' not in line:
        return line.split(delimiter)
    fields, position = [], 0
    while True:
        text = ""
        if line.startswith('"', position):
            position += 1
            while True:
                quote = line.find('"', position)
                if quote < 0:
                    return None
                text += line[position:quote]
                position = quote + 1
                if not line.startswith('"', position):
                    break
                text += '"'
                position += 1
        stop = line.find(delimiter, position)
        fields.append(text + (line[position:] if stop < 0 else line[position:stop]))
        if stop < 0:
            return fields
        position = stop + 1


def rows_of(raw: Raw) -> Iterator[tuple[int, int, Raw]]:
    """For each line that is not blank its number within ``raw``, from 0, where the next one starts, its bytes."""
    for number, match in enumerate(LINE.finditer(raw)):
        if match[1]:
            yield number, match.end(), match[1]


def decode(line: Raw) -> str:
    """The text of a line; bytes that are not UTF-8 become replacement characters, which are no numbers."""
    return str(line, "utf-8", "replace")


def split_line(where: str, text: str, delimiter: str) -> list[str]:
    """`split_fields`, or an error that names the line."""
    fields = split_fields(text, delimiter)
    if fields is None:
        raise DataError(
            f"{where}: a quoted field does not end in its line: {shorten(text)}; line breaks inside quotes are "
            "not allowed"
        )
    return fields


def check_row(
    where: str, text: str, delimiter: str, width: int, columns: Sequence[int], names: Sequence[str] | None
) -> None:
    """Refuse a line that is not ``width`` fields, with numbers in the ``columns`` that are read."""
    fields = split_line(where, text, delimiter)
    if len(fields) != width:
        raise DataError(f"{where}: expected {width} fields, found {len(fields)}: {shorten(text, 80)}")
    for column in columns:
        if not is_number(fields[column]):
            name = f"column {column}" if names is None else f"column {shorten(names[column])} (number {column})"
            hint = f" (fields are separated by {delimiter!r})" if width == 1 else ""
            raise DataError(f"{where}, {name}: {shorten(fields[column])} is not a number{hint}")
