"""Interleaved rounds, medians, and quiet machines."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

SPIN_DOWN = 0.08  # seconds for which a rival's threads spin after a parallel section
AT_LEAST = 0.02  # seconds that a measurement takes; a shorter call is repeated
SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Settings with which a current OpenBLAS is slow; it reads them when NumPy is imported."""

Timer = Callable[[], float]
"""Measures something once, and returns seconds per operation."""


def once(call: Callable[[], object]) -> Timer:
    """A timer of single calls."""

    def timer() -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    return timer


def timed(call: Callable[[], object]) -> Timer:
    """A timer of calls, which come in a row long enough to be measured, after one that is not."""
    repeats = 0

    def timer() -> float:
        nonlocal repeats
        first = once(call)()
        repeats = repeats or max(1, round(AT_LEAST / max(first, 1e-7)))
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        return (time.perf_counter() - start) / repeats

    return timer


def interleaved(timers: Mapping[str, Timer], rounds: int, pause: float = SPIN_DOWN) -> dict[str, list[float]]:
    """Seconds of each timer in each round, every round running all of them in turn, after one round unmeasured.

    `pause`, in seconds, comes before each of them; none is needed where nobody has a second thread.
    """
    seconds: dict[str, list[float]] = {name: [] for name in timers}
    for round_number in range(rounds + 1):
        for name, timer in timers.items():
            time.sleep(pause)
            measured = timer()
            if round_number:
                seconds[name].append(measured)
    return seconds


def median_ratio(seconds: Mapping[str, Sequence[float]], name: str, rival: str) -> float:
    """How many times longer the rival took: the median over the rounds."""
    return statistics.median(b / a for a, b in zip(seconds[name], seconds[rival], strict=True))


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def clean_environment() -> dict[str, str]:
    """The environment for a rival: without settings that slow down a current OpenBLAS."""
    return {k: v for k, v in os.environ.items() if k not in SLOWING}


def forget_slow_settings() -> str:
    """Remove these settings from this process, and say so; empty if there was nothing to say."""
    found = [name for name in SLOWING if name in os.environ]
    if not found:
        return ""
    if "numpy" in sys.modules:
        return f"NumPy was loaded with {' and '.join(found)}, which may slow it down: start without"
    for name in found:
        del os.environ[name]
    return f"{' and '.join(found)} removed from the environment: OpenBLAS is slow with it"


@contextmanager
def pinned(threads: int) -> Iterator[list[int]]:
    """Keep all threads of this process on as many CPUs, the last ones; also those that start meanwhile."""
    usable = os.sched_getaffinity(0)
    cpus = sorted(usable)[-threads:]
    _pin(set(cpus))
    try:
        yield cpus
    finally:
        _pin(usable)


def _pin(cpus: set[int]) -> None:
    for task in Path("/proc/self/task").iterdir():
        try:
            os.sched_setaffinity(int(task.name), cpus)
        except ProcessLookupError:  # it has ended
            continue
