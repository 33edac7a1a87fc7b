"""What the iteration loop asks of a channel: how partials meet, and how everybody gets the next state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from ..algorithm import Combine, State
from ..errors import RunError


class FencedError(RunError):
    """Another attempt is this worker; this one ends, and the run goes on."""


class LostError(RunError):
    """The server no longer has what the run needs; whoever still has a state can go on from it in another run."""


class OutOfTime(Exception):
    """The worker stopped before its function's time was up; another attempt goes on, and the run waits for it."""


class Channel(Protocol):
    """One worker's end of a run."""

    def join(self) -> tuple[int, State, bool]:
        """Become a worker of the run.

        Returns
        -------
        iteration : int
            The iteration to go on with; the first is 1.
        state : dict
            Its state. Arrays in it are read-only.
        done : bool
            Whether the run is over and ``state`` its last.

        Raises
        ------
        RunError
            The run was aborted, does not exist, or the channel is lost.
        DataError
            The run was aborted because of the data.
        """

    def all_reduce(
        self,
        iteration: int,
        partial: np.ndarray,
        how: Combine,
        update: Callable[[np.ndarray], tuple[State, bool]],
    ) -> tuple[int, State, bool]:
        """Add this worker's partial to the iteration and wait for the next state.

        Parameters
        ----------
        iteration : int
            What `join` or the previous call returned.
        partial : ndarray of shape (m,), float64
            Of the same length in all workers if summed, of any length, also 0, if gathered.
        how : {"sum", "gather"}
            Add element by element, or put one after the other in the order of the workers.
        update : callable
            ``update(total) -> (state, done)``, called in the worker that completed the total (or that took
            over from it). ``total`` is read-only.

        Returns
        -------
        iteration, state, done
            As `join` returns them.

        Raises
        ------
        RunError, DataError
            As `join` raises them.
        ValueError
            ``partial`` is no float64 vector.
        """

    def check(self) -> None:
        """Raise what ended the run for this worker, as far as is known: it asks nobody, and takes no time."""

    def abort(self, error: BaseException) -> None:
        """End the run for everybody, with the reason. Never raises; a run that has ended stays as it is."""

    def close(self) -> None:
        """Give back connections. The run goes on."""
