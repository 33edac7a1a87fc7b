"""What a function has: vCPUs and memory, and what it costs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

MB = 1 << 20
"""Bytes in what AWS Lambda calls a megabyte."""

LAMBDA_LARGEST_MB = 10_240
"""Memory of the largest function that AWS Lambda has."""

LAMBDA_MB_PER_VCPU = 1769
"""AWS Lambda gives CPU time in proportion to memory: one vCPU for each 1,769 MB."""

LAMBDA_CPUS = ((3008, 2), (5307, 3), (7076, 4), (8845, 5))
"""vCPUs that a function sees: memory up to so many MB, number of vCPUs; above the last, six."""

USD_PER_GB_SECOND = 0.0000166667
"""AWS Lambda, x86-64, us-east-1, November 2026, without the free tier."""


def lambda_cpus(memory_mb: int) -> int:
    """How many vCPUs an AWS Lambda function with ``memory_mb`` MB of memory sees."""
    return next((cpus for limit, cpus in LAMBDA_CPUS if memory_mb <= limit), 6)


def paid_cpus(memory_mb: int) -> int:
    """How many CPUs' time an AWS Lambda function with ``memory_mb`` MB of memory has, rounded; it may see more."""
    return max(1, round(memory_mb / LAMBDA_MB_PER_VCPU))


def usable_cpus() -> int:
    """CPUs whose time this process has: by its affinity, its cgroup's quota, and its function's memory size."""
    cpus = len(os.sched_getaffinity(0))
    memory = function_memory()
    if memory is not None:
        cpus = min(cpus, paid_cpus(memory))
    quota = _cgroup_quota(Path("/sys/fs/cgroup"))
    if quota is not None:
        cpus = min(cpus, max(1, round(quota)))
    return max(1, cpus)


def function_memory() -> int | None:
    """MB of the AWS Lambda function that this process is in; None if it is in none."""
    memory = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
    return int(memory) if memory.isdigit() else None


def _cgroup_quota(root: Path) -> float | None:
    """CPUs that the control group (version 2 or 1) may use, None without a limit."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        limit = int((root / "cpu/cpu.cfs_quota_us").read_text())
        period_us = int((root / "cpu/cpu.cfs_period_us").read_text())
        return limit / period_us if limit > 0 and period_us > 0 else None
    except (OSError, ValueError):
        return None


@dataclass(frozen=True)
class Cost:
    """What a run used, and what AWS Lambda would charge for it.

    Attributes
    ----------
    seconds : float
        Seconds of all workers together, from the start of each to its end.
    memory_mb : int
        Memory of one worker, MB: of the Lithops runtime, or, for a run on this machine, what AWS Lambda sells
        with as many vCPUs as there are inner workers.
    gb_seconds : float
        ``seconds`` times ``memory_mb`` / 1024.
    usd : float
        ``gb_seconds`` times `USD_PER_GB_SECOND`; without requests, storage, Redis and network.
    """

    seconds: float
    memory_mb: int

    @property
    def gb_seconds(self) -> float:
        return self.seconds * self.memory_mb / 1024

    @property
    def usd(self) -> float:
        return self.gb_seconds * USD_PER_GB_SECOND

    def __repr__(self) -> str:
        return f"Cost({self.gb_seconds:.2f} GB-s at {self.memory_mb} MB, US$ {self.usd:.6f})"


def lambda_memory(inner_workers: int) -> int:
    """MB of memory that AWS Lambda sells with so many vCPUs, `LAMBDA_LARGEST_MB` at most."""
    return min(LAMBDA_LARGEST_MB, inner_workers * LAMBDA_MB_PER_VCPU)
