"""The workers of a run: launched, watched, and launched again when one is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from lithops.wait import ALWAYS

from ..channel.base import FencedError
from ..channel.redis import Status
from ..errors import RunError
from ..events import WorkerLost, emit
from .options import RunOptions
from .outcome import WorkerReport
from .worker import Job

Launch = Callable[[list[Job]], tuple[Any, list[Any]]]
"""Starts functions: the executor that they run on, and their futures."""


@dataclass
class Attempt:
    """A function that was started to be a worker.

    Attributes
    ----------
    job : Job
        What it was told.
    executor, future
        Of Lithops.
    launched : float
        When, by `time.monotonic`.
    """

    job: Job
    executor: Any
    future: Any
    launched: float

    @property
    def failure(self) -> str | None:
        """Why it failed; None if it did not, or made room for another attempt."""
        if not self.future.error:
            return None
        try:
            self.future.status(throw_except=True)
        except FencedError:
            return None
        except Exception as error:
            return reason(error, self.job.memory_mb)
        return "no reason was given"

    @property
    def report(self) -> WorkerReport | None:
        """What it brought back, if it has.

        Raises
        ------
        RunError
            It is the result of something else.
        """
        if not self.future.done or self.future.error:
            return None
        report = self.future.result()
        if getattr(report, "run", None) != self.job.run:
            raise RunError(
                "Lithops brought results of another job, of an executor with the same id: create "
                "a new executor in each process"
            )
        return report


def reason(error: Exception, memory_mb: int | None) -> str:
    """Why a function failed, in words; what it could have too little of is named."""
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError):
        has = f"of {memory_mb} MB " if memory_mb else ""
        said = f"out of memory, if it was not killed: more {has}helps, by runtime_memory or more workers ({said})"
    if isinstance(error, TimeoutError):
        said = f"it ran into the time limit of the function ({said})"
    return said


def why_lost(attempt: Attempt, joined: int, silence: float, now: float, options: RunOptions) -> str | None:
    """Why an attempt counts as lost, or None if it does not.

    Parameters
    ----------
    attempt : Attempt
        The newest of a worker.
    joined : int
        The attempt that has joined, 0 if none.
    silence : float
        Seconds since that one was heard of.
    now : float
        By `time.monotonic`.
    options : RunOptions
        The limits.
    """
    if attempt.failure is not None:
        return attempt.failure
    number = attempt.job.attempt
    if joined >= number:
        return f"not heard of for {silence:.0f} s" if silence > options.silence_timeout else None
    waited = now - attempt.launched
    if number > 1 and waited > options.arrival_timeout:
        return f"attempt {number} did not arrive in {waited:.0f} s"
    return None


class Crew:
    """The workers of a run.

    Parameters
    ----------
    jobs : list of Job
        The first attempt of each worker.
    launch : callable
        Starts functions.
    options : RunOptions
        Limits, and who is told.
    """

    def __init__(self, jobs: list[Job], launch: Launch, options: RunOptions) -> None:
        self._launch, self._options = launch, options
        self._heard: list[tuple[tuple[int, int], float]] = [((0, 0), time.monotonic())] * len(jobs)
        self.attempts: list[Attempt] = []
        self._start(jobs)

    def watch(self, status: Status) -> None:
        """Launch the workers again that were lost.

        Raises
        ------
        RunError
            One was lost more often than it may be.
        """
        self._ask_lithops(self.attempts)
        now, lost = time.monotonic(), {}
        for worker, attempt in enumerate(self._newest()):
            sign = (status.attempts[worker], status.beats[worker])
            if sign != self._heard[worker][0]:
                self._heard[worker] = (sign, now)
            why = why_lost(attempt, sign[0], now - self._heard[worker][1], now, self._options)
            if why is not None:
                lost[worker] = why
        self._replace(lost)

    def reports(self, seconds: float, pause: Callable[[], object]) -> list[WorkerReport]:
        """The workers' reports, once the run is over; whoever fails to bring one is launched again.

        Parameters
        ----------
        seconds : float
            For which an attempt may keep its report.
        pause : callable
            What to do between two looks.
        """
        over = time.monotonic()
        while True:
            self._ask_lithops(self.attempts, download_results=True)
            found = {one.job.worker: one.report for one in self.attempts if one.report is not None}
            if len(found) == len(self._heard):
                return list(found.values())
            lost, now = {}, time.monotonic()
            for worker, attempt in enumerate(self._newest()):
                if worker not in found:
                    late = now - max(over, attempt.launched) > seconds
                    why = attempt.failure or (f"the run ended, but no report in {seconds:.0f} s" if late else None)
                    if why is not None:
                        lost[worker] = why
            self._replace(lost)
            pause()

    def _newest(self) -> list[Attempt]:
        newest: dict[int, Attempt] = {}
        for attempt in self.attempts:
            newest[attempt.job.worker] = attempt
        return [newest[worker] for worker in sorted(newest)]

    def _replace(self, lost: dict[int, str]) -> None:
        newest, again = self._newest(), []
        for worker, why in lost.items():
            job = newest[worker].job
            is_last = job.attempt > self._options.retries
            emit(self._options.callbacks, WorkerLost(worker, job.attempt, why, replaced=not is_last))
            if is_last:
                times = f"{job.attempt} times, at last: " if job.attempt > 1 else ""
                raise RunError(f"worker {worker} was lost {times}{why}")
            again.append(replace(job, attempt=job.attempt + 1))
        self._start(again)

    def _start(self, jobs: list[Job]) -> None:
        if jobs:
            executor, futures = self._launch(jobs)
            now = time.monotonic()
            self.attempts += [
                Attempt(job, executor, future, now) for job, future in zip(jobs, futures, strict=True)
            ]

    @staticmethod
    def _ask_lithops(attempts: Iterable[Attempt], download_results: bool = False) -> None:
        for executor, group in groupby(attempts, key=lambda attempt: attempt.executor):
            executor.wait(
                [attempt.future for attempt in group],
                throw_except=False,
                return_when=ALWAYS,
                download_results=download_results,
                show_progressbar=False,
            )
