"""How much memory this process has used at most."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path


def forget_peak() -> None:
    """Count from now on, where the system lets a process do so: functions are used again and again."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """The most memory of its own that this process had since `forget_peak`, or the start.

    What is mapped from files, libraries and `.npy` files, is not among it, where the system tells it apart: it can
    take that back, and how much it maps at a time depends on what else goes on.
    """
    with contextlib.suppress(OSError, ValueError, KeyError):
        lines = (line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
        status = {name: value.split() for name, value in lines if value.endswith(" kB")}
        return 1024 * (int(status["VmHWM"][0]) - int(status["RssFile"][0]))
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
