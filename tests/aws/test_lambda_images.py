"""An image that `lithops runtime build` has made from a Dockerfile runs as a function."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path
from typing import Any

import pytest
from aws_account import Account
from lambda_jail import UID

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def image(account: Account, prepared: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of the smallest image."""
    context = tmp_path_factory.mktemp("context")
    shutil.copy(HERE / "Dockerfile", context)
    account.build("smallest", context / "Dockerfile", context)
    return "smallest"


def test_an_image_built_from_a_dockerfile_runs_with_nothing_of_this_machine(account: Account, image: str) -> None:
    tests = str(HERE)

    def look() -> dict[str, Any]:  # pickled by value: nothing of this project is in the image
        import os
        import platform

        return {
            "user": os.getuid(),
            "handler": os.path.exists("/function/entry_point.py"),
            "client": os.path.exists(tests),
            "pip": os.path.exists("/etc/pip.conf") and os.path.getsize("/etc/pip.conf") > 0,
            "cwd": os.getcwd(),
            "python": platform.python_version_tuple()[:2],
        }

    with account.executor(image, runtime_memory=1769, runtime_timeout=60) as executor:
        seen = executor.get_result(executor.call_async(look, ()), timeout=60)
    assert seen == {
        "user": UID,
        "handler": True,
        "client": False,
        "pip": False,
        "cwd": "/function",
        "python": platform.python_version_tuple()[:2],
    }


def test_a_dockerfile_that_fails_says_why(account: Account, image: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nRUN echo kernels are stale; exit 4\n"
    )
    with pytest.raises(RuntimeError, match="kernels are stale"):
        account.build("broken", tmp_path / "Dockerfile", tmp_path)
