"""Runs the real worker code over a real server, with threads in place of functions."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from biglambda.runtime import bsp
from biglambda.runtime.algorithm import Algorithm, State
from biglambda.runtime.channel.control import RunControl
from biglambda.runtime.data import Source
from biglambda.runtime.engine.lithops import last_envelope
from biglambda.runtime.engine.worker import Job, work


def run_workers(
    source: Source,
    algorithm: Algorithm,
    workers: int,
    redis_url: str,
    *,
    outputs: tuple[str, ...] = (),
    inner: str = "threads",
    inner_workers: int = 1,
) -> tuple[State, dict[str, np.ndarray], list[Any]]:
    """The last state, what the workers kept for each row, and their reports."""
    name = f"test-{secrets.token_hex(4)}"
    control = RunControl(redis_url, name, workers)
    control.create(bsp.first_envelope(algorithm, source))
    jobs = [
        Job(name, redis_url, worker, workers, source, algorithm, outputs, inner, inner_workers)
        for worker in range(workers)
    ]
    with control.keep_alive(), ThreadPoolExecutor(workers) as pool:
        reports = list(pool.map(work, jobs))
    envelope = last_envelope(control.status())
    control.close()
    memory = {name: np.concatenate([one.memory[name] for one in reports]) for name in outputs}
    return envelope["state"], memory, reports
