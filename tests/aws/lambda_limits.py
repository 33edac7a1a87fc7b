"""The memory and the CPU time that one function has: by control groups where they can be made, else by rlimits."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from biglambda.runtime.resources import LAMBDA_MB_PER_VCPU, MB

GROUPS = Path("/sys/fs/cgroup")
PERIOD_US = 100_000
REMOVE_SECONDS = 5.0  # for the kernel to be done with processes that have ended

# Arguments: the memory limit in bytes, or nothing; control groups to join; "--"; a command.
START = r"""
if [ -n "$1" ]; then ulimit -d $(($1 / 1024)); fi
shift
while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit 125; shift; done
shift
exec "$@"
"""


@dataclass(frozen=True)
class Limits:
    """Of one function.

    Attributes
    ----------
    memory_mb : int
        If processes of the function use more together, one is killed; without groups, each has so much for
        itself, and what it asks for above that it does not get.
    groups : tuple of Path
        Control groups of version 2 or 1 that hold its processes; none if they cannot be made here.
    """

    memory_mb: int
    groups: tuple[Path, ...]

    def command(self, command: list[str]) -> list[str]:
        """``command``, started within the limits."""
        each = "" if self.groups else str(self.memory_mb * MB)
        return ["/bin/sh", "-c", START, "lambda-limits", each, *map(str, self.groups), "--", *command]

    def limit_cpu(self) -> None:
        """Give CPU time in proportion to memory from here on, as AWS Lambda does once a function has started."""
        quota = max(1_000, PERIOD_US * self.memory_mb // LAMBDA_MB_PER_VCPU)
        for group in self.groups:
            for name, value in (("cpu.max", f"{quota} {PERIOD_US}"), ("cpu.cfs_quota_us", str(quota))):
                if (group / name).exists():
                    (group / name).write_text(value)

    def out_of_memory(self) -> bool:
        """Whether the kernel has killed a process for its memory."""
        for group in self.groups:
            for name in ("memory.events", "memory.oom_control"):
                if (group / name).exists():
                    counts = dict(line.split() for line in (group / name).read_text().splitlines())
                    return int(counts.get("oom_kill", 0)) > 0
        return False

    def remove(self) -> None:
        """Remove the groups, whose processes have been ended."""
        pause = threading.Event()  # the kernel tells nobody when a group is empty
        for group in self.groups:
            for _ in range(int(REMOVE_SECONDS / 0.01)):
                with contextlib.suppress(OSError):
                    group.rmdir()
                if not group.exists():
                    break
                pause.wait(0.01)


def make_limits(memory_mb: int) -> Limits:
    """Limits for a new function, by what this machine allows."""
    made: list[Path] = []
    try:
        for parent in _parents(Path("/proc/self/cgroup").read_text(), GROUPS):
            _remove_leftovers(parent)
            group = parent / f"biglambda-{os.getpid()}-{secrets.token_hex(4)}"
            group.mkdir()
            made.append(group)
            for name in ("memory.max", "memory.limit_in_bytes"):
                if (group / name).exists():
                    (group / name).write_text(str(memory_mb * MB))
        if any((group / name).exists() for group in made for name in ("memory.max", "memory.limit_in_bytes")):
            return Limits(memory_mb, tuple(made))
    except OSError:
        pass
    Limits(memory_mb, tuple(made)).remove()
    return Limits(memory_mb, ())


def why_no_groups() -> str | None:
    """Why each process of a function has its memory for itself here; None if they have it together."""
    limits = make_limits(128)
    limits.remove()
    return None if limits.groups else "no control groups can be made here, as by root"


def _remove_leftovers(parent: Path) -> None:
    """Remove the groups of processes that were killed before they could."""
    for group in parent.glob("biglambda-*"):
        if not Path("/proc", group.name.split("-")[1]).exists():
            with contextlib.suppress(OSError):
                group.rmdir()


def _parents(own: str, mount: Path) -> Iterator[Path]:
    """Groups below which one with a memory limit and a CPU limit can be made.

    Parameters
    ----------
    own : str
        The groups of this process, as in /proc/self/cgroup.
    mount : Path
        Where control groups are mounted.
    """
    unified = None
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in {"memory", "cpu"} & set(controllers.split(",")):
            yield mount / controller / path.lstrip("/")
        if not controllers:
            unified = mount / path.lstrip("/")
    # In version 2 a group that has processes cannot have groups with limits below it, but one above it can.
    while unified is not None and unified.is_relative_to(mount):
        control = unified / "cgroup.subtree_control"
        if control.exists() and {"memory", "cpu"} <= set(control.read_text().split()):
            yield unified
            return
        unified = unified.parent
