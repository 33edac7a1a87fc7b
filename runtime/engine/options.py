"""How a run is run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import LocalFiles, store_for
from ..data.s3 import SCHEME
from ..events import Callback
from ..inner import check_inner

MAX_WORKERS = 10_000


def check_place(name: str, place: Any) -> str:
    """``place`` as text, if it can be one for files of a run: an absolute path, or ``s3://bucket/prefix``.

    Parameters
    ----------
    name : str
        Of the parameter.
    place : path
        As it was given.
    """
    if not isinstance(place, str | os.PathLike) or not isinstance(text := os.fspath(place), str):
        raise TypeError(f"{name} is a {type(place).__name__}: allowed are a directory and s3://bucket/prefix")
    store = store_for(text)
    if not isinstance(store, LocalFiles):
        if not text.removeprefix(SCHEME).strip("/"):
            raise ValueError(f"{name}={text!r}: no bucket is named; allowed is s3://bucket/prefix")
        return text.rstrip("/")
    text = store.absolute(text)
    if not os.path.isdir(text):
        raise ValueError(f"{name}={text!r}: there is no such directory")
    return text


def check_executor(executor: Any) -> None:
    """Refuse what can run no functions."""
    if executor is not None and not all(hasattr(executor, name) for name in ("map", "config", "backend")):
        raise TypeError(
            f"executor is a {type(executor).__name__}: allowed are None and a lithops.FunctionExecutor"
        )


@dataclass(frozen=True)
class RunOptions:
    """The options that every ``fit_*`` function shares.

    Attributes
    ----------
    workers : int
        Functions to run.
    inner : {"threads", "processes", "serial"}
        Kind of inner workers.
    inner_workers : int or "auto"
        Inner workers in each function; "auto" is as many as it has usable CPUs.
    executor : lithops.FunctionExecutor, optional
        Where functions run. None runs in this process, or, with several workers, on Lithops' localhost backend.
    redis : str, optional
        URL of the Redis through which workers meet.
    callbacks : sequence of callables
        Called with every event of the run, see `biglambda.runtime.events`.
    arrival_timeout : float
        Seconds within which all workers must have arrived.
    stall_timeout : float
        Seconds within which a run must get on by one iteration.
    silence_timeout : float
        Seconds without a sign of life after which a worker counts as lost; it gives one every 2 s.
    retries : int
        How often each worker may be lost: it is launched again.
    backups : int
        How many functions may be launched beside workers that all others have waited long for.
    checkpoint : path, optional
        A directory, or s3://bucket/prefix, for the run's newest state.
    checkpoint_interval : float
        Seconds between two checkpoints.
    resume : str, optional
        The name of a run to go on with.
    outputs_to : path, optional
        A directory, or s3://bucket/prefix, to which workers write their outputs; without it, they come back.
    """

    workers: int = 1
    inner: str = "threads"
    inner_workers: int | str = "auto"
    executor: Any = None
    redis: str | None = None
    callbacks: Sequence[Callback] = ()
    arrival_timeout: float = 60.0
    stall_timeout: float = 900.0
    silence_timeout: float = 15.0
    retries: int = 2
    backups: int = 0
    checkpoint: str | None = None
    checkpoint_interval: float = 30.0
    resume: str | None = None
    outputs_to: str | None = None

    @property
    def config(self) -> dict[str, Any] | None:
        """The Lithops configuration of the executor, if there is one."""
        return None if self.executor is None else self.executor.config

    @property
    def in_process(self) -> bool:
        """Whether the run stays in this process, so that nothing is launched for it."""
        return self.executor is None and self.workers == 1

    def inner_workers_on(self, cpus: int) -> int:
        """Inner workers of a function that has so many CPUs."""
        if self.inner == "serial":
            return 1
        return cpus if isinstance(self.inner_workers, str) else int(self.inner_workers)

    def __post_init__(self) -> None:
        workers = self.workers
        if (
            isinstance(workers, bool)
            or not isinstance(workers, int | np.integer)
            or not (1 <= workers <= MAX_WORKERS)
        ):
            raise ValueError(f"workers={workers!r}: allowed are whole numbers from 1 to {MAX_WORKERS}")
        check_inner(self.inner, self.inner_workers)
        for name in ("retries", "backups"):
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 0:
                raise ValueError(f"{name}={number!r}: allowed are whole numbers from 0")
        for name in ("arrival_timeout", "stall_timeout", "silence_timeout", "checkpoint_interval"):
            seconds = getattr(self, name)
            if not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
                raise ValueError(f"{name}={seconds!r}: allowed are positive seconds")
        if self.redis is not None and not isinstance(self.redis, str):
            raise TypeError(f"redis is a {type(self.redis).__name__}: allowed is a URL such as redis://host:6379")
        if self.checkpoint is not None:
            object.__setattr__(self, "checkpoint", check_place("checkpoint", self.checkpoint))
        if self.outputs_to is not None:
            object.__setattr__(self, "outputs_to", check_place("outputs_to", self.outputs_to))
        if self.resume is not None and not isinstance(self.resume, str):
            raise TypeError(f"resume is a {type(self.resume).__name__}: allowed is the name of a run")
        if not isinstance(self.callbacks, list | tuple):
            raise TypeError(f"callbacks is {self.callbacks!r}: allowed is a list of functions")
        for callback in self.callbacks:
            if not callable(callback):
                raise TypeError(f"callbacks: {callback!r} cannot be called")
        check_executor(self.executor)
