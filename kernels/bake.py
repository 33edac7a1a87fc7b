"""All kernels compiled ahead of time, for every CPU that they may meet, into one folder.

Each target is a process of its own, since Numba compiles for one CPU in a process: `python -m
biglambda.kernels.bake` prints what became of the kernels in one, as JSON.
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from .cache import COMPILE_VARIABLE, NEVER, NotBakedError
from .registry import tally, warm
from .target import target

TARGETS = {"x86_64": ("x86-64-v2", "x86-64-v3", "x86-64-v4"), "aarch64": ("neoverse-n1",)}
"""What is baked for each architecture, the oldest first. AWS Lambda's arm64 functions run on Graviton 2."""

FEATURES = {"x86-64-v4": "-prefer-256-bit"}
"""Features of a target beside its own: without this one LLVM makes no use of 512 bits."""

LIMIT = 900.0
"""Seconds that the kernels of one target may take to compile."""


@dataclass(frozen=True)
class Baked:
    """What became of the kernels of one target.

    Attributes
    ----------
    target : str
    loaded, compiled : int
        How many were in the cache, and how many were not.
    missing : str or None
        What was missing, where nothing may be compiled.
    seconds : float
        That its process took, imports included.
    """

    target: str
    loaded: int
    compiled: int
    missing: str | None
    seconds: float = 0.0


def own_targets() -> tuple[str, ...]:
    """What to bake on this machine's architecture.

    Raises
    ------
    NotImplementedError
        There are no targets for it.
    """
    machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(platform.machine().lower(), platform.machine())
    if machine not in TARGETS:
        raise NotImplementedError(f"nothing is baked for {machine}; there are {', '.join(TARGETS)}")
    return TARGETS[machine]


def environment(name: str) -> dict[str, str]:
    """What makes a new process compile and load kernels for a target: Numba needs both, even if one is empty."""
    return {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": FEATURES.get(name, "")}


def bake(folder: Path, names: Iterable[str], compile: bool = True) -> list[Baked]:
    """Have all kernels of some targets in a folder.

    Parameters
    ----------
    folder : Path
        What `NUMBA_CACHE_DIR` is where they are used.
    names : iterable of str
        Targets.
    compile : bool
        Whether those that are missing are compiled. If not, the first of them ends its process.

    Raises
    ------
    RuntimeError
        A process failed.
    """

    def one(name: str) -> Baked:
        variables = {"NUMBA_CACHE_DIR": str(folder), COMPILE_VARIABLE: "" if compile else NEVER}
        start = time.perf_counter()
        try:
            done = subprocess.run(
                [sys.executable, "-m", __name__],
                env={**os.environ, **environment(name), **variables},
                capture_output=True,
                text=True,
                timeout=LIMIT,
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"the kernels for {name} took more than {LIMIT:.0f} s to compile") from None
        if done.returncode:
            raise RuntimeError(f"the kernels for {name} cannot be loaded or compiled: {done.stderr[-2000:]}")
        return Baked(**{**json.loads(done.stdout.splitlines()[-1]), "seconds": time.perf_counter() - start})

    with ThreadPoolExecutor(max(1, len(os.sched_getaffinity(0)))) as pool:
        return list(pool.map(one, names))


def main() -> None:
    """Load all kernels in this process, or compile them, and print a `Baked`."""
    missing = None
    try:
        warm()
    except NotBakedError as error:
        missing = str(error)
    print(json.dumps(asdict(Baked(target().name, **asdict(tally()), missing=missing))))


if __name__ == "__main__":
    main()
