"""An algorithm as a sequence of passes over the data, which is all that the runtime sees of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from biglambda.kernels import tally
from biglambda.kernels import target as compiled_for
from biglambda.runtime.algorithm import Combine, State
from biglambda.runtime.info import Kernels
from biglambda.runtime.rows import Rows
from biglambda.runtime.target import Target


def own_target() -> Target:
    """What the kernels are compiled for in this process."""
    own = compiled_for()
    return Target(own.name, own.family)


def own_kernels() -> Kernels:
    """Where the kernels of this process came from."""
    found = tally()
    return Kernels(found.loaded, found.compiled)


class Pass(ABC):
    """One kind of pass over the rows; subclasses are frozen dataclasses.

    Attributes
    ----------
    combine : {"sum", "gather"}
        How the partials meet.
    writes : tuple of str
        What the pass writes of the values kept for each row.
    """

    combine: Combine = "sum"
    writes: tuple[str, ...] = ()

    @abstractmethod
    def load(self, x: np.ndarray) -> None:
        """Run the pass' kernels once on ``x``, a single row, so that they are compiled or loaded."""

    @abstractmethod
    def partial(self, state: State) -> Callable[[Rows], np.ndarray]:
        """See `biglambda.runtime.algorithm.Algorithm.partial`."""

    @abstractmethod
    def update(self, state: State, total: np.ndarray) -> State:
        """What changes in the state; ``pass`` names the next pass, and ``done`` ends the run."""


@dataclass(frozen=True)
class Pipeline:
    """Passes by name; ``state["pass"]`` names the one that an iteration runs.

    The last state still names the pass that led to it, so that a worker which joins late can make up what the
    others keep for their rows.

    Attributes
    ----------
    name : str
        Shown in the run's name.
    passes : mapping of str to Pass
        The first is the one that a run starts with.
    memory : mapping of str to dtype
        What a worker keeps for each row between iterations.
    partial_size : int
        How many numbers the partials of any pass have at most, where they are summed.
    shown : tuple of str
        Entries of the state that a progress bar shows.
    total_iterations : int or None
        An upper bound of the passes.
    """

    name: str
    passes: Mapping[str, Pass]
    memory: Mapping[str, type]
    partial_size: int
    shown: tuple[str, ...] = ()
    total_iterations: int | None = None

    def initial_state(self) -> State:
        """The state of the first pass."""
        return {"pass": next(iter(self.passes)), "done": False}

    def target(self) -> Target:
        """What the kernels are compiled for in this process."""
        return own_target()

    def kernels(self) -> Kernels:
        """Where the kernels of this process came from."""
        return own_kernels()

    def load(self, rows: Rows) -> None:
        """Compile the kernels of all passes for the rows' shape and dtype, or load them from the cache."""
        x = np.zeros((1, rows.X.shape[1]), rows.X.dtype)
        for one in self.passes.values():
            one.load(x)

    def combine(self, state: State) -> Combine:
        """How this iteration's partials meet."""
        return self.passes[state["pass"]].combine

    def writes(self, state: State) -> tuple[str, ...]:
        """What this iteration writes of the values kept for each row."""
        return self.passes[state["pass"]].writes

    def partial(self, state: State) -> Callable[[Rows], np.ndarray]:
        """What each inner worker runs in this iteration."""
        return self.passes[state["pass"]].partial(state)

    def update(self, state: State, total: np.ndarray) -> State:
        """The next state."""
        return {**state, **self.passes[state["pass"]].update(state, total)}

    def done(self, state: State) -> bool:
        """Whether ``state`` is the last one."""
        return bool(state["done"])

    def metrics(self, state: State) -> dict[str, float | str]:
        """The pass, and what there is of the entries to show."""
        values = {name: float(state[name]) for name in self.shown if name in state}
        return {"pass": state["pass"], **values}
