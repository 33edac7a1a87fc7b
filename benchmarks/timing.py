"""What the benchmarks share: interleaved rounds, medians, and quiet machines."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping

SPIN_DOWN = 0.08  # seconds for which a rival's threads spin after a parallel section


def interleaved(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call in each round, every round running all of them in turn, after one round unmeasured."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for round_number in range(rounds + 1):
        for name, call in calls.items():
            time.sleep(SPIN_DOWN)
            start = time.perf_counter()
            call()
            if round_number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def median_ratio(seconds: Mapping[str, list[float]], name: str, rival: str) -> float:
    """How many times longer the rival took: the median over the rounds."""
    return statistics.median(b / a for a, b in zip(seconds[name], seconds[rival], strict=True))


def table(seconds: Mapping[str, list[float]], unit: str = "ms") -> str:
    """Median, minimum and maximum of each call."""
    scale = {"ms": 1e3, "s": 1.0}[unit]
    lines = [f"{'':<34}{'median':>10}{'min':>10}{'max':>10}  {unit}"]
    for name, values in seconds.items():
        numbers = (statistics.median(values), min(values), max(values))
        lines.append(f"{name:<34}" + "".join(f"{scale * value:>10.2f}" for value in numbers))
    return "\n".join(lines)


def clean_environment() -> dict[str, str]:
    """The environment for a rival: without settings that slow down a current OpenBLAS."""
    return {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
