"""A run on the functions of a Lithops executor, as seen by the client that launches it."""

from __future__ import annotations

import math
import os
import secrets
import shlex
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from lithops import FunctionExecutor

from .. import bsp
from ..algorithm import Algorithm
from ..channel.address import Address
from ..channel.redis import RunControl, Status, check_server
from ..channel.server import start_server
from ..data import Source, delete_spooled, spool, spool_to_storage
from ..errors import RunError
from ..events import IterationDone, RunEnded, RunStarted, TargetsMixed, WorkersJoined, emit
from ..private import PrivateDirectory, write_private
from ..target import MixedTargetsWarning, mixture, shown
from .checkpoint import Checkpoints, first_envelope
from .crew import Crew
from .options import RunOptions
from .outcome import Outcome, gather
from .worker import Job, work

POLL = 0.25  # seconds between looks at the run's state; a run's end is seen at once
FUTURES_POLL = 0.02
RESULT_TIMEOUT = 60.0  # seconds for a worker's report to come back once the run is over
REDIS_VARIABLE = "BIGLAMBDA_REDIS_URL"


def run(source: Source, algorithm: Algorithm, outputs: tuple[str, ...], options: RunOptions) -> Outcome:
    """Run ``algorithm`` over ``source`` on Lithops functions; see `biglambda.runtime.engine.run`."""
    name, workers = f"{algorithm.name}-{secrets.token_hex(6)}", options.workers
    start = time.perf_counter()
    with ExitStack() as stack:
        # Everything below is undone in the reverse order, whatever happens: executor, spool, server.
        url, directory = stack.enter_context(_redis(options))
        check_server(url)
        executor = options.executor
        if executor is None:
            assert directory is not None
            executor = stack.enter_context(_localhost_executor(workers, directory))
        _check_executor(executor, workers)
        if source.in_memory or not _is_local(executor):
            source = stack.enter_context(_spooled(source, executor, directory, name))
        control = RunControl(url, name, workers)
        stack.callback(control.close)
        checkpoints = Checkpoints(options.checkpoint, name, options.checkpoint_interval)
        control.create(first_envelope(algorithm, source, options, url))
        stack.enter_context(control.keep_alive())  # while Lithops launches, and while callbacks take their time
        where = _address(url, directory)
        memory_mb = None if _is_local(executor) else _runtime_memory(executor)
        first = Job(
            name, where, 0, workers, source, algorithm, outputs, options.inner, options.inner_workers,
            memory_mb=memory_mb, time_limit=_time_limit(executor),
        )  # fmt: skip

        def launch(jobs: list[Job]) -> tuple[Any, list[Any]]:
            on = executor
            if jobs[0].attempt > 1 and isinstance(executor, FunctionExecutor) and directory is not None:
                # Lithops' localhost backend starts no job of an executor before the one before has ended.
                on = stack.enter_context(_localhost_executor(len(jobs), directory))
            return on, _launch(on, jobs)

        launched = time.time()
        try:
            crew = Crew([replace(first, worker=worker) for worker in range(workers)], launch, options)
            emit(options.callbacks, RunStarted(name, workers, options.inner, algorithm.total_iterations))
            envelope = _watch(control, executor, crew, algorithm, options, checkpoints)
            pause = threading.Event()  # Lithops has nothing to wait on but its own polling
            reports = crew.reports(RESULT_TIMEOUT, lambda: pause.wait(FUTURES_POLL))
        except BaseException as error:
            control.abort(error)
            emit(options.callbacks, RunEnded(name, f"{type(error).__name__}: {error}"))
            raise
        checkpoints.remove()
    emit(options.callbacks, RunEnded(name, None))
    return gather(name, envelope["state"], reports, launched, time.perf_counter() - start, memory_mb)


def _address(url: str, directory: Path | None) -> str | Path:
    """The URL as jobs carry it: on this machine in a private file, as Lithops' storage there is open to all."""
    if directory is None:
        return url
    path = directory / f"redis-{secrets.token_hex(4)}.url"
    write_private(path, url)
    return path


def _launch(executor: Any, jobs: list[Job]) -> Any:
    try:
        # `work` is installed where functions run, so no module is pickled.
        return executor.map(work, jobs, include_modules=None)
    except Exception as error:
        said = str(error)
        said = said if len(said) <= 500 else f"{said[:500]}..."
        raise RunError(f"Lithops could not launch the workers: {type(error).__name__}: {said}") from error


@contextmanager
def _redis(options: RunOptions) -> Iterator[tuple[str, Path | None]]:
    """The URL of the run's Redis, and for workers on this machine a private directory of the run."""
    executor = options.executor
    section = dict(executor.config.get("redis") or {}) if executor is not None else {}
    url = options.redis or os.environ.get(REDIS_VARIABLE) or _url_of_section(section)
    if executor is not None and not _is_local(executor):
        if url is None:
            raise RunError(
                f"the {executor.backend!r} backend needs a Redis that its functions can reach; none was given: "
                f"pass redis='rediss://...', set {REDIS_VARIABLE}, or add a redis section to the Lithops "
                "configuration"
            )
        yield url, None
    elif url:
        with PrivateDirectory().guard() as private:
            yield url, private.directory
    else:
        with start_server() as server:
            yield server.url, server.directory


def _url_of_section(section: dict[str, Any]) -> str | None:
    """The ``redis`` section of a Lithops configuration as a URL."""
    if not section.get("host"):
        return None
    scheme = "rediss" if section.get("ssl") else "redis"
    return Address(
        scheme,
        ((str(section["host"]), int(section.get("port") or 6379)),),
        database=int(section.get("db") or 0),
        username=str(section.get("username") or ""),
        password=str(section.get("password") or ""),
    ).url


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


def _is_local(executor: Any) -> bool:
    return executor.backend == "localhost"


def _runtime_memory(executor: Any) -> int | None:
    return executor.config.get(executor.backend, {}).get("runtime_memory")


def _time_limit(executor: Any) -> float:
    """Seconds for which a function may run: what the backend allows, and what Lithops does."""
    limits = (
        executor.config.get(executor.backend, {}).get("runtime_timeout"),
        executor.config.get("lithops", {}).get("execution_timeout"),
    )
    return min((float(limit) for limit in limits if limit), default=math.inf)


def _at_once(executor: Any) -> int | None:
    """How many workers a localhost executor runs at a time, None for other backends."""
    return executor.config["localhost"].get("worker_processes") if _is_local(executor) else None


def _check_executor(executor: Any, workers: int) -> None:
    limit = _at_once(executor)
    if limit is not None and limit < workers:
        raise RunError(
            f"workers={workers}, but this localhost executor runs {limit} at a time, and all workers of a run "
            f"must run together: create it with worker_processes={workers}, or pass executor=None"
        )


@contextmanager
def _spooled(source: Source, executor: Any, directory: Path | None, name: str) -> Iterator[Source]:
    """The array of ``source``, written once where all workers can read their part of it."""
    if directory is not None:
        yield spool(source, directory)
        return
    storage, bucket = executor.storage, executor.internal_storage.bucket
    spooled = spool_to_storage(source, storage, bucket, f"biglambda/{name}")
    try:
        yield spooled
    finally:
        delete_spooled(spooled)


def _watch(
    control: RunControl,
    executor: Any,
    crew: Crew,
    algorithm: Algorithm,
    options: RunOptions,
    checkpoints: Checkpoints,
) -> bsp.Envelope:
    """Follow the run to its end, and return the last envelope.

    Raises
    ------
    DataError, RunError
        The reason for which a worker ended the run; that a worker was lost; that not all arrived or that nothing
        happened for too long.
    """
    start = changed = time.monotonic()
    seen: Status | None = None
    is_told = False
    while True:
        ended = control.wait(POLL)
        status = control.status(newest=False)  # a state may be large: fetched when there is another one
        if seen is None or ended or status.iteration != seen.iteration or status.state != "running":
            status = control.status()
        now = time.monotonic()
        if seen is None or status.joined != seen.joined:
            emit(options.callbacks, WorkersJoined(status.joined, status.workers))
        all_joined = not status.missing and (seen is None or seen.missing)
        is_over = ended or status.state != "running"
        # And again in the end: since they joined, some may have been replaced.
        if not is_told and (all_joined or status.state == "done"):
            is_told = _tell_of_mixture(control, options)
        if seen is None or status.iteration != seen.iteration:
            changed = now
            if status.newest is not None and status.iteration > 1:
                checkpoints.keep(status.iteration, status.newest)
                metrics = algorithm.metrics(status.newest["state"])
                emit(options.callbacks, IterationDone(status.iteration - 1, metrics))
        seen = status
        if is_over:
            return last_envelope(status)
        if status.missing and now - start > options.arrival_timeout:
            raise RunError(_not_arrived(status, now - start, executor))
        if now - changed > max(options.stall_timeout, options.arrival_timeout):
            raise RunError(
                f"iteration {status.iteration} did not end in {now - changed:.0f} s; still waiting for workers "
                f"{shown(status.waiting_for)} of {status.workers}; a longer pass needs a longer stall_timeout"
            )
        crew.watch(status, lambda: control.status(newest=False).state == "running")


def _tell_of_mixture(control: RunControl, options: RunOptions) -> bool:
    """Say so if the workers that have joined can differ in the last bits; whether there was something to say."""
    targets = control.targets()
    message = mixture(targets)
    if message is None:
        return False
    emit(options.callbacks, TargetsMixed(targets, message))
    warnings.warn(message, MixedTargetsWarning, stacklevel=2)
    return True


def last_envelope(status: Status) -> bsp.Envelope:
    """What a run ended with, or raise why it has no result."""
    if status.newest is not None and status.state == "done":
        return status.newest
    if status.why is not None:
        raise status.why.exception()
    raise RunError(
        "Redis lost the run: the server was restarted or flushed, or it evicts keys. Start the run again"
    )


def _not_arrived(status: Status, seconds: float, executor: Any) -> str:
    limit = _at_once(executor)
    if limit is not None and limit < status.workers:
        hint = f"the localhost backend runs {limit} at a time: set worker_processes"
    elif limit is not None:
        from lithops.constants import RN_LOG_FILE

        hint = f"did a process die? The localhost backend's log may say why: {RN_LOG_FILE}"
    else:
        hint = (
            f"does the {executor.backend!r} backend allow {status.workers} functions at a time, and can they "
            "reach Redis? A slow start may need a longer arrival_timeout"
        )
    return f"{status.joined} of {status.workers} workers arrived in {seconds:.0f} s; {hint}"
