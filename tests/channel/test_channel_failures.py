"""A server that fails in the middle of a run: a clear error in bounded time, or the same bits."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import redis
from channel_workers import Child, expected_state, run_worker, until
from own_server import OwnServer
from redis.connection import UnixDomainSocketConnection

from biglambda.runtime.channel import connect as connect_module
from biglambda.runtime.channel import link as link_module
from biglambda.runtime.channel.connect import connect
from biglambda.runtime.channel.control import RunControl
from biglambda.runtime.channel.link import Link
from biglambda.runtime.channel.redis import RedisChannel
from biglambda.runtime.channel.run import run_keys
from biglambda.runtime.channel.server import EmbeddedServer, find_binary
from biglambda.runtime.errors import RunError
from biglambda.runtime.trace import Trace

Control = Callable[..., RunControl]
Start = Callable[..., Child]

both_ways = pytest.mark.parametrize("climb", [False, True])


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


@contextlib.contextmanager
def settings(client: redis.Redis, **values: Any) -> Iterator[None]:
    """Settings of the server, with hyphens for underscores, for the length of a block."""
    names = {name: name.replace("_", "-") for name in values}
    before = {name: client.config_get(name)[name] for name in names.values()}
    for name, value in values.items():
        client.config_set(names[name], value)
    try:
        yield
    finally:
        for name, value in before.items():
            client.config_set(name, value)


def start_state() -> dict:
    return {"x": np.zeros(70)}


def one_waits(control: Control, child: Start, url: str, run: str, **options: Any) -> Child:
    """A run of two workers in its second iteration, in which worker 0 waits for worker 1."""
    run_control = control(2)
    run_control.create(start_state())

    def leave(iteration: int) -> None:
        if iteration == 2:
            raise SystemExit

    first = child(run_worker, url, run, 0, 2, 2, block=0.2, **options)
    second = child(run_worker, url, run, 1, 2, 2, before_push=leave, **options)
    with contextlib.suppress(SystemExit):
        second.result()
    until(lambda: (told := run_control.status()).iteration == 2 and told.waiting_for == (1,))
    return first


@both_ways
def test_a_server_that_is_restarted_without_its_data_ends_the_run(
    tmp_path: Path, child: Start, climb: bool
) -> None:
    server = OwnServer(tmp_path, find_binary())
    control = RunControl(server.url, "r", 2)
    try:
        waiting = one_waits(lambda _: control, child, server.url, "r", climb=climb)
        with within(10):
            server.restart()
            with pytest.raises(RunError, match=r"has no run r: .*lost its data.*Start the run again"):
                waiting.result(10)
            assert control.wait(5)
        assert control.status().state == "gone"
    finally:
        control.close()
        server.stop()


@both_ways
def test_a_server_that_lost_its_last_iterations_is_gone_on_with_from_there(
    server: EmbeddedServer, client: redis.Redis, control: Control, run: str, child: Start, climb: bool
) -> None:
    """As after a failover to a replica that had not heard of everything."""
    control(2, lease=60.0).create({"x": np.zeros(70)})
    again: list[int] = []
    kept: dict[str, bytes] = {}
    keys = run_keys(run)

    def lose(iteration: int) -> None:  # at once, as another server takes over: the other worker goes on meanwhile
        again.append(iteration)
        with client.pipeline(transaction=True) as pipeline:
            if iteration == 3 and not kept:
                for key in keys:
                    pipeline.dump(key)
                kept.update({key: value for key, value in zip(keys, pipeline.execute(), strict=True) if value})
            elif iteration == 6 and again.count(6) == 1:
                pipeline.delete(*keys)
                for key, value in kept.items():
                    pipeline.restore(key, 60_000, value)
                pipeline.execute()

    other = child(run_worker, server.url, run, 1, 2, 8, block=0.2, climb=climb)
    mine = run_worker(server.url, run, 0, 2, 8, block=0.2, climb=climb, before_push=lose)
    assert again == [1, 2, 3, 4, 5, 6, 3, 4, 5, 6, 7, 8]
    for state in (mine[1], other.result(10)[1]):
        assert state.tobytes() == expected_state(2, 8).tobytes()


@both_ways
def test_a_worker_whose_joining_was_lost_joins_again(
    server: EmbeddedServer, client: redis.Redis, control: Control, run: str, child: Start, climb: bool
) -> None:
    control(2, lease=60.0).create({"x": np.zeros(70)})

    again: list[int] = []

    def lose(iteration: int) -> None:
        again.append(iteration)
        if again == [1, 2]:
            assert client.hdel(f"biglambda:{{{run}}}:m", "t0", "n0", "b0") == 3

    other = child(run_worker, server.url, run, 1, 2, 3, block=0.2, climb=climb)
    state = run_worker(server.url, run, 0, 2, 3, block=0.2, climb=climb, before_push=lose)[1]
    assert again == [1, 2, 2, 3]
    assert state.tobytes() == other.result(10)[1].tobytes() == expected_state(2, 3).tobytes()


@both_ways
def test_a_server_that_is_full_ends_the_run_for_all(
    server: EmbeddedServer, client: redis.Redis, control: Control, run: str, child: Start, climb: bool
) -> None:
    waiting = one_waits(control, child, server.url, run, climb=climb)
    channel = RedisChannel(server.url, run, 1, 2, trace=Trace(), climb=climb)
    channel.join()
    with settings(client, maxmemory="1"), within(5):
        with pytest.raises(RunError, match=r"is full: .*Raise its maxmemory") as caught:
            channel.join()
        channel.abort(caught.value)
        with pytest.raises(RunError, match=r"worker 1: Redis at unix:///.* is full|Redis at unix:///.* is full"):
            waiting.result(5)
    channel.close()


def test_a_run_does_not_begin_on_a_server_that_is_full(client: redis.Redis, control: Control) -> None:
    with settings(client, maxmemory="1"):
        with pytest.raises(RunError, match=r"is full: .*Raise its maxmemory"):
            control(1).create(start_state())
        assert client.keys("*") == []


@contextlib.contextmanager
def allowed_soon(allow: Callable[[], Any], seconds: float = 0.2) -> Iterator[None]:
    """Remove an obstacle while the block is trying."""
    timer = threading.Timer(seconds, allow)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def test_a_server_that_takes_no_more_connections_says_so(
    server: EmbeddedServer, client: redis.Redis, control: Control, run: str
) -> None:
    control(1).create(start_state())
    channel = RedisChannel(server.url, run, 0, 1, trace=Trace(), block=0.1, patience=4.0)
    with settings(client, maxclients="1"), within(5):
        with pytest.raises(RunError, match=r"takes no more connections: .*Raise its maxclients"):
            channel.join()
        with allowed_soon(lambda: client.config_set("maxclients", "100")):
            assert channel.join()[0] == 1
    channel.close()


def test_what_a_server_says_before_it_closes_is_heard_even_if_nothing_can_be_written_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = threading.Event()
    send = UnixDomainSocketConnection.send_packed_command

    def send_late(connection: UnixDomainSocketConnection, *command: Any, **options: Any) -> None:
        assert gone.wait(5)
        send(connection, *command, **options)

    monkeypatch.setattr(UnixDomainSocketConnection, "send_packed_command", send_late)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()

        def turn_away() -> None:
            connection, _ = listener.accept()
            connection.sendall(b"-ERR max number of clients reached\r\n")
            connection.close()
            gone.set()

        thread = threading.Thread(target=turn_away, daemon=True)
        thread.start()
        with within(5), pytest.raises(RunError, match=r"takes no more connections: .*max number of clients"):
            Link(f"unix://:pass@{tmp_path}/s", patience=3.0).call(lambda client: client.ping())
        thread.join(5)


@both_ways
def test_a_server_that_stands_still_is_given_up_or_waited_for(
    tmp_path: Path, child: Start, monkeypatch: pytest.MonkeyPatch, climb: bool
) -> None:
    """Stopped, as a machine that swaps or is being moved: connections stay, and nothing answers."""
    for module in (connect_module, link_module):
        monkeypatch.setattr(module, "REPLY_SECONDS", 0.3)
    server = OwnServer(tmp_path, find_binary())
    control = RunControl(server.url, "r", 2)
    try:
        waiting = one_waits(lambda _: control, child, server.url, "r", climb=climb)
        channel = RedisChannel(server.url, "r", 1, 2, trace=Trace(), block=0.1, patience=1.2, climb=climb)
        server.pause()
        with within(3), pytest.raises(RunError, match=r"cannot be reached: Timeout"):
            channel.join()
        channel.close()
        with allowed_soon(server.go_on, 0.8):  # after some tries of both
            other = child(run_worker, server.url, "r", 1, 2, 2, climb=climb)
        for one in (waiting, other):
            assert one.result(10)[1].tobytes() == expected_state(2, 2).tobytes()
    finally:
        control.close()
        server.stop()


def test_a_wrong_password_is_said_by_workers_and_client(server: EmbeddedServer, run: str) -> None:
    url = server.url.replace(f":{urlsplit(server.url).password}@", ":wr0ng@")
    with within(2):
        with pytest.raises(RunError, match=r"refused this user.*Check user and password") as caught:
            RunControl(url, run, 1).create({})
        assert "wr0ng" not in str(caught.value)
        with pytest.raises(RunError, match=r"refused this user.*Check user and password"):
            RedisChannel(url, run, 0, 1, trace=Trace()).join()


@both_ways
def test_evicted_partials_are_given_again(
    server: EmbeddedServer, client: redis.Redis, control: Control, run: str, child: Start, climb: bool
) -> None:
    waiting = one_waits(control, child, server.url, run, climb=climb)
    client.delete(f"biglambda:{{{run}}}:a")
    other = child(run_worker, server.url, run, 1, 2, 2, block=0.2, climb=climb)
    for one in (waiting, other):
        assert one.result(5)[1].tobytes() == expected_state(2, 2).tobytes()


def test_a_replica_says_what_it_is_and_is_waited_for_a_while(
    server: EmbeddedServer, client: redis.Redis, control: Control, run: str
) -> None:
    control(1).create(start_state())
    channel = RedisChannel(server.url, run, 0, 1, trace=Trace(), block=0.1, patience=4.0)
    client.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        with within(5), pytest.raises(RunError, match=r"is a replica.*Give the address of the primary"):
            channel.join()
        with within(5), allowed_soon(lambda: client.execute_command("REPLICAOF", "NO", "ONE")):
            assert channel.join()[0] == 1
    finally:
        client.execute_command("REPLICAOF", "NO", "ONE")
        channel.close()


HOG = "while true do end"
FUNCTION = f"#!lua name=hog\nredis.register_function('hog', function() {HOG} end)"


@contextlib.contextmanager
def busy(server: EmbeddedServer, client: redis.Redis, kind: str) -> Iterator[Callable[[], Any]]:
    """A server that somebody's script or function keeps busy; yields what ends that."""
    if kind == "FUNCTION":
        try:
            client.execute_command("FUNCTION", "LOAD", "REPLACE", FUNCTION)
        except redis.ResponseError:
            pytest.skip("a server without functions")
    command = ("FCALL", "hog", 0) if kind == "FUNCTION" else ("EVAL", HOG, 0)
    somebody, admin = connect(server.url, block=10.0), connect(server.url)

    def occupy() -> None:
        with contextlib.suppress(redis.ResponseError):
            somebody.execute_command(*command)

    def end() -> None:
        with contextlib.suppress(redis.ResponseError):  # NOTBUSY
            admin.execute_command(kind, "KILL")

    admin.ping()
    with settings(client, lua_time_limit="20"):
        thread = threading.Thread(target=occupy, daemon=True)
        thread.start()
        try:
            until(lambda: is_busy(admin))
            yield end
        finally:
            end()
            thread.join(5)
            somebody.close()
            admin.close()


def is_busy(client: redis.Redis) -> bool:
    try:
        client.ping()
    except redis.ResponseError as error:
        return "BUSY" in str(error)
    return False


@pytest.mark.parametrize("kind", ["SCRIPT", "FUNCTION"])
def test_a_server_that_somebody_keeps_busy_is_waited_for_a_while(
    server: EmbeddedServer, client: redis.Redis, control: Control, run: str, kind: str
) -> None:
    control(1).create(start_state())
    channel = RedisChannel(server.url, run, 0, 1, trace=Trace(), block=0.1, patience=4.0)
    channel.join()
    with busy(server, client, kind) as end:
        with within(5), pytest.raises(RunError, match=rf"is busy with a script.*{kind} KILL"):
            channel.all_reduce(1, np.ones(3), "sum", lambda total: ({"x": total}, True))
        with within(5), allowed_soon(end):
            state = channel.all_reduce(1, np.ones(3), "sum", lambda total: ({"x": total}, True))[1]
    assert state["x"].tolist() == [1, 1, 1]
    channel.close()


def test_a_script_that_is_killed_says_so(
    server: EmbeddedServer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "load_script", lambda name: (HOG, "0" * 40))
    admin = connect(server.url)
    admin.ping()
    with settings(client, lua_time_limit="20"), within(5):

        def kill() -> None:
            until(lambda: is_busy(admin))
            admin.script_kill()

        with allowed_soon(kill), pytest.raises(RunError, match=r"ended a script of this run.*written nothing"):
            Link(server.url).script("push", ("key",))
    admin.close()


@both_ways
@pytest.mark.parametrize(
    ("key", "says"), [("m", "has no run"), ("s", "no longer has the state.*noeviction"), ("c", "client gone")]
)
def test_a_run_that_loses_a_key_says_what_is_lost(
    server: EmbeddedServer,
    client: redis.Redis,
    control: Control,
    run: str,
    child: Start,
    climb: bool,
    key: str,
    says: str,
) -> None:
    waiting = one_waits(control, child, server.url, run, climb=climb)
    assert client.delete(f"biglambda:{{{run}}}:{key}")
    channel = RedisChannel(server.url, run, 1, 2, trace=Trace(), climb=climb)
    with within(5):
        with pytest.raises(RunError, match=says) as caught:
            channel.join()
        channel.abort(caught.value)
        with pytest.raises(RunError, match=says):
            waiting.result(5)
    channel.close()


@both_ways
def test_another_worker_computes_if_the_lease_is_lost(
    server: EmbeddedServer, client: redis.Redis, control: Control, run: str, child: Start, climb: bool
) -> None:
    waiting = one_waits(control, child, server.url, run, climb=climb)
    meta, _, _, lease, _, _ = run_keys(run)

    def lose(_: int) -> None:
        assert client.delete(lease)
        until(lambda: client.hget(meta, "version") == b"3")  # published by worker 0

    mine = run_worker(server.url, run, 1, 2, 2, climb=climb, in_update=lose)
    for state in (mine[1], waiting.result(5)[1]):
        assert state.tobytes() == expected_state(2, 2).tobytes()


def test_a_client_notices_the_end_even_if_its_sign_is_lost(
    server: EmbeddedServer, client: redis.Redis, control: Control, run: str
) -> None:
    own = control(1, lease=0.6)
    own.create(start_state())
    run_worker(server.url, run, 0, 1, 1)
    assert client.delete(run_keys(run)[5])
    with within(2):
        assert own.wait(5)
    assert own.status().state == "done"


@both_ways
def test_a_state_that_is_lost_before_it_is_read_ends_the_run(
    server: EmbeddedServer, client: redis.Redis, control: Control, run: str, child: Start, climb: bool
) -> None:
    waiting = one_waits(control, child, server.url, run, climb=climb)
    keys = run_keys(run)
    with client.pipeline(transaction=True) as pipeline:
        pipeline.delete(keys[2])
        pipeline.hset(keys[0], "version", 3)
        pipeline.execute()
    with within(5), pytest.raises(RunError, match=r"evicted or lost it.*noeviction"):
        waiting.result(5)
