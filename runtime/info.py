"""What a worker's process runs on."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from .resources import function_memory, usable_cpus
from .target import Target


class Kernels(NamedTuple):
    """Where the compiled code came from that a process uses.

    Attributes
    ----------
    loaded : int
        How many kernels from a cache.
    compiled : int
        How many were compiled on the spot: 0 in the runtime image.
    """

    loaded: int
    compiled: int


@dataclass(frozen=True)
class Info:
    """What a process runs on.

    Attributes
    ----------
    cpu : str
        Model of the CPU.
    target : Target
        What the kernels are compiled for.
    kernels : Kernels
        Where they came from.
    cpus : int
        vCPUs that may be used.
    memory_mb : int or None
        Memory of the AWS Lambda function, MB; None in none.
    python, biglambda : str
        Versions.
    """

    cpu: str
    target: Target
    kernels: Kernels
    cpus: int
    memory_mb: int | None
    python: str
    biglambda: str

    def __str__(self) -> str:
        memory = "" if self.memory_mb is None else f", {self.memory_mb:,} MB"
        return (
            f"biglambda {self.biglambda}, Python {self.python}, on {self.cpus} vCPUs of {self.cpu}{memory}\n"
            f"kernels for {self.target.name}: {self.kernels.loaded} loaded, {self.kernels.compiled} compiled"
        )


def info(target: Target, kernels: Kernels) -> Info:
    """What this process runs on, with kernels for ``target``."""
    return Info(
        _cpu(), target, kernels, usable_cpus(), function_memory(), platform.python_version(), installed_version()
    )


def installed_version() -> str:
    """Version of biglambda."""
    try:
        return version("biglambda")
    except PackageNotFoundError:
        return "unknown"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "CPU part")))
    return next(names, "") or platform.processor() or platform.machine()
