"""The channel of a run with one worker: no server, and the same states as with one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..algorithm import Combine, State
from ..trace import Trace
from . import codec


class LocalChannel:
    """A run's only worker.

    Parameters
    ----------
    state : dict
        State of the first iteration.
    trace : Trace, optional
        Receives the time of ``update``.
    """

    def __init__(self, state: State, *, trace: Trace | None = None) -> None:
        self._trace = trace or Trace()
        self._iteration, self._done = 1, False
        # A state passes through bytes as it does through Redis, so that an algorithm meets the same
        # read-only arrays, lists for tuples, and refusals in either.
        self._state = codec.encode(state)

    def join(self) -> tuple[int, State, bool]:
        """The iteration to go on with, its state, and whether that is the last."""
        return self._iteration, codec.decode(self._state), self._done

    def all_reduce(
        self,
        iteration: int,
        partial: np.ndarray,
        how: Combine,
        update: Callable[[np.ndarray], tuple[State, bool]],
    ) -> tuple[int, State, bool]:
        """See `Channel.all_reduce`; the only partial is the total."""
        if iteration != self._iteration or self._done:
            raise ValueError(f"iteration {iteration} was pushed, but {self._iteration} is the one to go on with")
        total = codec.vector_of(codec.as_partial(partial).tobytes())
        with self._trace.span("update"):
            state, self._done = update(total)
            self._state = codec.encode(state)
        self._iteration += 1
        return self.join()

    def check(self) -> None:
        """Nobody ends this run from outside."""

    def abort(self, error: BaseException) -> None:
        """Nobody else is to be told."""

    def close(self) -> None:
        """There is nothing to give back."""
