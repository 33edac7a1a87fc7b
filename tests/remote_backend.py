"""A localhost executor under another backend's name: real functions and storage, but no shared files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lithops


class Remote:
    """Its functions have so many MB, as far as anybody says."""

    backend = "somewhere"

    def __init__(self, executor: lithops.FunctionExecutor, memory_mb: int) -> None:
        self.map: Any = executor.map
        self.wait = executor.wait
        self.storage, self.internal_storage = executor.storage, executor.internal_storage
        self.config = {**executor.config, "somewhere": {"runtime_memory": memory_mb}}


@contextmanager
def remote_backend(memory_mb: int) -> Iterator[Remote]:
    """Functions of a backend that runs three at a time."""
    config = {
        "lithops": {"mode": "localhost", "backend": "localhost", "storage": "localhost", "data_cleaner": False},
        "localhost": {"version": 1, "runtime": sys.executable, "worker_processes": 3},
    }
    with lithops.FunctionExecutor(config=config, log_level=None) as executor:
        yield Remote(executor, memory_mb)
