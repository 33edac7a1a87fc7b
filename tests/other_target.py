"""A worker on another CPU than its neighbours, as far as kernels can tell; imported in the workers' processes."""

from __future__ import annotations

import os
import pickle

from biglambda.runtime.engine.outcome import WorkerReport
from biglambda.runtime.engine.worker import work


def work_on(cpu: str | None, job: bytes) -> WorkerReport:
    """`work`, with kernels for that CPU or else for this one; nothing has imported Numba in the process before."""
    if cpu:
        os.environ["NUMBA_CPU_NAME"], os.environ["NUMBA_CPU_FEATURES"] = cpu, ""
    return work(pickle.loads(job))
