"""What the runtime asks of an algorithm. The runtime knows nothing of clusters or gradients."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import numpy as np

from .info import Kernels
from .rows import Rows
from .target import Target

State = dict[str, Any]
"""What all workers read at an iteration's start: a dict of NumPy arrays, numbers, strings, booleans, None,
and lists and dicts of these. It travels as msgpack, see `channel.codec`."""

Combine = Literal["sum", "gather"]
"""How partials meet: added element by element, or put one after the other in the order of the rows."""


def run_name(algorithm: Algorithm) -> str:
    """A name for a run of an algorithm, which no other run has."""
    return f"{algorithm.name}-{secrets.token_hex(6)}"


class Algorithm(Protocol):
    """An algorithm, as data for the one loop in `bsp`.

    An instance is pickled once for each worker (by Lithops), so it is small and holds no rows.
    """

    @property
    def name(self) -> str:
        """A short name, which starts the name of each run."""

    @property
    def memory(self) -> Mapping[str, type]:
        """Names and dtypes of what a worker keeps for each of its rows between iterations."""

    @property
    def partial_size(self) -> int:
        """How many numbers a partial has at most, where partials are summed."""

    @property
    def total_iterations(self) -> int | None:
        """An upper bound of the iterations, for a progress bar, if there is one."""

    def metrics(self, state: State) -> Mapping[str, float | str]:
        """What to show of a state while the run goes on."""

    def initial_state(self) -> State:
        """The state of the first iteration."""

    def target(self) -> Target:
        """What `partial` is compiled for in this process."""

    def kernels(self) -> Kernels:
        """Where the compiled code came from that this process has used so far."""

    def load(self, rows: Rows) -> None:
        """Compile, or load from the cache, what `partial` needs; called once, before the first iteration."""

    def combine(self, state: State) -> Combine:
        """How this iteration's partials meet."""

    def writes(self, state: State) -> tuple[str, ...]:
        """Which arrays of ``rows.memory`` this iteration writes."""

    def partial(self, state: State) -> Callable[[Rows], np.ndarray]:
        """The function that each inner worker runs on its part of the rows.

        It returns a float64 vector: of the same length everywhere if this iteration's partials are summed,
        of any length if they are gathered.
        """

    def update(self, state: State, total: np.ndarray) -> State:
        """The next state. Called once an iteration, by whichever worker completed the sum."""

    def done(self, state: State) -> bool:
        """Whether ``state`` is the last one."""
