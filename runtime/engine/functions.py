"""The functions of a Lithops executor: what they have, and how they are launched."""

from __future__ import annotations

import math
import os
import secrets
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from lithops import FunctionExecutor

from ..channel.control import Status
from ..errors import RunError
from ..private import write_private
from ..resources import paid_cpus, usable_cpus
from .refusals import Refusals, refusals_of, shortened
from .worker import work


class Functions:
    """Where the workers of a run are launched.

    Parameters
    ----------
    executor : lithops.FunctionExecutor or None
        None makes one on this machine.
    workers : int
        How many functions have to run at a time.
    directory : Path or None
        A private directory of the run, if workers run on this machine.
    stack : ExitStack
        Ends what was made.

    Attributes
    ----------
    executor : lithops.FunctionExecutor
    is_local : bool
        Whether they run on this machine.
    refusals : Refusals
        What the backend did not start.
    memory_mb : int or None
        What each has, if there is a limit.
    time_limit : float
        Seconds for which one may run: what the backend allows, and what Lithops does.

    Raises
    ------
    RunError
        It runs fewer at a time.
    """

    def __init__(self, executor: Any, workers: int, directory: Path | None, stack: ExitStack) -> None:
        if executor is None:
            assert directory is not None
            executor = stack.enter_context(_localhost_executor(workers, directory))
        self.executor = executor
        self._directory, self._stack = directory, stack
        self.is_local = is_local(executor)
        self.refusals = Refusals() if self.is_local else stack.enter_context(refusals_of(executor))
        config = executor.config.get(executor.backend, {})
        self.memory_mb: int | None = None if self.is_local else config.get("runtime_memory")
        limits = (config.get("runtime_timeout"), executor.config.get("lithops", {}).get("execution_timeout"))
        self.time_limit = min((float(limit) for limit in limits if limit), default=math.inf)
        self._cpus = config.get("runtime_cpu")
        self._at_once = config.get("worker_processes") if self.is_local else None
        if self._at_once is not None and self._at_once < workers:
            raise RunError(
                f"workers={workers}, but this localhost executor runs {self._at_once} at a time, and all workers "
                f"of a run must run together: create it with worker_processes={workers}, or pass executor=None"
            )

    def cpus(self, memory_mb: int | None) -> int:
        """How many CPUs a function of so many MB has, as far as that is known."""
        if self._cpus:
            return max(1, round(float(self._cpus)))
        return usable_cpus() if memory_mb is None else paid_cpus(memory_mb)

    def address(self, url: str) -> str | Path:
        """The URL of the run's Redis as jobs carry it: on this machine in a private file.

        Lithops' storage there is open to all.
        """
        if self._directory is None:
            return url
        path = self._directory / f"redis-{secrets.token_hex(4)}.url"
        write_private(path, url)
        return path

    def launch(self, jobs: Sequence[Any], function: Callable[[Any], Any] = work) -> tuple[Any, list[Any]]:
        """Start functions: the executor that they run on, and their futures. A job knows its ``attempt``."""
        executor = self.executor
        if jobs[0].attempt > 1 and isinstance(executor, FunctionExecutor) and self._directory is not None:
            # Lithops' localhost backend starts no job of an executor before the one before has ended.
            executor = self._stack.enter_context(_localhost_executor(len(jobs), self._directory))
        try:
            # What they run is installed there, so no module is pickled.
            return executor, executor.map(function, jobs, include_modules=None)
        except Exception as error:
            raise RunError(f"Lithops could not launch the workers: {shortened(error)}") from error

    def not_arrived(self, status: Status, seconds: float) -> RunError:
        """What to raise if workers are missing after so many seconds."""
        if self._at_once is not None and self._at_once < status.workers:
            hint = f"the localhost backend runs {self._at_once} at a time: set worker_processes"
        elif self._at_once is not None:
            from lithops.constants import RN_LOG_FILE

            hint = f"did a process die? The localhost backend's log may say why: {RN_LOG_FILE}"
        else:
            hint = (
                f"does the {self.executor.backend!r} backend allow {status.workers} functions at a time, do they "
                "start (their log says why not, as for a lack of memory), and can they reach Redis? A slow start "
                "may need a longer arrival_timeout"
            )
        return RunError(f"{status.joined} of {status.workers} workers arrived in {seconds:.0f} s; {hint}")


def is_local(executor: Any) -> bool:
    """Whether its functions run on this machine."""
    return bool(executor.backend == "localhost")


@contextmanager
def _localhost_executor(workers: int, private: Path) -> Iterator[Any]:
    """An executor on this machine that runs all workers at a time and leaves nothing behind."""
    config = {
        "lithops": {
            "mode": "localhost",
            "backend": "localhost",
            "storage": "localhost",
            "monitoring_interval": 0.1,
            "data_cleaner": False,
        },
        # Version 1 starts all tasks of a job together; version 2 starts them one after another.
        "localhost": {"version": 1, "runtime": sys.executable, "worker_processes": workers},
    }
    private = Path(tempfile.mkdtemp(dir=private))
    with FunctionExecutor(config=config, log_level=None) as executor:
        # To the localhost storage a bucket is a path under its root: an absolute one leads elsewhere.
        _use_bucket(executor, str(private / "lithops"))
        # Only what is run: in the configuration it would be another runtime, remembered for each run.
        executor.compute_handler.env.runtime_name = _interpreter(private)
        yield executor


def _interpreter(private: Path) -> str:
    """The interpreter that runs this, with Lithops imported from where it is installed.

    Lithops copies itself beside the script that it starts, and Python would import that copy. Every client on a
    machine replaces it while it launches, so that runs which start together would find parts of it missing.
    """
    script = private / "python"
    write_private(script, f'#!/bin/sh\nPYTHONSAFEPATH=1 exec {shlex.quote(sys.executable)} "$@"\n', 0o700)
    # Where files of this folder may not be run, the interpreter as it is.
    return str(script) if os.access(script, os.X_OK) else sys.executable


def _use_bucket(executor: Any, bucket: str) -> None:
    """Keep an executor's jobs and results in a directory of its own.

    The localhost storage has one bucket for all executors of a machine, readable by everybody, whatever the
    configuration says. Jobs hold the password of the run's Redis, and executors of two processes of one Lithops
    session can have the same id and would take each other's results for their own.
    """
    storage = executor.internal_storage
    for section in (executor.config["localhost"], storage.get_storage_config()["localhost"]):
        section["storage_bucket"] = bucket
    storage.bucket = storage.storage.bucket = bucket
