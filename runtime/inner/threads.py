"""Inner workers as threads: a persistent pool over parts of one shared array."""

from __future__ import annotations

import threading
from queue import SimpleQueue

import numpy as np

from ..rows import Rows
from . import Inner, Task


class Threads(Inner):
    """A pool of threads which lives as long as the worker.

    The calling thread is one of the inner workers, so that a pool of n starts n - 1 threads. Parts and results
    go through two queues; the kernels release the GIL.

    Parameters
    ----------
    workers : int
        Inner workers, the calling thread included.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._tasks: SimpleQueue[tuple[int, Task, Rows] | None] = SimpleQueue()
        self._results: SimpleQueue[tuple[int, np.ndarray | BaseException]] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._serve, name=f"biglambda-inner-{i}", daemon=True)
            for i in range(1, workers)
        ]
        for thread in self._threads:
            thread.start()

    def _serve(self) -> None:
        while (item := self._tasks.get()) is not None:
            self._run(*item)

    def _run(self, index: int, task: Task, part: Rows) -> None:
        try:
            self._results.put((index, task(part)))
        except BaseException as error:  # handed to the caller of map, which raises it
            self._results.put((index, error))

    def map(self, task: Task, rows: Rows, writes: tuple[str, ...]) -> list[np.ndarray]:
        """See `Inner.map`. Raises the error of the first part that failed, after all parts have ended."""
        parts = rows.cut(self.workers)
        if len(parts) == 1:
            return [task(parts[0])]
        for index, part in enumerate(parts[1:], start=1):
            self._tasks.put((index, task, part))
        self._run(0, task, parts[0])
        # Every part was handed to a live thread which always answers, so these waits end with the kernels.
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
        for _thread in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()
