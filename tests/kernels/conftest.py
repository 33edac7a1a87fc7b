"""Kernels that are compiled for all targets while other tests run."""

import tempfile
from pathlib import Path

import pytest
from background import Background, is_wanted

BAKE = "import sys; from biglambda.cli import main; sys.exit(main(['runtime', 'bake', '--cache', sys.argv[1]]))"
FOLDER = pytest.StashKey[tempfile.TemporaryDirectory]()
BAKING = pytest.StashKey[Background]()


def pytest_collection_finish(session: pytest.Session) -> None:
    if is_wanted(session, "baked"):
        folder = session.config.stash[FOLDER] = tempfile.TemporaryDirectory(prefix="biglambda-baked-")
        session.config.stash[BAKING] = Background("-c", BAKE, folder.name)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if BAKING in session.config.stash:
        session.config.stash[BAKING].end()
        session.config.stash[FOLDER].cleanup()


@pytest.fixture(scope="session")
def baked(request: pytest.FixtureRequest) -> Path:
    """The folder of all kernels, compiled for every target by `biglambda runtime bake`."""
    request.config.stash[BAKING].finish()
    return Path(request.config.stash[FOLDER].name)
