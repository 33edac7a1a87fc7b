"""What runs inside a function: the one entry point that Lithops is given."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .. import bsp
from ..algorithm import Algorithm
from ..channel import OutOfTime
from ..channel.redis import RedisChannel
from ..data import Source
from ..errors import DataError, RunError
from ..info import info
from ..inner import make_inner
from ..memory import forget_peak
from ..trace import Trace
from .outcome import WorkerReport
from .outputs import OutputFolder

MARGIN = 10.0
"""Seconds of its time limit that a function spends on starting, and on bringing back its report."""

_HOPELESS = (
    DataError, RunError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, AssertionError,
    ImportError,
)  # fmt: skip
"""Errors that another attempt would meet as well."""


@dataclass(frozen=True)
class Job:
    """What one worker is told; small, and pickled by Lithops.

    ``redis`` is a URL with what is needed to connect, or, for workers on the client's machine, the private file
    that holds it. Unless it ``is_last``, this attempt may fail without ending the run. It has ``time_limit``
    seconds. If it is a ``backup``, the attempt before it is still at work. The ``outputs`` come back in its
    report, or are written to the ``folder``.
    """

    run: str
    redis: str | Path
    worker: int
    workers: int
    source: Source
    algorithm: Algorithm
    outputs: tuple[str, ...]
    inner: str
    inner_workers: int | str
    attempt: int = 1
    is_last: bool = True
    memory_mb: int | None = None
    time_limit: float = math.inf
    backup: bool = False
    folder: OutputFolder | None = None

    def __repr__(self) -> str:
        return f"Job(run {self.run}, worker {self.worker} of {self.workers}, attempt {self.attempt})"


def work(job: Job) -> WorkerReport:
    """Take part in a run as one of its workers.

    What would go wrong again, or goes wrong in the last attempt, ends the run for everybody, with the reason,
    before it is raised here.
    """
    forget_peak()
    started, deadline, trace = time.time(), time.monotonic() + job.time_limit - MARGIN, Trace()
    target = job.algorithm.target()
    url = job.redis.read_text() if isinstance(job.redis, Path) else job.redis
    channel = RedisChannel(
        url, job.run, job.worker, job.workers,
        trace=trace, target=target, attempt=job.attempt, deadline=deadline, backup=job.backup,
    )  # fmt: skip
    try:
        with make_inner(job.inner, job.inner_workers) as inner:
            read = partial(job.source.read, job.worker, job.workers, inner.workers)

            def report(**more: Any) -> WorkerReport:
                on = info(target, job.algorithm.kernels())
                return WorkerReport(
                    job.run, job.worker,
                    inner_workers=inner.workers, trace=trace, info=on, started=started, **more,
                )  # fmt: skip

            try:
                _, rows = bsp.run(job.algorithm, read, inner, channel, trace, deadline)
            except OutOfTime:
                return report(rows=0, memory={}, left=True)
            outputs = {name: rows.memory[name] for name in job.outputs}
            if job.folder is None:
                return report(rows=len(rows), memory=outputs)
            return report(rows=len(rows), memory={}, parts=job.folder.write(job.worker, outputs))
    except BaseException as error:
        if job.is_last or isinstance(error, _HOPELESS):
            channel.abort(error)
        raise
    finally:
        channel.close()
