"""Inner workers as threads, which share one array and take its pieces one by one."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    """The calling thread, and a pool that lives as long as the worker.

    Where they take all CPUs that the process may use, each stays on its own, the calling thread as long as there
    is work: after a pause the kernel would otherwise wake two of them on one CPU, and move them apart only
    milliseconds later. Fewer threads than that are left to the kernel, since other workers may be beside them.

    Parameters
    ----------
    workers : int
        Threads that work, the calling one among them.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        cpus = sorted(os.sched_getaffinity(0))
        self._cpus = [cpus[index % len(cpus)] if 1 < workers >= len(cpus) else None for index in range(workers)]
        self._jobs: list[SimpleQueue[_Job | None]] = [SimpleQueue() for _ in range(1, workers)]
        self._threads = [
            threading.Thread(target=_serve, args=(cpu, jobs), name=f"biglambda-inner-{index}", daemon=True)
            for index, (cpu, jobs) in enumerate(zip(self._cpus[1:], self._jobs, strict=True), start=1)
        ]
        for thread in self._threads:
            thread.start()

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
        for jobs in self._jobs[: job.pieces - 1]:
            jobs.put(job)
        with _on_cpu(self._cpus[0]):
            job.work()
            return first + job.outcome()

    def close(self) -> None:
        """End the threads, each after the piece that it works on."""
        for jobs in self._jobs:
            jobs.put(None)
        for thread in self._threads:
            thread.join()


def _serve(cpu: int | None, jobs: SimpleQueue[_Job | None]) -> None:
    """What a thread of the pool does."""
    with _on_cpu(cpu):
        while (job := jobs.get()) is not None:
            job.work()


@contextmanager
def _on_cpu(cpu: int | None) -> Iterator[None]:
    """Keep the calling thread on a CPU, if there is one and that is allowed."""
    if cpu is None:
        yield
        return
    usable = os.sched_getaffinity(0)  # of this thread alone
    with suppress(OSError):  # not allowed, or the CPU has gone: the thread works all the same
        os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, usable)


class _Job:
    """Pieces of work; each thread takes the next that nobody has taken."""

    def __init__(self, task: Task, rows: Rows, bounds: list[int]) -> None:
        self.pieces = len(bounds) - 1
        self._task, self._rows, self._bounds = task, rows, bounds
        self._next = count()  # next() on it is atomic
        self._ended: SimpleQueue[None] = SimpleQueue()
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
            self._ended.put(None)

    def outcome(self) -> list[np.ndarray]:
        """Results in the order of the rows, or the first error; waits for pieces that others work on."""
        for _ in range(self.pieces):
            self._ended.get()  # whoever took a piece is at work on it: this ends when the kernels do
        if self._errors:
            raise self._errors[min(self._errors)]
        return [self._results[index] for index in range(self.pieces)]
