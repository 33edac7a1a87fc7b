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
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from ..errors import RunError
from ..rows import Rows
from . import Inner, Task

_FORK = multiprocessing.get_context("fork")


class Child(NamedTuple):
    """A child process, and the end of the pipe that its result comes from."""

    process: multiprocessing.process.BaseProcess
    receiver: Connection


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
        if multiprocessing.current_process().daemon:
            raise RunError(
                "inner='processes' cannot work here: this is a daemonic child process, for example of a "
                "multiprocessing.Pool, which may have no children. Use inner='threads'"
            )
        self.workers = workers

    def map(self, task: Task, rows: Rows, writes: tuple[str, ...]) -> list[np.ndarray]:
        """See `Inner.map`.

        Raises
        ------
        RunError
            If a child failed or died.
        """
        parts = rows.cut(self.workers)
        children: list[Child] = []
        try:
            for part in parts:
                self._start(task, part, writes, children)
            return [self._collect(index, child, parts[index]) for index, child in enumerate(children)]
        finally:
            for child in children:
                child.receiver.close()
                if child.process.is_alive():
                    child.process.kill()
                child.process.join()

    def _start(self, task: Task, part: Rows, writes: tuple[str, ...], children: list[Child]) -> None:
        receiver, sender = _FORK.Pipe(duplex=False)
        inherited = [receiver, *(child.receiver for child in children)]
        process = _FORK.Process(target=_child, args=(task, part, writes, sender, inherited), daemon=True)
        try:
            with warnings.catch_warnings():
                # Python warns of forks beside threads. The child calls a compiled kernel and writes to its pipe,
                # and takes no lock that a thread of the parent could hold.
                warnings.simplefilter("ignore", DeprecationWarning)
                process.start()
        except BaseException:
            receiver.close()
            raise
        finally:
            sender.close()
        children.append(Child(process, receiver))

    def _collect(self, index: int, child: Child, part: Rows) -> np.ndarray:
        process = child.process
        try:
            result, error, written = child.receiver.recv()
        except (EOFError, OSError):  # it died before, or in the middle of, its message
            process.join()
            code = process.exitcode or 0
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
            raise RunError(f"inner worker {index} (process {process.pid}) {how} before it sent a result") from None
        if error is not None:
            raise RunError(f"inner worker {index} (process {process.pid}) failed:\n{error}")
        for name, values in written.items():
            part.memory[name][:] = values
        return result


def _child(
    task: Task, part: Rows, writes: tuple[str, ...], sender: Connection, inherited: list[Connection]
) -> None:
    # While a child holds a reading end of a pipe, nobody who writes to it learns that the parent has died.
    for receiver in inherited:
        receiver.close()
    message: tuple[Any, ...]
    try:
        result = task(part)
        message = (result, None, {name: part.memory[name] for name in writes})
    except BaseException:  # the parent raises it
        message = (None, traceback.format_exc(), {})
    with suppress(BrokenPipeError):  # the parent has died, and this child ends with it
        sender.send(message)
    os._exit(0)  # no clean-up of what belongs to the parent
