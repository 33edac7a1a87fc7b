"""Sentinels: the run follows the primary that they name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from channel_workers import Child, expected_state, run_worker, until
from fleets import PASSWORD, SERVICE, Watched, role, watched_in
from test_channel_cluster import created, one_waits

from biglambda.runtime.channel.control import RunControl
from biglambda.runtime.channel.link import Link, check_server
from biglambda.runtime.errors import RunError

Start = Callable[..., Child]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched_in(tmp_path_factory.mktemp("watched")) as watched:
        yield watched


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Watched]:
    """For one test, which ends some of it."""
    with watched_in(tmp_path) as watched:
        yield watched


def test_a_planned_failover_changes_no_bit(own: Watched, child: Start) -> None:
    with one_waits(own.url, "r", child, block=2.0) as (children, go):  # in the primary that becomes a replica
        until(own.fail_over)
        until(lambda: role(own.replica).get("role") == "master")
        own.primary.ask("REPLICAOF", "127.0.0.1", own.replica.port)  # which the sentinel would do, 10 s later
        go.set()
        for one in children:
            assert one.result()[1].tobytes() == expected_state(2, 6).tobytes()
    assert own.replica.client.exists("biglambda:{r}:m")


def run_and_tell(url: str, run: str, *args: Any, **options: Any) -> tuple[int, np.ndarray]:
    """A worker that tells the others why it ends, as in a function."""
    try:
        return run_worker(url, run, *args, **options)
    except RunError as error:
        RunControl(url, run, 3).abort(error)
        raise


@pytest.mark.parametrize("climb", [False, True])
def test_a_primary_that_is_killed_in_full_flight_changes_no_bit_or_ends_the_run(
    own: Watched, child: Start, climb: bool
) -> None:
    with created(own.url, "r", 3) as control:
        everyone = [
            child(run_and_tell, own.url, "r", worker, 3, 400, climb=climb, block=0.5) for worker in range(3)
        ]
        until(lambda: control.status(newest=False).iteration > 20)
        own.primary.kill()
        said: list[str] = []
        for one in everyone:
            try:
                state = one.result(25)[1]
            except RunError as error:
                said.append(str(error))
            else:
                assert state.tobytes() == expected_state(3, 400).tobytes()
        assert all("the server lost data" in one for one in said)  # it had been written, but not yet replicated


def test_a_primary_without_a_replica_is_missed_in_plain_words(own: Watched) -> None:
    link = Link(own.url)
    own.replica.kill()
    own.primary.kill()
    with pytest.raises(RunError, match=rf"{SERVICE}, which leads to .*:{own.primary.port}, cannot be reached"):
        link.call(lambda client: client.ping(), patience=4.0)


def test_errors_of_sentinels_say_what_to_do(watched: Watched) -> None:
    sentinels = f"redis+sentinel://:{PASSWORD}@127.0.0.1:{watched.sentinel.port}"
    own = f"?sentinel_password={watched.sentinel_password}"
    cases = [
        (f"{sentinels}/{SERVICE}", "sentinel that refused to be asked.*sentinel_password="),
        (f"{sentinels}/{SERVICE}?sentinel_password=wr0ng", "sentinel that refused to be asked"),
        (f"{sentinels}/another{own}", "does not know the service: .*no service another"),
        (watched.url.replace(PASSWORD, "wr0ng"), "which leads to .* refused this user"),
        (watched.sentinel.url, r"is a sentinel.*redis\+sentinel://host:port/service"),
        (f"redis+sentinel://127.0.0.1:{watched.primary.port}/s?sentinel_password={PASSWORD}", "does not know"),
    ]
    for url, says in cases:
        with pytest.raises(RunError, match=says) as caught:
            check_server(url)
        for secret in (PASSWORD, watched.sentinel_password, "wr0ng"):
            assert secret not in str(caught.value)


def test_a_sentinel_that_is_gone_is_passed_over(watched: Watched) -> None:
    port = urlsplit(watched.url).port
    check_server(watched.url.replace(f":{port}", f":1,127.0.0.1:{port}"))


def test_a_user_of_a_sentinel_needs_one_command(watched: Watched) -> None:
    line = "on >few resetkeys resetchannels -@all +auth +sentinel|get-master-addr-by-name"
    watched.sentinel.ask("ACL", "SETUSER", "few", *line.split())
    url = watched.url.partition("?")[0]
    check_server(f"{url}?sentinel_username=few&sentinel_password=few")
    watched.sentinel.ask("ACL", "SETUSER", "few", "-sentinel")
    with pytest.raises(RunError, match="refused to be asked"):
        check_server(f"{url}?sentinel_username=few&sentinel_password=few")
