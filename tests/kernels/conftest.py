"""Fixtures of the kernels' tests."""

from pathlib import Path

import pytest

from biglambda.cli import main


@pytest.fixture(scope="session")
def baked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All kernels, compiled for every target; its tests are in one group, so that it is made once."""
    folder = tmp_path_factory.mktemp("baked")
    assert main(["runtime", "bake", "--cache", str(folder)]) == 0
    return folder
