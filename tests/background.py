"""Processes that work while other tests run, which mostly wait."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

import pytest


class Background:
    """A Python process that gives way to all others, and what it printed."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            ["nice", "-n", "19", sys.executable, *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def finish(self, seconds: float = 1200.0) -> None:
        """Wait until it has ended well."""
        said, _ = self._process.communicate(timeout=seconds)
        assert self._process.returncode == 0, said

    def end(self) -> None:
        """Stop it, with the processes that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def is_wanted(session: pytest.Session, fixture: str) -> bool:
    """Whether a test that will run uses a fixture."""
    wanted = any(fixture in getattr(item, "fixturenames", ()) for item in session.items)
    return wanted and not session.config.getoption("collectonly")
