"""What the benchmarks of whole runs share; what it has in common with `biglambda bench` is there."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping

from biglambda.bench.timing import clean_environment, median_ratio, once
from biglambda.bench.timing import interleaved as interleaved_timers

__all__ = ["clean_environment", "interleaved", "median_ratio", "table"]


def interleaved(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call in each round, every round running all of them in turn, after one round unmeasured."""
    return interleaved_timers({name: once(call) for name, call in calls.items()}, rounds)


def table(seconds: Mapping[str, list[float]], unit: str = "ms") -> str:
    """Median, minimum and maximum of each call."""
    scale = {"ms": 1e3, "s": 1.0}[unit]
    lines = [f"{'':<34}{'median':>10}{'min':>10}{'max':>10}  {unit}"]
    for name, values in seconds.items():
        numbers = (statistics.median(values), min(values), max(values))
        lines.append(f"{name:<34}" + "".join(f"{scale * value:>10.2f}" for value in numbers))
    return "\n".join(lines)
