"""A data set made by the functions of a Lithops executor, which know nothing of one another."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from lithops.wait import ALWAYS

from ..runtime.data import LocalFiles
from ..runtime.engine.crew import reason
from ..runtime.engine.functions import Functions, is_local
from ..runtime.errors import DataError, RunError
from ..runtime.events import Callback, PartsWritten, WorkerLeft, WorkerLost, emit
from ..runtime.private import PrivateDirectory
from .place import Place, Sign
from .plan import Job, Plan, write_parts

POLL = 0.1  # seconds between looks at the functions; Lithops has nothing to wait on but its own polling
LOOK = 1.0  # seconds between looks at the place


@dataclass
class _Worker:
    """Who has to write some of the parts: its newest function, and what became of those before."""

    number: int
    job: Job
    executor: Any
    future: Any
    losses: int = 0
    missing_before: int = 0

    @property
    def has_ended(self) -> bool:
        """Whether its function has, well or not, as Lithops saw it last."""
        return bool(self.future.error or self.future.done or self.future.success)

    def failure(self, memory_mb: int | None) -> str | None:
        """Why its function failed, or None if it did not.

        Raises
        ------
        DataError
            Another function would meet it, too.
        """
        if not self.future.error:
            return None
        try:
            self.future.status(throw_except=True)
        except DataError:
            raise
        except Exception as error:
            return reason(error, memory_mb)
        return "no reason was given"


class Making:
    """Launches workers, follows what appears in the place, and launches again whoever does not write its parts.

    The place alone says what is written: a part is there whole or not at all, and has the same bytes whoever
    writes it.

    Parameters
    ----------
    plan : Plan
    workers : int
    inner_workers : int or "auto"
    executor : lithops.FunctionExecutor or None
        None makes one on this machine.
    retries : int
        How often each worker may be lost.
    stall_timeout : float
        Seconds within which another part must appear.
    callbacks : sequence of callables
    """

    def __init__(
        self,
        plan: Plan,
        workers: int,
        inner_workers: int | str,
        executor: Any,
        retries: int,
        stall_timeout: float,
        callbacks: Sequence[Callback],
    ) -> None:
        self._plan, self._inner_workers, self._executor = plan, inner_workers, executor
        self._n_workers = min(workers, plan.n_parts)
        self._retries, self._stall_timeout, self._callbacks = retries, stall_timeout, callbacks

    def run(self) -> None:
        """Return when all parts are there.

        Raises
        ------
        DataError
            A worker could not write.
        RunError
            A worker was lost too often, or its time is too short for a part.
        """
        with ExitStack() as stack:
            directory = None
            if self._executor is None or is_local(self._executor):
                directory = stack.enter_context(PrivateDirectory().guard()).directory
            # They need not run together, so that a user's executor may run fewer at a time.
            at_once = self._n_workers if self._executor is None else 1
            self._functions = Functions(self._executor, at_once, directory, stack)
            # On this machine in the directory that goes with this process, also when it is killed.
            place = self._plan.place if directory is None else Place(LocalFiles(), f"{directory}/")
            self._follow(self._first_workers(stack.enter_context(place.sign())))

    def _first_workers(self, sign: Sign) -> list[_Worker]:
        parts, workers = range(self._plan.n_parts), self._n_workers
        limit = self._functions.time_limit
        jobs = [
            Job(self._plan, parts[number::workers], self._inner_workers, sign, time_limit=limit)
            for number in range(workers)
        ]
        executor, futures = self._functions.launch(jobs, write_parts)
        return [
            _Worker(number, job, executor, future, missing_before=len(job.parts))
            for number, (job, future) in enumerate(zip(jobs, futures, strict=True))
        ]

    def _follow(self, workers: list[_Worker]) -> None:
        plan, pause = self._plan, threading.Event()
        looked = changed = time.monotonic()
        n_there = 0
        while workers:
            _ask_lithops(workers)
            ended = {worker.number for worker in workers if worker.has_ended}
            now = time.monotonic()
            if not ended and now - looked < LOOK:
                pause.wait(POLL)
                continue
            looked = now
            there = plan.place.parts(plan.format)  # seen after a function has ended, what it wrote is among them
            if len(there) > n_there:
                n_there, changed = len(there), now
                emit(self._callbacks, PartsWritten(n_there, plan.n_parts, sum(there.values())))
            stalled = now - changed > self._stall_timeout
            missing = {
                worker.number: [part for part in worker.job.parts if plan.name(part) not in there]
                for worker in workers
            }
            workers = [worker for worker in workers if missing[worker.number]]
            again = []
            for worker in workers:
                if worker.number in ended:
                    failure = worker.failure(self._functions.memory_mb)
                elif stalled:
                    failure = f"no part was written for {now - changed:.0f} s"
                else:
                    continue
                self._judge(worker, failure, missing[worker.number])
                again.append(worker)
            if again:
                self._launch_again(again)
                changed = time.monotonic()

    def _judge(self, worker: _Worker, failure: str | None, missing: list[int]) -> None:
        """Have a worker go on with what is missing, or raise that it may not."""
        if failure is not None:
            worker.losses += 1
            replaced = worker.losses <= self._retries
            emit(self._callbacks, WorkerLost(worker.number, worker.job.attempt, failure, replaced))
            if not replaced:
                times = f"{worker.losses} times, at last: " if worker.losses > 1 else ""
                raise RunError(f"worker {worker.number} was lost: {times}{failure}")
        else:
            emit(self._callbacks, WorkerLeft(worker.number, worker.job.attempt))
            if len(missing) == worker.missing_before:
                raise RunError(
                    f"worker {worker.number} had {worker.job.time_limit:.0f} s, in which it could write no part: "
                    "give functions a longer runtime_timeout, or take smaller parts (part_rows)"
                )
        worker.missing_before = len(missing)
        worker.job = replace(worker.job, parts=missing, attempt=worker.job.attempt + 1)

    def _launch_again(self, workers: list[_Worker]) -> None:
        executor, futures = self._functions.launch([worker.job for worker in workers], write_parts)
        for worker, future in zip(workers, futures, strict=True):
            worker.executor, worker.future = executor, future


def _ask_lithops(workers: list[_Worker]) -> None:
    for executor, group in groupby(workers, key=lambda worker: worker.executor):
        futures = [worker.future for worker in group]
        executor.wait(futures, throw_except=False, return_when=ALWAYS, show_progressbar=False)
