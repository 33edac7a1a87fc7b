"""The workers of a run: launched, watched, and launched again when one is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from lithops.wait import ALWAYS

from ..channel.base import FencedError
from ..channel.control import Status
from ..errors import RunError
from ..events import BackupLaunched, WorkerLeft, WorkerLost, emit
from . import stragglers
from .options import RunOptions
from .outcome import WorkerReport
from .stragglers import Pace
from .worker import Job

Launch = Callable[[list[Job]], tuple[Any, list[Any]]]
"""Starts functions: the executor that they run on, and their futures."""

Refused = Callable[[Any], str | None]
"""Why the backend did not start the function of a future, None if it did."""


def _not_refused(_: Any) -> None:
    return None


SAME_GENERATION = 0.2
"""Of the time limit: attempts that start so soon after others end with them, so that the run stops once."""


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
    refused : callable
        Why the backend did not start the function of a future, None if it did.
    """

    job: Job
    executor: Any
    future: Any
    launched: float
    refused: Refused = _not_refused

    @property
    def failure(self) -> str | None:
        """Why it failed; None if it did not, or made room for another attempt."""
        refusal = self.refused(self.future)
        if refusal is not None:
            return (
                f"its function was not started: is its runtime deployed, by `lithops runtime deploy`? ({refusal})"
            )
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
    def has_ended(self) -> bool:
        """Whether it failed, or brought back its report."""
        return bool(self.future.error or self.future.done or self.future.success or self.refused(self.future))

    @property
    def report(self) -> WorkerReport | None:
        """What it brought back, if it has.

        Raises
        ------
        RunError
            It is the result of something else.
        """
        if self.future.error or self.refused(self.future) or not self.has_ended:
            return None
        report = self.future.result()
        if getattr(report, "run", None) != self.job.run:
            raise RunError(
                "Lithops brought results of another job, of an executor with the same id: create "
                "a new executor in each process"
            )
        return report

    @property
    def left(self) -> WorkerReport | None:
        """What it brought back, if its time was up before the run had ended."""
        report = self.report
        return report if report is not None and report.left else None


def reason(error: Exception, memory_mb: int | None) -> str:
    """Why a function failed, in words; what it could have too little of is named."""
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError):
        has = f" than {memory_mb} MB" if memory_mb else ""
        said = (
            f"out of memory, or killed: give functions more{has} (runtime_memory), or take more workers ({said})"
        )
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
    failure = attempt.failure
    if failure is not None:
        return failure
    number = attempt.job.attempt
    if joined >= number:
        if silence <= options.silence_timeout:
            return None
        return (
            f"not heard of for {silence:.0f} s: it was killed, as for a lack of memory or time, or it cannot "
            "reach Redis any more"
        )
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
    refused : callable
        Why a backend did not start the function of a future.
    """

    def __init__(self, jobs: list[Job], launch: Launch, options: RunOptions, refused: Refused) -> None:
        self._launch, self._options, self._refused = launch, options, refused
        self._heard: list[tuple[tuple[int, int], float]] = [((0, 0), time.monotonic())] * len(jobs)
        self._losses = [0] * len(jobs)
        self._attempts: list[Attempt] = []
        self._newest: dict[int, Attempt] = {}
        self._backups: dict[int, Attempt] = {}
        self._backups_left = options.backups
        self._pace = Pace()
        self._generation: float | None = None  # when the attempts began whose time is up together
        self._numbers = [0] * len(jobs)  # of the newest attempt, be it a backup
        self._newest = self._start([replace(job, is_last=options.retries == 0) for job in jobs])

    def watch(self, status: Status, is_running: Callable[[], bool]) -> None:
        """Launch the workers again that were lost, or whose time was up; and backups for stragglers.

        Parameters
        ----------
        status : Status
            Of the run, which went on.
        is_running : callable
            Whether it still does: whoever ends a run fails after that.

        Raises
        ------
        RunError
            One was lost more often than it may be, or its function has too little time to get on.
        """
        self._ask_lithops()
        now = time.monotonic()
        self._judge_backups(status)
        for worker, heard in enumerate(zip(status.attempts, status.beats, strict=True)):
            if heard != self._heard[worker][0]:
                self._heard[worker] = (heard, now)

        def why(attempt: Attempt) -> str | None:
            (joined, _), heard_at = self._heard[attempt.job.worker]
            return why_lost(attempt, joined, now - heard_at, now, self._options)

        lost, left = self._to_replace(self._newest, why)
        for worker in left:
            attempt = self._newest[worker]
            if attempt.left is not None and not attempt.left.trace.iterations:
                raise RunError(
                    f"worker {worker} had {attempt.job.time_limit:.0f} s, which were over before it could begin "
                    "an iteration: give functions a longer runtime_timeout, or take more workers"
                )
        if (lost or left) and is_running():
            self._replace(lost, left)
        behind = [worker for worker in self._pace.behind(status, now) if self._may_be_backed_up(worker, now)]
        if behind[: self._backups_left] and is_running():
            self._back_up(behind[: self._backups_left])

    def reports(self, seconds: float, pause: Callable[[], object]) -> list[WorkerReport]:
        """All reports, once the run is over; a worker that does not bring its own is launched again.

        Parameters
        ----------
        seconds : float
            That an attempt has for it.
        pause : callable
            What to do between two looks.
        """
        over = time.monotonic()
        while True:
            self._ask_lithops()
            reports = [report for attempt in self._attempts if (report := attempt.report) is not None]
            missing = set(self._newest) - {report.worker for report in reports if not report.left}
            if not missing:
                return reports
            now = time.monotonic()

            def why(attempt: Attempt, now: float = now) -> str | None:
                late = now - max(over, attempt.launched) > seconds and attempt.left is None
                return attempt.failure or (
                    f"the run has ended, and its report did not come in {seconds:.0f} s" if late else None
                )

            self._replace(*self._to_replace(missing, why))
            pause()

    def wait_for_end(self, seconds: float, pause: Callable[[], object]) -> None:
        """Wait until all attempts have ended, for so many seconds at most."""
        deadline = time.monotonic() + seconds
        self._ask_lithops()
        while not all(attempt.has_ended for attempt in self._attempts) and time.monotonic() < deadline:
            pause()
            self._ask_lithops()

    def _to_replace(
        self, workers: Iterable[int], why: Callable[[Attempt], str | None]
    ) -> tuple[dict[int, str], list[int]]:
        """Of some workers, those that were lost and why, and those whose time was up."""
        lost: dict[int, str] = {}
        left: list[int] = []
        for worker in workers:
            attempt = self._newest[worker]
            cause = why(attempt)
            if cause is not None:
                lost[worker] = cause
            elif attempt.left is not None:
                left.append(worker)
        return lost, left

    def _replace(self, lost: dict[int, str], left: Iterable[int]) -> None:
        retries = self._options.retries
        for worker in left:
            emit(self._options.callbacks, WorkerLeft(worker, self._newest[worker].job.attempt))
        for worker, why in lost.items():
            self._losses[worker] += 1
            losses, attempt = self._losses[worker], self._newest[worker].job.attempt
            emit(self._options.callbacks, WorkerLost(worker, attempt, why, replaced=losses <= retries))
            if losses > retries:
                times = f"{losses} times, at last: " if losses > 1 else ""
                raise RunError(f"worker {worker} was lost: {times}{why}")
        self._newest |= self._start([
            replace(self._newest[worker].job, is_last=self._losses[worker] == retries, backup=False)
            for worker in (*lost, *left)
        ])  # fmt: skip

    def _may_be_backed_up(self, worker: int, now: float) -> bool:
        """Not one that was launched just now."""
        return worker not in self._backups and now - self._newest[worker].launched > stragglers.AT_LEAST

    def _back_up(self, workers: list[int]) -> None:
        jobs = [replace(self._newest[worker].job, is_last=False, backup=True) for worker in workers]
        self._backups |= self._start(jobs)
        self._backups_left -= len(workers)
        for worker in workers:
            emit(self._options.callbacks, BackupLaunched(worker, self._backups[worker].job.attempt))

    def _judge_backups(self, status: Status) -> None:
        """A backup that has joined is the worker; one that has ended without is none any more."""
        for worker, backup in list(self._backups.items()):
            if status.attempts[worker] == backup.job.attempt:
                self._newest[worker] = self._backups.pop(worker)
            elif backup.has_ended:
                del self._backups[worker]

    def _start(self, jobs: list[Job]) -> dict[int, Attempt]:
        """Launch the next attempt of some workers."""
        if not jobs:
            return {}
        for job in jobs:
            self._numbers[job.worker] += 1
        now = time.monotonic()
        limit = jobs[0].time_limit
        if self._generation is None or now - self._generation > SAME_GENERATION * limit:
            self._generation = now
        left = limit - (now - self._generation)
        jobs = [replace(job, attempt=self._numbers[job.worker]) for job in jobs]
        executor, futures = self._launch([replace(job, time_limit=left) for job in jobs])
        started = [
            Attempt(job, executor, future, now, self._refused) for job, future in zip(jobs, futures, strict=True)
        ]
        self._attempts += started
        return {attempt.job.worker: attempt for attempt in started}

    def _ask_lithops(self) -> None:
        for executor, group in groupby(self._attempts, key=lambda attempt: attempt.executor):
            executor.wait(
                [attempt.future for attempt in group],
                throw_except=False,
                return_when=ALWAYS,
                show_progressbar=False,
            )
