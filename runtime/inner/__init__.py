"""Inner workers: how the vCPUs of one function share its rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self

import numpy as np

from ..resources import usable_cpus
from ..rows import Rows

KINDS = ("threads", "processes", "serial")
"""Names of the kinds of inner workers."""

Task = Callable[[Rows], np.ndarray]


class Inner(ABC):
    """Runs one function on parts of a worker's rows.

    Attributes
    ----------
    workers : int
        How many inner workers there are.
    """

    workers: int

    @abstractmethod
    def map(self, task: Task, rows: Rows, writes: tuple[str, ...]) -> list[np.ndarray]:
        """Results of ``task`` on the parts of ``rows``, in the order of the rows.

        ``writes`` names the arrays of ``rows.memory`` that the task writes. There are never more parts than
        chunks of rows, and at least one, which may be empty; where the cuts are may differ from call to call.
        """

    def close(self) -> None:  # noqa: B027 - most kinds have nothing to end
        """End what still runs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def make_inner(kind: str = "threads", workers: int | str = "auto") -> Inner:
    """Inner workers of a kind.

    Parameters
    ----------
    kind : {"threads", "processes", "serial"}
        ``threads``: a persistent pool that shares the rows. ``processes``: as in the paper, forked anew for each
        iteration, with results through pipes. ``serial``: the calling thread alone.
    workers : int or "auto"
        How many; "auto" is the number of usable CPUs. ``serial`` is always one.
    """
    kind, workers = check_inner(kind, workers)
    if workers == "auto":
        workers = usable_cpus()
    if kind == "serial":
        from .serial import Serial

        return Serial()
    if kind == "threads":
        from .threads import Threads

        return Threads(int(workers))
    from .processes import Processes

    return Processes(int(workers))


def check_inner(kind: object, workers: object) -> tuple[str, int | str]:
    """The two options, if they are allowed.

    Raises
    ------
    ValueError
        With the value received and the values allowed.
    """
    if kind not in KINDS:
        raise ValueError(f"inner={kind!r}: allowed are {', '.join(map(repr, KINDS))}")
    if workers == "auto":
        return str(kind), "auto"
    if isinstance(workers, bool) or not isinstance(workers, int | np.integer) or not 1 <= workers <= 1024:
        raise ValueError(f"inner_workers={workers!r}: allowed are 'auto' and whole numbers from 1 to 1024")
    return str(kind), int(workers)
