"""Several pieces of memory as one file, so that they are sent without a copy of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from .store import Bytes


class Joined(io.RawIOBase):
    """A file to read whose bytes are those of some pieces, one after the other.

    Parameters
    ----------
    pieces : sequence of bytes-like
        They must not change while it is read.
    """

    def __init__(self, pieces: Sequence[Bytes]) -> None:
        self._pieces = [memoryview(piece).cast("B") for piece in pieces if len(piece)]
        self._starts = [0, *accumulate(map(len, self._pieces))]
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is: what is sent again is read again."""
        return True

    def tell(self) -> int:
        """Bytes before the next one."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go on to read somewhere else."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._starts[-1]}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` as far as one piece reaches; 0 at the end."""
        out = memoryview(buffer).cast("B")
        for start, piece in zip(self._starts, self._pieces, strict=False):
            offset = self._at - start
            if 0 <= offset < len(piece):
                part = piece[offset : offset + len(out)]
                out[: len(part)] = part
                self._at += len(part)
                return len(part)
        return 0
