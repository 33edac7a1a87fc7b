"""Where the time of a worker went."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

Breakdown = dict[str, float]
"""Seconds by what they were spent on: ``compute``, ``push``, ``wait`` or ``update``."""


class Trace:
    """A worker's time, iteration by iteration.

    Attributes
    ----------
    load : float
        Seconds spent on reading the partition and loading the kernels.
    iterations : list of dict
        For each iteration, seconds by kind: ``compute``, ``push``, ``wait``, ``update``.
    """

    def __init__(self) -> None:
        self.load = 0.0
        self.iterations: list[Breakdown] = []

    def begin(self) -> None:
        """Start the next iteration."""
        self.iterations.append({})

    @contextmanager
    def span(self, kind: str) -> Iterator[None]:
        """Add the time of a ``with`` block to the current iteration, or to ``load`` before the first."""
        start = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            if self.iterations:
                self.iterations[-1][kind] = self.iterations[-1].get(kind, 0.0) + seconds
            else:
                self.load += seconds

    @property
    def longest(self) -> float:
        """Seconds of the longest iteration, without its waiting; of the load, while there was none."""
        own = (sum(iteration.values()) - iteration.get("wait", 0.0) for iteration in self.iterations)
        return max(own, default=self.load)

    def total(self, kind: str) -> float:
        """Seconds spent on one kind over all iterations."""
        return sum(iteration.get(kind, 0.0) for iteration in self.iterations)
