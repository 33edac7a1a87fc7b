"""Inner workers as threads: a persistent pool over parts of one shared array."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from queue import SimpleQueue

import numpy as np

from ..rows import Rows
from . import Inner, Task


class Threads(Inner):
    """A pool of threads which lives as long as the worker.

    The i-th part always goes to the i-th thread. Where the pool takes all CPUs that the process may use, each
    thread stays on its own: after a pause the kernel would otherwise wake two of them on one CPU, and move them
    apart only milliseconds later. Smaller pools are left to the kernel, since other workers may be beside them.

    Parameters
    ----------
    workers : int
        Threads. One is none: the calling thread does the work.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._results: SimpleQueue[tuple[int, np.ndarray | BaseException]] = SimpleQueue()
        self._tasks: list[SimpleQueue[tuple[Task, Rows] | None]] = []
        self._threads: list[threading.Thread] = []
        if workers == 1:
            return
        cpus = sorted(os.sched_getaffinity(0))
        for index in range(workers):
            cpu = cpus[index % len(cpus)] if workers >= len(cpus) else None
            tasks: SimpleQueue[tuple[Task, Rows] | None] = SimpleQueue()
            name = f"biglambda-inner-{index}"
            thread = threading.Thread(target=self._serve, args=(index, cpu, tasks), name=name, daemon=True)
            self._tasks.append(tasks)
            self._threads.append(thread)
            thread.start()

    def _serve(self, index: int, cpu: int | None, tasks: SimpleQueue[tuple[Task, Rows] | None]) -> None:
        if cpu is not None:
            with suppress(OSError):  # not allowed, or the CPU has gone: the thread works all the same
                os.sched_setaffinity(0, {cpu})  # of this thread alone
        while (item := tasks.get()) is not None:
            task, part = item
            try:
                self._results.put((index, task(part)))
            except BaseException as error:  # handed to the caller of map, which raises it
                self._results.put((index, error))

    def map(self, task: Task, rows: Rows, writes: tuple[str, ...]) -> list[np.ndarray]:
        """See `Inner.map`. Raises the error of the first part that failed, after all parts have ended."""
        parts = rows.cut(self.workers)
        if len(parts) == 1:
            return [task(parts[0])]
        for tasks, part in zip(self._tasks, parts, strict=False):
            tasks.put((task, part))
        # Every part was handed to a live thread, which always answers: these waits end with the kernels.
        results = dict(self._results.get() for _ in parts)
        ordered = []
        for index in range(len(parts)):
            result = results[index]
            if isinstance(result, BaseException):
                raise result
            ordered.append(result)
        return ordered

    def close(self) -> None:
        """End the threads, each after the part that it works on."""
        for tasks in self._tasks:
            tasks.put(None)
        for thread in self._threads:
            thread.join()
