"""A run in this process: on a laptop, or inside a Lithops job or a Lambda handler."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from .. import bsp
from ..algorithm import Algorithm, Combine, State, run_name
from ..channel import LocalChannel
from ..data import Source, StoredArray
from ..events import IterationDone, RunEnded, RunStarted, WorkersJoined, emit
from ..info import info
from ..inner import make_inner
from ..memory import forget_peak, peak_bytes
from ..resources import function_memory, usable_cpus
from ..trace import Trace
from .checkpoint import Checkpoints, first_envelope
from .memory_plan import BASE_BYTES, MemoryPlan, plan_functions, plan_memory
from .options import RunOptions
from .outcome import Outcome, WorkerReport, gather
from .outputs import OutputFolder, output_folder


class _Announcing(LocalChannel):
    """A channel for one worker that announces every new state."""

    def __init__(self, state: State, trace: Trace, announce: Callable[[int, State], None]) -> None:
        super().__init__(state, trace=trace)
        self._announce = announce

    def all_reduce(
        self,
        iteration: int,
        partial: np.ndarray,
        how: Combine,
        update: Callable[[np.ndarray], tuple[State, bool]],
    ) -> tuple[int, State, bool]:
        reached, state, done = super().all_reduce(iteration, partial, how, update)
        self._announce(iteration, state)
        return reached, state, done


def _plan(source: Source, algorithm: Algorithm, options: RunOptions) -> MemoryPlan | None:
    """The memory that this process will need, which its function must have; rows in memory are there already."""
    if source.in_memory:
        return None
    base = max(peak_bytes(), BASE_BYTES)

    def plan(workers: int, memory_mb: int | None) -> MemoryPlan:
        inner_workers = options.inner_workers_on(usable_cpus())
        return plan_memory(source, algorithm, workers, inner_workers, memory_mb, base)

    return plan_functions(plan, 1, function_memory())


def run(source: Source, algorithm: Algorithm, outputs: tuple[str, ...], options: RunOptions) -> Outcome:
    """Run ``algorithm`` over ``source`` in this process; see `biglambda.runtime.engine.run`."""
    name = run_name(algorithm)
    with output_folder(name, options, is_local=True) as folder:
        return _run(name, source, algorithm, outputs, options, folder)


def _run(
    name: str,
    source: Source,
    algorithm: Algorithm,
    outputs: tuple[str, ...],
    options: RunOptions,
    folder: OutputFolder | None,
) -> Outcome:
    forget_peak()
    started, start = time.time(), time.perf_counter()
    callbacks, trace = options.callbacks, Trace()
    plan = _plan(source, algorithm, options)
    checkpoints = Checkpoints(name, options)
    checkpoints.try_out()
    first = first_envelope(algorithm, source, options, options.redis)
    emit(callbacks, RunStarted(name, 1, options.inner, algorithm.total_iterations))

    def announce(iteration: int, envelope: State) -> None:
        checkpoints.keep(iteration, envelope)
        emit(callbacks, IterationDone(iteration, algorithm.metrics(envelope["state"])))

    try:
        with make_inner(options.inner, options.inner_workers) as inner:
            emit(callbacks, WorkersJoined(1, 1))
            read = partial(source.read, 0, 1, inner.workers)
            channel = _Announcing(first, trace, announce)
            state, rows = bsp.run(algorithm, read, inner, channel, trace)
        memory = {output: rows.memory[output] for output in outputs}
        on = info(algorithm.target(), algorithm.kernels())
        report = WorkerReport(name, 0, len(rows), inner.workers, memory, trace, on, started)
        stored: dict[str, StoredArray] = {}
        if folder is not None:
            report.memory, report.parts = {}, folder.write(0, memory)
            stored = folder.finish(name, algorithm.memory, [report])
    except BaseException as error:
        emit(callbacks, RunEnded(name, f"{type(error).__name__}: {error}"))
        raise
    checkpoints.remove()
    emit(callbacks, RunEnded(name, None))
    outcome = gather(name, state, [report], started, time.perf_counter() - start, plan)
    outcome.memory.update(stored)
    return outcome
