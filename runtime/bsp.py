"""The iteration loop, the only one: every algorithm, and every pass over the data, runs through it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import reduce

import numpy as np

from .algorithm import Algorithm, State
from .channel import Channel, OutOfTime
from .data import Partition, Source
from .inner import Inner
from .inner.quiet import one_library_thread
from .rows import Rows
from .trace import Trace

AS_LONG = 2.0
"""How many times as long as the longest iteration so far another may take."""

# What travels between workers is the algorithm's state, and beside it how many rows each worker found in its own
# range of bytes: None while nobody has counted, an empty array where the row numbers were known from the start.
# And what kind of run it is of: a run that goes on with another must be of the same.
Envelope = State


def first_envelope(algorithm: Algorithm, source: Source) -> Envelope:
    """What a run over ``source`` starts with."""
    return {
        "counts": None if source.n_rows is None else np.empty(0),
        "state": algorithm.initial_state(),
        "of": {
            "algorithm": algorithm.name,
            "features": source.n_features,
            "dtype": str(source.dtype),
            "target": source.has_target,
        },
    }


def run(
    algorithm: Algorithm,
    read: Callable[[], Partition],
    inner: Inner,
    channel: Channel,
    trace: Trace,
    deadline: float = math.inf,
) -> tuple[State, Rows]:
    """Run ``algorithm`` over the rows that ``read`` brings, as one of the workers that share ``channel``.

    This is Algorithm 1 of the paper: read the state, compute the partial of this worker's rows on its inner
    workers, add it to everybody's, and go on with the state that follows.

    Parameters
    ----------
    algorithm, inner, channel, trace
        What to compute, on what, with whom; where the time goes is noted.
    read : callable
        Reads this worker's part of the data.
    deadline : float
        By `time.monotonic`, when this worker must have ended.

    Returns
    -------
    state : dict
        The last state.
    rows : Rows
        This worker's rows, with what the algorithm kept for each.

    Raises
    ------
    OutOfTime
        The next iteration might last beyond the deadline.
    """
    iteration, envelope, done = channel.join()  # first of all: the others learn that this worker is there
    with trace.span("load"):
        partition = read()
    if envelope["counts"] is None:
        iteration, envelope, done = channel.all_reduce(
            iteration, np.array([partition.count], np.float64), "gather", _with_counts(envelope)
        )
    with trace.span("load"):
        rows = _align(algorithm, partition, envelope["counts"])
        algorithm.load(rows)

    with one_library_thread():
        while not done:
            if time.monotonic() + AS_LONG * trace.longest > deadline:
                raise OutOfTime(f"{deadline - time.monotonic():.0f} s are not enough for another iteration")
            trace.begin()
            with trace.span("compute"):
                partial = _compute(algorithm, inner, rows, envelope["state"], channel.check)
            reached, envelope, done = channel.all_reduce(
                iteration,
                partial,
                algorithm.combine(envelope["state"]),
                _next_envelope(algorithm, envelope),
            )
            rows.fresh = reached != iteration + 1
            iteration = reached
        if rows.fresh:  # the others finished without this worker's last iteration: make up what it keeps of it
            _compute(algorithm, inner, rows, envelope["state"], channel.check)
    return envelope["state"], rows


def _align(algorithm: Algorithm, partition: Partition, counts: np.ndarray) -> Rows:
    x, y, first = partition.align([int(count) for count in counts] if len(counts) else None)
    memory: dict[str, np.ndarray] = {name: np.zeros(len(x), dtype) for name, dtype in algorithm.memory.items()}
    return Rows(x, y, first, memory)


def _compute(
    algorithm: Algorithm, inner: Inner, rows: Rows, state: State, check: Callable[[], None]
) -> np.ndarray:
    of_part = algorithm.partial(state)

    def task(part: Rows) -> np.ndarray:
        check()  # a worker that nobody needs any more ends in the middle of an iteration
        return of_part(part)

    partials = inner.map(task, rows, algorithm.writes(state))
    if algorithm.combine(state) == "gather":
        return np.concatenate(partials)
    return reduce(np.add, partials)


def _with_counts(envelope: Envelope) -> Callable[[np.ndarray], tuple[Envelope, bool]]:
    return lambda counts: ({**envelope, "counts": np.array(counts)}, False)


def _next_envelope(algorithm: Algorithm, envelope: Envelope) -> Callable[[np.ndarray], tuple[Envelope, bool]]:
    def update(total: np.ndarray) -> tuple[Envelope, bool]:
        state = algorithm.update(envelope["state"], total)
        return {**envelope, "state": state}, algorithm.done(state)

    return update
