"""What a run, and each of its workers, brings back."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..algorithm import State
from ..data import StoredArray
from ..data.parts import Part
from ..info import Info
from ..memory import peak_bytes
from ..resources import MB, Cost, lambda_memory
from ..target import Targets, grouped
from ..trace import Trace
from .memory_plan import MemoryPlan

KINDS = ("launch", "load", "compute", "push", "wait", "update")


@dataclass
class WorkerReport:
    """What one worker brings back; pickled by Lithops.

    Attributes
    ----------
    run : str
        Name of the run that it took part in.
    worker, rows, inner_workers, process : int
        Its number, how many rows it had, its inner workers, its process id.
    memory : dict of str to ndarray
        What was asked for of the values kept for each row.
    parts : dict of str to Part
        What it wrote of them instead.
    trace : Trace
        Where its time went.
    info : Info
        What it computed on.
    started, ended : float
        Seconds since the epoch, by its own clock.
    peak : int
        Bytes of memory of its own that its process had at most.
    left : bool
        Whether its time was up before the run had ended, so that another attempt went on.
    """

    run: str
    worker: int
    rows: int
    inner_workers: int
    memory: dict[str, np.ndarray]
    trace: Trace
    info: Info
    started: float
    left: bool = False
    parts: dict[str, Part] = field(default_factory=dict)
    ended: float = field(default_factory=time.time)
    process: int = field(default_factory=os.getpid)
    peak: int = field(default_factory=peak_bytes)


@dataclass(frozen=True)
class RunTrace:
    """Where the time of a run went.

    Attributes
    ----------
    run : str
        The run's name.
    launch : float
        Seconds from the launch until the last worker had started.
    seconds : float
        Seconds from the launch until the results were in.
    workers : tuple of WorkerReport
        Each worker's breakdown, without its rows.
    projected : int or None
        Bytes of memory of its own that a worker was expected to have at most; None for rows that were in memory.
    """

    run: str
    launch: float
    seconds: float
    workers: tuple[WorkerReport, ...]
    projected: int | None

    def breakdown(self) -> dict[str, float]:
        """Seconds by kind (launch, load, compute, push, wait, update), as the mean over the workers."""
        means = {
            kind: sum(report.trace.total(kind) for report in self.workers) / len(self.workers)
            for kind in KINDS[2:]
        }
        load = sum(report.trace.load for report in self.workers) / len(self.workers)
        return {"launch": self.launch, "load": load, **means}

    @property
    def peak(self) -> int:
        """Bytes of memory of its own that the process of any worker had at most, see docs/data.md."""
        return max(report.peak for report in self.workers)

    @property
    def compiled(self) -> int:
        """Kernels that workers had to compile, all together; 0 in the runtime image."""
        return sum(report.info.kernels.compiled for report in self.workers)

    @property
    def targets(self) -> Targets:
        """The workers of each target that the run was computed on."""
        return grouped((report.info.target, report.worker) for report in self.workers)

    def __repr__(self) -> str:
        parts = ", ".join(f"{kind} {seconds:.3f}" for kind, seconds in self.breakdown().items())
        planned = "" if self.projected is None else f" ({self.projected / MB:,.0f} projected)"
        on = " and ".join(target.name for target in self.targets)
        compiled = f", {self.compiled} kernels compiled on the spot" if self.compiled else ""
        return (
            f"RunTrace({self.seconds:.3f} s, {len(self.workers)} workers on {on}, at most "
            f"{self.peak / MB:,.0f} MB each{planned}{compiled}; mean seconds: {parts})"
        )


@dataclass(frozen=True)
class Outcome:
    """The last state of a run, what its workers kept for each row, and what it took."""

    state: State
    memory: dict[str, np.ndarray | StoredArray]
    trace: RunTrace
    cost: Cost


def by_worker(reports: Sequence[WorkerReport]) -> list[WorkerReport]:
    """One report of each worker that saw the end of the run, in their order."""
    of = {one.worker: one for one in reports if not one.left}  # of some there may be two
    return [of[worker] for worker in sorted(of)]


def gather(
    run: str,
    state: State,
    reports: list[WorkerReport],
    launched: float,
    seconds: float,
    plan: MemoryPlan | None,
) -> Outcome:
    """Put the workers' reports together, in the order of the rows; of those that left, only what they cost."""
    everybody, reports = reports, by_worker(reports)
    memory: dict[str, np.ndarray | StoredArray] = {
        name: np.concatenate([report.memory[name] for report in reports]) for name in reports[0].memory
    }
    for one in reports:
        one.memory, one.parts = {}, {}
    launch = max(0.0, max(one.started for one in reports) - launched)
    has = None if plan is None else plan.memory_mb
    memory_mb = has or lambda_memory(max(one.inner_workers for one in reports))
    projected = None if plan is None else plan.peak
    cost = Cost(sum(one.ended - one.started for one in everybody), memory_mb)
    return Outcome(state, memory, RunTrace(run, launch, seconds, tuple(reports), projected), cost)
