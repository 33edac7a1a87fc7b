"""Inner workers as in the paper: child processes, forked anew for each iteration, with results through pipes.

They exist to be compared with threads. Needs no shared memory, so that it also works on AWS Lambda, which has
no ``/dev/shm``.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
import warnings
from multiprocessing.connection import Connection

import numpy as np

from ..errors import RunError
from ..rows import Rows
from . import Inner, Task

_FORK = multiprocessing.get_context("fork")


class Processes(Inner):
    """Forks one child for each part of the rows and iteration (the paper, section 3).

    A child inherits the rows, and sends its result and whatever it wrote into ``rows.memory`` (in k-means the
    labels of its rows) back through a pipe.

    Parameters
    ----------
    workers : int
        Inner workers, each a child process.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def map(self, task: Task, rows: Rows, writes: tuple[str, ...]) -> list[np.ndarray]:
        """See `Inner.map`.

        Raises
        ------
        RunError
            If a child failed or died.
        """
        parts = rows.cut(self.workers)
        children = []
        try:
            children = [self._start(task, part, writes) for part in parts]
            return [
                self._collect(index, child, receiver, parts[index])
                for index, (child, receiver) in enumerate(children)
            ]
        finally:
            for child, receiver in children:
                receiver.close()
                if child.is_alive():
                    child.kill()
                child.join()

    def _start(
        self, task: Task, part: Rows, writes: tuple[str, ...]
    ) -> tuple[multiprocessing.process.BaseProcess, Connection]:
        receiver, sender = _FORK.Pipe(duplex=False)
        child = _FORK.Process(target=_child, args=(task, part, writes, sender), daemon=True)
        with warnings.catch_warnings():
            # Python warns of forks beside threads. The child calls a compiled kernel and writes to its pipe, and
            # takes no lock that a thread of the parent could hold.
            warnings.simplefilter("ignore", DeprecationWarning)
            child.start()
        sender.close()
        return child, receiver

    def _collect(
        self, index: int, child: multiprocessing.process.BaseProcess, receiver: Connection, part: Rows
    ) -> np.ndarray:
        try:
            result, error, written = receiver.recv()
        except EOFError:
            child.join()
            code = child.exitcode or 0
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
            raise RunError(f"inner worker {index} (process {child.pid}) {how} before it sent a result") from None
        if error is not None:
            raise RunError(f"inner worker {index} (process {child.pid}) failed:\n{error}")
        for name, values in written.items():
            part.memory[name][:] = values
        return result


def _child(task: Task, part: Rows, writes: tuple[str, ...], sender: Connection) -> None:
    try:
        result = task(part)
        sender.send((result, None, {name: part.memory[name] for name in writes}))
    except BaseException:  # the parent raises it
        sender.send((None, traceback.format_exc(), {}))
    sender.close()
    os._exit(0)  # no clean-up of what belongs to the parent
