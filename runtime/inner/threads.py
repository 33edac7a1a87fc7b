"""Inner workers as threads: a persistent pool over pieces of one shared array."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from itertools import count
from queue import SimpleQueue

import numpy as np

from ..rows import CHUNK, Rows, cut_chunks
from . import Inner, Task

PIECES = 4
"""Pieces of the rows for each thread: one whose CPU is slow takes fewer of them."""

SMALLEST_PIECE = 8
"""Chunks in a piece at least, where there are enough for all threads."""

TRY_BELOW = 256
"""With fewer chunks than this the calling thread does the first alone, which tells what the others would take."""

WORTH_WAKING = 150e-6
"""Seconds of work that are done sooner by the pool than by one thread: waking and joining take up to a third."""

CALL = 10e-6
"""Seconds that a task takes at least, however few its rows."""


class Threads(Inner):
    """A pool of threads which lives as long as the worker.

    Where the pool takes all CPUs that the process may use, each thread stays on its own: after a pause the kernel
    would otherwise wake two of them on one CPU, and move them apart only milliseconds later. Smaller pools are
    left to the kernel, since other workers may be beside them.

    Parameters
    ----------
    workers : int
        Threads. One is none: the calling thread does the work.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._ended: SimpleQueue[None] = SimpleQueue()
        self._jobs: list[SimpleQueue[_Job | None]] = []
        self._threads: list[threading.Thread] = []
        if workers == 1:
            return
        cpus = sorted(os.sched_getaffinity(0))
        for index in range(workers):
            cpu = cpus[index % len(cpus)] if workers >= len(cpus) else None
            jobs: SimpleQueue[_Job | None] = SimpleQueue()
            name = f"biglambda-inner-{index}"
            thread = threading.Thread(target=self._serve, args=(cpu, jobs), name=name, daemon=True)
            self._jobs.append(jobs)
            self._threads.append(thread)
            thread.start()

    def _serve(self, cpu: int | None, jobs: SimpleQueue[_Job | None]) -> None:
        if cpu is not None:
            with suppress(OSError):  # not allowed, or the CPU has gone: the thread works all the same
                os.sched_setaffinity(0, {cpu})  # of this thread alone
        while (job := jobs.get()) is not None:
            job.work()
            self._ended.put(None)

    def map(self, task: Task, rows: Rows, writes: tuple[str, ...]) -> list[np.ndarray]:
        """See `Inner.map`. Raises the error of the first piece that failed, after all pieces have ended."""
        chunks = -(-len(rows) // CHUNK)
        if self.workers == 1 or chunks <= 1:
            return [task(rows)]
        first: list[np.ndarray] = []
        if chunks < TRY_BELOW:
            chunk, rows = rows.part(0, CHUNK), rows.part(CHUNK, len(rows))
            start = time.perf_counter()
            first = [task(chunk)]
            if (time.perf_counter() - start - CALL) * (chunks - 1) < WORTH_WAKING:
                return [*first, task(rows)]
        pieces = max(self.workers, min(self.workers * PIECES, chunks // SMALLEST_PIECE))
        job = _Job(task, rows, cut_chunks(len(rows), pieces))
        threads = self._jobs[: job.pieces]
        for jobs in threads:
            jobs.put(job)
        for _ in threads:  # each has the job and answers once: this ends when the kernels do
            self._ended.get()
        return first + job.outcome()

    def close(self) -> None:
        """End the threads, each after the piece that it works on."""
        for jobs in self._jobs:
            jobs.put(None)
        for thread in self._threads:
            thread.join()


class _Job:
    """Pieces of work; each thread takes the next that nobody has taken."""

    def __init__(self, task: Task, rows: Rows, bounds: list[int]) -> None:
        self.pieces = len(bounds) - 1
        self._task, self._rows, self._bounds = task, rows, bounds
        self._next = count()  # next() on it is atomic
        self._results: dict[int, np.ndarray] = {}
        self._errors: dict[int, BaseException] = {}

    def work(self) -> None:
        """Do pieces until none is left."""
        while (index := next(self._next)) < self.pieces:
            try:
                piece = self._rows.part(self._bounds[index], self._bounds[index + 1])
                self._results[index] = self._task(piece)
            except BaseException as error:  # handed to the caller of map, which raises it
                self._errors[index] = error

    def outcome(self) -> list[np.ndarray]:
        """Results in the order of the rows, or the first error."""
        if self._errors:
            raise self._errors[min(self._errors)]
        return [self._results[index] for index in range(self.pieces)]
