"""A run on the functions of a Lithops executor, as seen by the client that launches it."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from .. import bsp
from ..algorithm import Algorithm, run_name
from ..channel import LostError
from ..channel.address import Address
from ..channel.control import RunControl, Status
from ..channel.link import check_server
from ..channel.server import start_server
from ..data import Source, StoredArray, delete_spooled, spool, spool_to_storage
from ..data.source import row_bytes
from ..errors import RunError
from ..events import IterationDone, RunEnded, RunStarted, TargetsMixed, WorkersJoined, emit
from ..private import PrivateDirectory
from ..rows import CHUNK
from ..target import MixedTargetsWarning, mixture, shown
from .checkpoint import Checkpoints, first_envelope
from .crew import Crew
from .functions import Functions, is_local
from .memory_plan import MemoryPlan, plan_functions, plan_memory
from .options import RunOptions
from .outcome import Outcome, WorkerReport, gather
from .outputs import LEAST_RATE, output_folder
from .worker import Job

POLL = 0.25  # seconds between looks at the run's state; a run's end is seen at once
FUTURES_POLL = 0.02
RESULT_TIMEOUT = 60.0  # seconds for a worker's report to come back once the run is over
LEAVE_SECONDS = 10.0  # for workers to end when the run has failed, before what they have written is deleted
REDIS_VARIABLE = "BIGLAMBDA_REDIS_URL"


def run(source: Source, algorithm: Algorithm, outputs: tuple[str, ...], options: RunOptions) -> Outcome:
    """Run ``algorithm`` over ``source`` on Lithops functions; see `biglambda.runtime.engine.run`."""
    name, workers = run_name(algorithm), options.workers
    start = time.perf_counter()
    with ExitStack() as stack:
        # Everything below is undone in the reverse order, whatever happens: executor, spool, server.
        url, directory = stack.enter_context(_redis(options))
        check_server(url)
        folder = stack.enter_context(output_folder(name, options, is_local=directory is not None))
        functions = Functions(options.executor, workers, directory, stack)
        plan = _plan(source, algorithm, functions, options)  # before rows are written anywhere
        if source.in_memory or not (source.is_shared or functions.is_local):
            source = stack.enter_context(_spooled(source, functions.executor, directory, name))
            plan = _plan(source, algorithm, functions, options)
        checkpoints = Checkpoints(name, options)
        checkpoints.try_out()
        envelope = first_envelope(algorithm, source, options, url)
        first = Job(
            name, functions.address(url), 0, workers, source, algorithm, outputs,
            options.inner, options.inner_workers,
            memory_mb=functions.memory_mb, time_limit=functions.time_limit, folder=folder,
        )  # fmt: skip

        for losses in count():
            launched = time.time()
            try:
                envelope, reports, stored = _run(url, envelope, first, functions, options, checkpoints)
                break
            except LostError:
                if losses == options.retries:
                    raise
                # The server was restarted, or lost a key. The client has the newest state that it has seen.
                envelope = checkpoints.newest.envelope if checkpoints.newest else envelope
                first = replace(first, run=f"{name}-{losses + 2}")
        checkpoints.remove()
    emit(options.callbacks, RunEnded(first.run, None))
    seconds = time.perf_counter() - start
    outcome = gather(first.run, envelope["state"], reports, launched, seconds, plan)
    outcome.memory.update(stored)
    return outcome


def _run(
    url: str,
    envelope: bsp.Envelope,
    first: Job,
    functions: Functions,
    options: RunOptions,
    checkpoints: Checkpoints,
) -> tuple[bsp.Envelope, list[WorkerReport], dict[str, StoredArray]]:
    """Launch workers and follow them to the end: the last envelope, what they bring back, and what they stored."""
    control = RunControl(url, first.run, first.workers)
    with closing(control):
        control.create(envelope)
        crew: Crew | None = None
        pause = partial(threading.Event().wait, FUTURES_POLL)  # Lithops has nothing to wait on but its own polling
        with control.keep_alive():  # while Lithops launches, and while callbacks take their time
            try:
                jobs = [replace(first, worker=worker) for worker in range(first.workers)]
                crew = Crew(jobs, functions.launch, options, functions.refusals.of)
                iterations = first.algorithm.total_iterations
                emit(options.callbacks, RunStarted(first.run, first.workers, first.inner, iterations))
                envelope = _watch(control, functions, crew, first.algorithm, options, checkpoints)
                reports = crew.reports(_report_seconds(first, envelope), pause)
                stored: dict[str, StoredArray] = {}
                if first.folder is not None:
                    stored = first.folder.finish(first.run, first.algorithm.memory, reports)
                return envelope, reports, stored
            except BaseException as error:
                control.abort(error)
                emit(options.callbacks, RunEnded(first.run, f"{type(error).__name__}: {error}"))
                if first.folder is not None and crew is not None:
                    crew.wait_for_end(LEAVE_SECONDS, pause)  # what they write now would outlive the folder
                raise


def _plan(source: Source, algorithm: Algorithm, functions: Functions, options: RunOptions) -> MemoryPlan:
    """The memory of a worker, which its function must have."""

    def plan(workers: int, memory_mb: int | None) -> MemoryPlan:
        inner_workers = options.inner_workers_on(functions.cpus(memory_mb))
        found = plan_memory(source, algorithm, workers, inner_workers, memory_mb)
        # Functions elsewhere map no files of this machine: they hold all of their rows.
        return found if functions.is_local else replace(found, held=found.rows * row_bytes(source))

    return plan_functions(plan, options.workers, functions.memory_mb)


def _report_seconds(job: Job, envelope: bsp.Envelope) -> float:
    """Within which a worker's report must come back once the run is over; before it, outputs are written."""
    if job.folder is None:
        return RESULT_TIMEOUT
    rows = job.source.n_rows
    most = max(envelope["counts"]) if rows is None else rows / job.workers
    item = sum(np.dtype(job.algorithm.memory[name]).itemsize for name in job.outputs)
    return RESULT_TIMEOUT + (float(most) + CHUNK) * item / LEAST_RATE


@contextmanager
def _redis(options: RunOptions) -> Iterator[tuple[str, Path | None]]:
    """The URL of the run's Redis, and for workers on this machine a private directory of the run."""
    executor = options.executor
    url = given_redis(options.redis, options.config)
    if executor is not None and not is_local(executor):
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


def given_redis(redis: str | None, config: Mapping[str, Any] | None) -> str | None:
    """The URL of the Redis that a run is given: by its option, the environment, or a Lithops configuration."""
    section = dict((config or {}).get("redis") or {})
    return redis or os.environ.get(REDIS_VARIABLE) or _url_of_section(section)


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
    functions: Functions,
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
            raise functions.not_arrived(status, now - start)
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
    raise LostError(
        "Redis lost the run: the server was restarted or flushed, or it evicts keys. Start the run again"
    )
