"""Fixtures of the tests that run functions as AWS Lambda does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from lambda_jail import why_no_jail

from benchmarks.s3_server import S3Server
from biglambda.runtime.channel.server import start_server

if TYPE_CHECKING:
    from aws_account import Account


@pytest.fixture(scope="session")
def account(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An account for the whole session, whose runtimes Lithops remembers nowhere else."""
    from aws_account import open_account  # here, because without its packages it skips who imports it

    if (why := why_no_jail()) is not None:
        pytest.skip(why)
    with open_account(s3_server) as account, pytest.MonkeyPatch.context() as patch:
        patch.setattr("lithops.storage.storage.CACHE_DIR", str(tmp_path_factory.mktemp("lithops")))
        yield account


@pytest.fixture(scope="session")
def redis_on_loopback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server, with a password, on a port: functions share no files with the client."""
    # In a folder whose path is too long for a socket, it listens on loopback.
    with start_server(tmp_path_factory.mktemp("x" * 100)) as server:
        assert server.url.startswith("redis://")
        yield server.url
