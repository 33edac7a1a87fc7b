"""A worker's sign of life."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Heartbeat:
    """Calls a function from a thread of its own, again and again, until it returns False or fails.

    Parameters
    ----------
    beat : callable
        Says that the worker is alive; False if nobody listens any more. What it raises is kept.
    every : float
        Seconds between two beats.
    name : str
        Of the thread.
    """

    def __init__(self, beat: Callable[[], bool], every: float, name: str) -> None:
        self._beat, self._every = beat, every
        self._end = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise what the last beat raised."""
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Return when the thread has ended, which takes one beat at most."""
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._end.wait(self._every) and self._beat():
                pass
        except Exception as error:  # the worker's own thread raises it, see `check`
            self._error = error
