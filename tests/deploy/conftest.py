"""An account of AWS, and Lithops configurations that tests write."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import account as aws_account
import pytest


@pytest.fixture(scope="session")
def aws() -> Iterator[aws_account.Account]:
    with aws_account.start_account() as account:
        yield account


@pytest.fixture
def account(aws: aws_account.Account, monkeypatch: pytest.MonkeyPatch) -> aws_account.Account:
    """The account, with an environment in which boto3 finds it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in aws_account.variables(aws.endpoint).items():
        monkeypatch.setenv(name, value)
    return aws


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Path]:
    """Write a configuration that Lithops finds."""
    monkeypatch.delenv("LITHOPS_CONFIG", raising=False)
    monkeypatch.delenv("BIGLAMBDA_REDIS_URL", raising=False)

    def write(settings: Any) -> Path:
        path = aws_account.write(tmp_path / "lithops.yaml", settings)
        monkeypatch.setenv("LITHOPS_CONFIG_FILE", str(path))
        return path

    return write


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command that keeps what it is asked to do, in the file whose path this is."""
    folder, log = tmp_path / "bin", tmp_path / "docker.jsonl"
    folder.mkdir()
    (folder / "docker").write_text(aws_account.DOCKER)
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setenv("DOCKER_LOG", str(log))
    return log
