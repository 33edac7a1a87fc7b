"""Kernels that are compiled for all targets while other tests run, which mostly wait."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

FIXTURE = "baked"
BAKING = pytest.StashKey["Baking"]()
BAKE = "import sys; from biglambda.cli import main; sys.exit(main(['runtime', 'bake', '--cache', sys.argv[1]]))"


class Baking:
    """A process that compiles, and gives way to all others."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="biglambda-baked-")
        self.folder = Path(self._folder.name)
        self._process = subprocess.Popen(
            ["nice", "-n", "19", sys.executable, "-c", BAKE, str(self.folder)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def finish(self) -> None:
        """Wait for its end."""
        said, _ = self._process.communicate(timeout=1200)
        assert self._process.returncode == 0, said

    def end(self) -> None:
        """Stop it, and remove what it made."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # with the processes that it started
        self._process.wait()
        self._folder.cleanup()


def pytest_collection_finish(session: pytest.Session) -> None:
    wanted = any(FIXTURE in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not session.config.getoption("collectonly"):
        session.config.stash[BAKING] = Baking()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if BAKING in session.config.stash:
        session.config.stash[BAKING].end()


@pytest.fixture(scope="session")
def baked(request: pytest.FixtureRequest) -> Path:
    """The folder of all kernels, compiled for every target by `biglambda runtime bake`."""
    baking = request.config.stash[BAKING]
    baking.finish()
    return baking.folder
