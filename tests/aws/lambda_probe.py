"""The handler of a function that tells what it is in, or goes wrong in the way that it is told."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from biglambda.runtime.resources import usable_cpus

FORK = multiprocessing.get_context("fork")


def lambda_handler(event: dict[str, Any], _: Any) -> Any:
    """Do what ``event["do"]`` names."""
    return globals()[event["do"]](*event.get("with", ()))


def facts() -> dict[str, Any]:
    """What a process can see and do here."""
    capabilities = [
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff")
    ]
    return {
        "uid": os.getuid(),
        "capabilities": int(capabilities[0].split()[1], 16),
        "writable": [folder for folder in ("/", "/root", "/dev", "/var/tmp", str(Path(__file__).parent), "/tmp") if
                     can(lambda folder=folder: Path(folder, "trial").write_text("x"))],
        "shm": Path("/dev/shm").exists(),
        "tmp_mb": os.statvfs("/tmp").f_blocks * os.statvfs("/tmp").f_frsize >> 20,
        "tmp": [name for name in os.listdir("/tmp") if name != "trial"],
        "host": socket.gethostname(),
        "processes": len([name for name in os.listdir("/proc") if name.isdigit()]),
        "cpus": usable_cpus(),
        "becomes_root": can(lambda: os.setuid(0)),
        "pool": can(lambda: FORK.Pool(2).map(abs, [-1])),
        "lock": can(FORK.Lock),
        "process_and_pipe": through_a_pipe(),
        "environment": sorted(os.environ),
    }  # fmt: skip


def can(action: Callable[[], Any]) -> bool:
    """Whether something is allowed here."""
    try:
        action()
    except OSError:
        return False
    return True


def through_a_pipe() -> int:
    """A number that a forked process sends."""
    here, there = FORK.Pipe()
    child = FORK.Process(target=there.send, args=(42,))
    child.start()
    number: int = here.recv()
    child.join()
    return number


def echo(value: Any) -> Any:
    """The argument, and which process this is."""
    return {"value": value, "boot": Path("/proc/self/stat").read_text().split()[21]}


def fail() -> None:
    """An error of the handler's own."""
    raise ValueError("these rows make no sense")


def wait() -> None:
    """For longer than any function may."""
    threading.Event().wait(600)


def wait_with_a_child() -> None:
    """In a process that the handler forks, and which does not end with it by itself."""
    FORK.Process(target=wait).start()
    wait()


def allocate(megabytes: int) -> int:
    """So much memory, all of it written to."""
    return len(b"x" * (megabytes << 20))


def respond(megabytes: int) -> str:
    """With so much."""
    return "x" * (megabytes << 20)


def die() -> None:
    """By a signal."""
    os.kill(os.getpid(), signal.SIGKILL)
