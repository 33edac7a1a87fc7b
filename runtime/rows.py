"""The rows that a worker, or one of its inner workers, works on."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

CHUNK = 1024
"""Rows are totalled in chunks of this many, which start at multiples of it in the whole data set; partitions
and their parts are cut at these boundaries only, so that a sum does not depend on where the cuts are."""


@dataclass
class Rows:
    """Consecutive rows of the data set, with what a worker keeps beside them between iterations.

    Attributes
    ----------
    X : ndarray of shape (m, d), float32 or float64, C-contiguous
        Features. Never written; may be read-only or memory-mapped.
    y : ndarray of shape (m,) or None
        Target, of the dtype of ``X``.
    first : int
        Index of the first row in the whole data set, a multiple of ``CHUNK``.
    memory : dict of str to ndarray of shape (m,)
        One value per row for each name in ``Algorithm.memory``; starts as zeros.
    fresh : bool
        True in the first iteration after a worker joined: ``memory`` says nothing yet.
    """

    X: np.ndarray
    y: np.ndarray | None = None
    first: int = 0
    memory: dict[str, np.ndarray] = field(default_factory=dict)
    fresh: bool = True

    def __len__(self) -> int:
        return len(self.X)

    def part(self, low: int, high: int) -> Rows:
        """Rows ``low`` to ``high`` as views."""
        return Rows(
            self.X[low:high],
            None if self.y is None else self.y[low:high],
            self.first + low,
            {name: values[low:high] for name, values in self.memory.items()},
            self.fresh,
        )

    def cut(self, parts: int) -> list[Rows]:
        """At most ``parts`` parts of nearly equal size, cut at chunk boundaries; never an empty one.

        Without any rows there is one part, which is empty.
        """
        return [self.part(low, high) for low, high in pairwise(cut_chunks(len(self), parts))]


def cut_chunks(rows: int, parts: int) -> list[int]:
    """Boundaries of at most ``parts`` ranges of whole chunks, as equal as can be: ``[0, ..., rows]``.

    With fewer chunks than parts there is one range for each chunk; without rows there is one empty range.
    """
    chunks = -(-rows // CHUNK)
    parts = max(1, min(parts, chunks))
    return [chunks * part // parts * CHUNK for part in range(parts)] + [rows]
