"""Other libraries' threads, kept from spinning beside ours."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_runs = 0
_limits: Any = None


@contextmanager
def one_library_thread() -> Iterator[None]:
    """BLAS and OpenMP libraries use one thread meanwhile, in the whole process.

    The threads of OpenBLAS and OpenMP wait for more work by spinning, for up to 80 ms after a product of small
    matrices, on the CPUs that the inner workers need. Runs in several threads of a process may overlap: the limits
    that there were before the first come back after the last.
    """
    from threadpoolctl import threadpool_limits

    global _runs, _limits
    with _lock:
        if _runs == 0:
            _limits = threadpool_limits(1)
        _runs += 1
    try:
        yield
    finally:
        with _lock:
            _runs -= 1
            if _runs == 0:
                _limits.restore_original_limits()
