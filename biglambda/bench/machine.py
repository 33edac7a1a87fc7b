"""What this machine is, how much memory is free, and how busy others keep it."""

from __future__ import annotations

import os
import platform
import resource
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

QUIET = 0.1  # CPUs
LIBRARIES = ("numba", "numpy", "scikit-learn", "scikit-learn-intelex", "faiss-cpu", "scipy")


def describe_machine() -> dict[str, str | int]:
    """The CPU, how many of it may be used, the width of its registers, and the versions of the libraries."""
    from biglambda.kernels.simd import REGISTER_BYTES

    model = platform.machine()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    found: dict[str, str | int] = {
        "cpu": model,
        "cpus": len(os.sched_getaffinity(0)),
        "register_bits": 8 * REGISTER_BYTES,
    }
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def available_bytes(root: Path = Path("/")) -> int | None:
    """Memory that can be had without swapping, in the machine and its control group; None if nobody says."""
    limits = []
    with suppress(OSError, StopIteration, ValueError):
        lines = (root / "proc/meminfo").read_text().splitlines()
        limits.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    with suppress(OSError, ValueError):  # ValueError: "max", no limit
        group = root / "sys/fs/cgroup"
        limits.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    return min(limits, default=None)


class Elsewhere:
    """How many CPUs other processes keep busy, on average since this object was made."""

    def __init__(self) -> None:
        self._start = self._read()

    def _read(self) -> tuple[float, float, float]:
        try:
            fields = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        except (OSError, ValueError):
            fields = [0] * 8
        busy = sum(fields[:3]) + sum(fields[5:8])  # user, nice, system, interrupts, stolen; not idle
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return time.monotonic(), busy / os.sysconf("SC_CLK_TCK"), usage.ru_utime + usage.ru_stime

    def __str__(self) -> str:
        cpus = self.cpus()
        meaning = ": the machine was quiet" if cpus < QUIET else ": times are too long, and ratios less certain"
        return f"other processes kept {cpus:.2f} CPUs busy meanwhile{meaning}"

    def cpus(self) -> float:
        """Not below 0; also 0 where the kernel does not tell."""
        elapsed, busy, own = (now - then for now, then in zip(self._read(), self._start, strict=True))
        return max(0.0, (busy - own) / elapsed) if elapsed > 0 else 0.0
