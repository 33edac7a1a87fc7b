"""How much memory a worker will need, found out before anything is launched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..algorithm import Algorithm
from ..data import Source
from ..errors import RunError
from ..inner.threads import PIECES
from ..resources import LAMBDA_LARGEST_MB, MB
from .options import MAX_WORKERS

BASE_BYTES = 90 * MB
"""Of a worker without rows, of its own: what Python, NumPy, Numba with the kernels, and Lithops allocate."""

CODE_BYTES = 140 * MB
"""Of the libraries' files, which the system maps: 100 to 150 MB were seen."""

IN_FLIGHT = 8
"""Vectors of a partial's length beside the partials themselves: states, what kernels make of them, messages."""

RESERVE = 0.1
"""Of a function's memory, what is left free: for what Lambda itself takes, and since a plan is no measurement."""

STEP_MB = 64


@dataclass(frozen=True)
class MemoryPlan:
    """What the worker with the most rows is going to need.

    Attributes
    ----------
    rows : int
        How many it has, about.
    base : int
        Bytes that the process has without them.
    held : int
        Bytes of its rows.
    beside : int
        Bytes beside them, where most is needed at a time: buffers while it reads, or values for each row.
    memory_mb : int or None
        What its function has, if there is a limit.
    """

    rows: int
    base: int
    held: int
    beside: int
    memory_mb: int | None = None

    @property
    def peak(self) -> int:
        """Bytes of its own that the process has at most, as `peak_bytes` measures it."""
        return self.base + self.held + self.beside

    @property
    def needed(self) -> int:
        """Bytes that its function must have, the code of libraries with them."""
        return self.peak + CODE_BYTES

    @property
    def fits(self) -> bool:
        """Whether the function has enough, and some to spare."""
        return self.memory_mb is None or self.needed <= (1 - RESERVE) * self.memory_mb * MB


def plan_memory(
    source: Source,
    algorithm: Algorithm,
    workers: int,
    inner_workers: int,
    memory_mb: int | None = None,
    base: int = BASE_BYTES,
) -> MemoryPlan:
    """Plan the memory of a worker, see `MemoryPlan`."""
    its = source.footprint(workers, inner_workers)
    values = its.rows * sum(np.dtype(kind).itemsize for kind in algorithm.memory.values())
    vectors = 8 * algorithm.partial_size * (PIECES * inner_workers + IN_FLIGHT)
    return MemoryPlan(its.rows, base + its.libraries, its.held, max(its.reading, values + vectors), memory_mb)


def plan_functions(
    plan: Callable[[int, int | None], MemoryPlan], workers: int, memory_mb: int | None
) -> MemoryPlan:
    """The plan for some workers in functions of some size, if it fits.

    Parameters
    ----------
    plan : callable
        Plans for a number of workers and a size of functions, MB.
    workers, memory_mb : int
        What is asked for.

    Raises
    ------
    RunError
        The functions are too small. Says how many would do, or how large ones.
    """
    wanted = plan(workers, memory_mb)
    if wanted.fits:
        return wanted
    assert memory_mb is not None
    ways = []
    more = _first(lambda workers: plan(workers, memory_mb).fits, workers + 1, MAX_WORKERS)
    if more is not None:
        ways.append(f"workers={more:,} or more")
    steps = range(memory_mb // STEP_MB * STEP_MB + STEP_MB, LAMBDA_LARGEST_MB + 1, STEP_MB)
    larger = next((size for size in steps if plan(workers, size).fits), None)
    if larger is not None:
        ways.append(f"functions of {larger:,} MB (runtime_memory) or more")
    elif more is None:
        ways.append(f"more workers in larger functions: one of {memory_mb:,} MB is too small for any rows")
    libraries = wanted.base + CODE_BYTES
    raise RunError(
        f"workers={workers:,} in functions of {memory_mb:,} MB: the worker with the most rows, {wanted.rows:,}, "
        f"needs about {wanted.needed / MB:,.0f} MB ({wanted.held / MB:,.0f} for its rows, "
        f"{wanted.beside / MB:,.0f} beside them, {libraries / MB:,.0f} for libraries), and a tenth stays "
        f"free: take {', or '.join(ways)}"
    )


def _first(fits: Callable[[int], bool], low: int, high: int) -> int | None:
    """The least number from ``low`` to ``high`` that fits, where all above one that fits do so as well."""
    if low > high or not fits(high):
        return None
    while low < high:
        middle = (low + high) // 2
        if fits(middle):
            high = middle
        else:
            low = middle + 1
    return low
