"""Many workers on one machine, which start together and whose times can be compared."""

from __future__ import annotations

import multiprocessing
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

import numpy as np

Call = Callable[[], object]

_fork = multiprocessing.get_context("fork")


class Crowd:
    """Threads in forked processes, each of which is a worker and makes the same call at the same time.

    Parameters
    ----------
    calls : mapping of str to callable
        What workers can do. ``calls[name](worker)``, in the worker's thread, connects and returns what to call.
    workers : int
    processes : int, default=2
        Among how many processes the workers are divided.
    seconds : float, default=120.0
        After which a worker that is not ready counts as lost.
    """

    def __init__(
        self,
        calls: Mapping[str, Callable[[int], Call]],
        workers: int,
        *,
        processes: int = 2,
        seconds: float = 120.0,
    ) -> None:
        self._names = list(calls)
        self._gate = _fork.Barrier(workers + 1, timeout=seconds)
        self._order = _fork.RawArray("q", 2)  # which call, and how many times; 0 times is the end
        self._times = _fork.RawArray("d", 2 * workers)
        shares = [range(first, workers, processes) for first in range(min(processes, workers))]
        self._processes = [
            _fork.Process(target=self._process, args=(list(calls.values()), share), daemon=True)
            for share in shares
        ]
        for process in self._processes:
            process.start()

    def start(self, name: str, times: int = 1) -> None:
        """Have every worker make a call so many times; all are connected and waiting by then."""
        self._order[:] = [self._names.index(name), times]
        self._pass()

    def join(self) -> tuple[np.ndarray, np.ndarray]:
        """Wait for all of them.

        Returns
        -------
        began, ended : ndarray of shape (workers,)
            When each worker began and ended, in seconds of `time.monotonic`.
        """
        self._pass()
        began, ended = np.array(self._times).reshape(2, -1)
        return began, ended

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if kind is None:
            self.start(self._names[0], times=0)
            for process in self._processes:
                process.join(10)
        # After an error they may wait for ever: not all protocols have time-outs.
        for process in self._processes:
            process.kill()
            process.join()

    def _pass(self) -> None:
        try:
            self._gate.wait()
        except threading.BrokenBarrierError:
            raise RuntimeError("a worker failed, and has printed why, or did not arrive in time") from None

    def _process(self, makers: Sequence[Callable[[int], Call]], share: Sequence[int]) -> None:
        threads = [threading.Thread(target=self._worker, args=(makers, worker), daemon=True) for worker in share]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _worker(self, makers: Sequence[Callable[[int], Call]], worker: int) -> None:
        began, ended = worker, len(self._times) // 2 + worker
        try:
            calls = [make(worker) for make in makers]
            while True:
                self._gate.wait()
                which, times = self._order
                if not times:
                    return
                self._times[began] = time.monotonic()
                for _ in range(times):
                    calls[which]()
                self._times[ended] = time.monotonic()
                self._gate.wait()
        except threading.BrokenBarrierError:
            return
        except BaseException:
            traceback.print_exc()
            self._gate.abort()
