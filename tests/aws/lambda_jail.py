"""The jail in which a function runs: what AWS Lambda takes away, taken away by bubblewrap."""

from __future__ import annotations

import functools
import shutil
import subprocess
from dataclasses import replace

from lambda_root import Root, machine_root

UID, GID = 993, 990
DEVICES = ("null", "zero", "full", "random", "urandom")
STREAMS = ("stdin", "stdout", "stderr")
TMP_MB = 512
"""Of ``/tmp``, unless a function asks for more."""


def jail(root: Root, tmp_mb: int = TMP_MB) -> list[str]:
    """The command that starts ``root`` in a jail, with the environment that the command is given.

    Its ``/`` is read-only but for a ``/tmp`` in memory, ``/dev`` has a few devices and no ``shm``, processes, IPC
    and host name are its own, its user is not root and can never become it, and it ends with the thread that
    started it. The network is this machine's.
    """
    options: list[tuple[str, ...]] = [
        ("--ro-bind", str(root.rootfs), "/"),
        ("--proc", "/proc"),
        ("--tmpfs", "/dev"),
        *(("--dev-bind", f"/dev/{name}", f"/dev/{name}") for name in DEVICES),
        ("--symlink", "/proc/self/fd", "/dev/fd"),
        *(("--symlink", f"/proc/self/fd/{fd}", f"/dev/{name}") for fd, name in enumerate(STREAMS)),
        ("--remount-ro", "/dev"),
        ("--size", str(tmp_mb << 20), "--tmpfs", "/tmp"),
        *(("--ro-bind", str(folder), str(folder)) for folder in root.binds),
        *(("--ro-bind", str(file), place) for file, place in root.over),
        ("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", "lambda"),
        ("--uid", str(UID), "--gid", str(GID), "--cap-drop", "ALL"),
        ("--new-session", "--die-with-parent", "--chdir", root.cwd),
    ]  # fmt: skip
    return [
        shutil.which("bwrap") or "bwrap",
        *(word for option in options for word in option),
        "--",
        *root.entrypoint,
        *root.cmd,
    ]


@functools.cache
def why_no_jail() -> str | None:
    """Why there can be no jail on this machine, or None if there can."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed"
    trial = replace(machine_root(), entrypoint=("/bin/true",), cmd=())
    done = subprocess.run(jail(trial), capture_output=True, text=True, timeout=30)
    return None if done.returncode == 0 else f"bubblewrap makes no jail here: {done.stderr.strip()[-300:]}"
