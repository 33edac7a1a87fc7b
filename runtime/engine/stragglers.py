"""Which workers are so much behind the others that another function may be worth its price."""

from __future__ import annotations

from ..channel.control import Status

FACTOR = 3.0
"""How many times as long as half of the workers another one may take."""
AT_LEAST = 5.0
"""Seconds for which to wait in any case: a function takes as long to start."""


def stragglers(waiting_for: tuple[int, ...], elapsed: float, half: float | None) -> tuple[int, ...]:
    """The workers that are worth a backup.

    Parameters
    ----------
    waiting_for : tuple of int
        Those that have not pushed in this iteration.
    elapsed : float
        Seconds since it began.
    half : float or None
        Seconds within which half of the workers had pushed; None if they have not.
    """
    return waiting_for if half is not None and elapsed > max(FACTOR * half, AT_LEAST) else ()


class Pace:
    """How fast the partials of an iteration come in, as the client sees it."""

    def __init__(self) -> None:
        self._iteration = 0
        self._began = 0.0
        self._half: float | None = None

    def behind(self, status: Status, now: float) -> tuple[int, ...]:
        """The stragglers of the iteration at work; ``now`` by `time.monotonic`."""
        if status.iteration != self._iteration:
            self._iteration, self._began, self._half = status.iteration, now, None
        elapsed = now - self._began
        if self._half is None and 2 * len(status.waiting_for) <= status.workers:
            self._half = elapsed
        return stragglers(status.waiting_for, elapsed, self._half)
