"""Whole runs, with workers in processes of their own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
import pytest
import redis
from channel_workers import Child, assert_each_worker_ends, expected_state, kill_self, partial, run_worker, until

from biglambda.runtime.channel import FencedError, LocalChannel
from biglambda.runtime.channel.codec import encode
from biglambda.runtime.channel.control import RunControl
from biglambda.runtime.channel.redis import RedisChannel
from biglambda.runtime.channel.server import EmbeddedServer
from biglambda.runtime.errors import DataError, RunError
from biglambda.runtime.trace import Trace

Control = Callable[..., RunControl]
Start = Callable[..., Child]


def start_state() -> dict:
    return {"x": np.zeros(70)}


def calls(client: redis.Redis) -> dict[str, int]:
    return {name[8:]: stat["calls"] for name, stat in client.info("commandstats").items()}


def test_two_commands_per_worker_and_iteration(
    server: EmbeddedServer, client: redis.Redis, control: Control, run: str, child: Start
) -> None:
    workers, iterations = 4, 20
    run_control = control(workers)
    run_control.create(start_state())
    run_worker(server.url, _warm(control), 0, 1, 1)  # so that the server knows the scripts, as in all runs but one
    client.config_resetstat()
    children = [child(run_worker, server.url, run, worker, workers, iterations) for worker in range(workers)]
    results = [one.result() for one in children]
    after = calls(client)
    # What only scripts call is no command of a client.
    in_scripts = {
        "hmget",
        "hget",
        "hset",
        "hexists",
        "hdel",
        "hkeys",
        "hincrby",
        "exists",
        "get",
        "set",
        "del",
        "unlink",
    }
    in_scripts |= {"pexpire", "xadd", "xrevrange"}
    ours = {
        name: count
        for name, count in after.items()
        if name not in in_scripts | {"info", "config|resetstat", "config"}
    }
    assert ours.pop("auth") == workers
    assert set(ours) <= {"evalsha", "xread"}
    # Each worker joins once besides; whoever completes a sum pushes and publishes, and reads nothing.
    assert sum(ours.values()) - workers <= 2.1 * workers * iterations, ours
    for iteration, state in results:
        assert iteration == iterations + 1
        assert state.tobytes() == expected_state(workers, iterations).tobytes()


def _warm(control: Control) -> str:
    name = f"warm-{os.getpid()}"
    control(1, name).create(start_state())
    return name


def test_lost_replies_and_duplicate_attempts_change_no_bit(
    server: EmbeddedServer, client: redis.Redis, control: Control, run: str, child: Start
) -> None:
    workers, iterations = 5, 12
    control(workers).create(start_state())
    options = {"lost_replies": 0.1, "block": 0.2, "lease": 0.4}
    everyone = [*range(workers), 0, 3]
    children = [child(run_worker, server.url, run, worker, workers, iterations, **options) for worker in everyone]
    assert_each_worker_ends(everyone, children, workers, iterations)
    assert all(client.pttl(key) > 0 for key in client.keys("*"))


def test_a_worker_killed_with_the_sum_is_replaced_by_one_that_waits(
    server: EmbeddedServer, control: Control, run: str, child: Start
) -> None:
    control(3).create(start_state())
    others = [child(run_worker, server.url, run, worker, 3, 2, lease=0.5, block=0.2) for worker in (0, 1)]
    until(lambda: control(3).status().waiting_for == (2,))  # so that worker 2 is the one to complete the sum
    victim = child(run_worker, server.url, run, 2, 3, 2, lease=0.5, in_update=lambda _: kill_self())
    assert victim.killed()
    until(lambda: control(3).status().iteration == 2)
    replacement = child(run_worker, server.url, run, 2, 3, 2, lease=0.5, block=0.2)
    for one in [*others, replacement]:
        assert one.result()[1].tobytes() == expected_state(3, 2).tobytes()


def test_killed_workers_are_replaced_and_bits_are_unchanged(
    server: EmbeddedServer, client: redis.Redis, control: Control, run: str, child: Start
) -> None:
    workers, iterations = 4, 8
    control(workers).create(start_state())

    def start(worker: int, dies_at: int) -> Child:
        def die(iteration: int) -> None:
            if iteration == dies_at:
                kill_self()

        # Some die before they push, some when they have the sum, if ever they get one.
        hooks = {"before_push": die} if worker % 2 else {"in_update": die}
        return child(run_worker, server.url, run, worker, workers, iterations, lease=0.3, block=0.1, **hooks)

    waiting = {worker: start(worker, dies_at=worker + 2) for worker in range(workers)}
    kills = 0
    deadline = time.monotonic() + 15
    while waiting:
        assert time.monotonic() < deadline
        for worker, one in list(waiting.items()):
            one.process.join(0.05)
            if one.killed(0):
                kills += 1
                waiting[worker] = start(worker, dies_at=-1)
            elif not one.process.is_alive():
                assert one.result()[1].tobytes() == expected_state(workers, iterations).tobytes()
                del waiting[worker]
    assert kills >= 2
    assert all(client.pttl(key) > 0 for key in client.keys("*"))


def test_an_older_attempt_learns_that_it_was_replaced_and_cannot_end_the_run(
    server: EmbeddedServer, control: Control, run: str
) -> None:
    run_control = control(2)
    run_control.create(start_state())
    old = RedisChannel(server.url, run, 0, 2, trace=Trace())
    new = RedisChannel(server.url, run, 0, 2, trace=Trace())
    old.join()
    new.join()
    with pytest.raises(FencedError, match="another attempt is worker 0"):
        old.all_reduce(1, np.zeros(3), "sum", lambda total: ({}, True))
    old.abort(RuntimeError("fenced"))
    assert run_control.status().state == "running"


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (DataError("file.csv, line 3: no number"), DataError, "^file.csv, line 3: no number"),
        (KeyError("lost"), RunError, "worker 2: KeyError: 'lost'"),
        (RunError("out of rows"), RunError, "worker 2: out of rows"),
        (MemoryError(), RunError, "worker 2: MemoryError"),
        (KeyboardInterrupt(), RunError, "worker 2: stopped by the user"),
    ],
)
def test_an_abort_wakes_everybody_with_its_reason(
    server: EmbeddedServer,
    control: Control,
    run: str,
    child: Start,
    error: BaseException,
    kind: type[Exception],
    says: str,
) -> None:
    run_control = control(3)
    run_control.create(start_state())
    waiting = [child(run_worker, server.url, run, worker, 3, 2, block=10.0) for worker in (0, 1)]
    until(lambda: run_control.status().waiting_for == (2,))
    channel = RedisChannel(server.url, run, 2, 3, trace=Trace())
    channel.join()
    start = time.monotonic()
    channel.abort(error)
    channel.abort(ValueError("a later one does not count"))
    for one in waiting:
        with pytest.raises(kind, match=says):
            one.result(5)
    assert time.monotonic() - start < 3
    assert run_control.wait(5)
    status = run_control.status()
    assert status.state == "aborted"
    assert status.why is not None
    assert status.why.worker == 2
    assert isinstance(status.why.exception(), kind)
    with pytest.raises(kind, match=says):
        RedisChannel(server.url, run, 1, 3, trace=Trace()).join()


def test_workers_end_when_the_client_is_gone(
    server: EmbeddedServer, control: Control, run: str, child: Start
) -> None:
    control(3, lease=0.6).create(start_state())
    waiting = [child(run_worker, server.url, run, worker, 3, 2, block=0.2) for worker in (0, 1)]
    for one in waiting:
        with pytest.raises(RunError, match="client gone"):
            one.result(5)
    with pytest.raises(RunError, match="client gone"):
        RedisChannel(server.url, run, 2, 3, trace=Trace()).join()


def test_a_client_that_waits_keeps_its_run(
    server: EmbeddedServer, control: Control, run: str, child: Start
) -> None:
    run_control = control(2, lease=0.4)
    run_control.create(start_state())
    one = child(run_worker, server.url, run, 0, 2, 1, block=0.1)
    assert not run_control.wait(1.2)
    assert run_control.status().state == "running"
    other = child(run_worker, server.url, run, 1, 2, 1)
    assert run_control.wait(5)
    for result in (one.result(), other.result()):
        assert result[0] == 2


def test_a_client_that_is_busy_can_keep_its_run_alive(
    server: EmbeddedServer, client: redis.Redis, control: Control, run: str
) -> None:
    run_control = control(1, lease=0.3)
    run_control.create(start_state())
    channel = RedisChannel(server.url, run, 0, 1, trace=Trace())
    with run_control.keep_alive():
        client.blpop(["nothing"], timeout=0.8)  # the server counts the time, as it does for the lease
        assert channel.join()[0] == 1
    until(lambda: not client.exists(f"biglambda:{{{run}}}:c"), seconds=2)
    with pytest.raises(RunError, match="client gone"):
        channel.join()


def test_status_tells_who_is_missing_and_a_late_worker_learns_the_end(
    server: EmbeddedServer, control: Control, run: str
) -> None:
    run_control = control(2)
    assert run_control.status().state == "gone"
    assert run_control.wait(0.01) is False or run_control.status().state == "gone"
    run_control.create(start_state())
    run_control.create(start_state())  # as if its reply had been lost
    with pytest.raises(RunError, match="already"):
        control(2).create(start_state())
    status = run_control.status()
    assert (status.state, status.iteration, status.workers, status.joined) == ("running", 1, 2, 0)
    assert (status.missing, status.waiting_for, status.why) == ((0, 1), (0, 1), None)
    channels = [RedisChannel(server.url, run, worker, 2, trace=Trace(), block=0.05) for worker in (0, 1)]
    assert [channel.join()[0::2] for channel in channels] == [(1, False)] * 2
    channels[0]._push(1, "sum", b"\x81\xa1t\xa8" + bytes(8))
    status = run_control.status()
    assert (status.joined, status.missing, status.waiting_for) == (2, (), (1,))
    iteration, state, done = channels[1].all_reduce(1, np.ones(1), "sum", lambda total: ({"x": total}, True))
    assert (iteration, state["x"].tolist(), done) == (2, [1.0], True)
    status = run_control.status()
    assert (status.state, status.iteration, status.waiting_for) == ("done", 2, ())
    assert status.newest is not None
    assert status.newest["x"].tolist() == [1.0]
    assert run_control.status(newest=False).newest is None
    for channel in (*channels, RedisChannel(server.url, run, 0, 2, trace=Trace())):
        iteration, state, done = channel.join()
        assert (iteration, state["x"].tolist(), done) == (2, [1.0], True)
    assert channels[0].all_reduce(1, np.zeros(1), "sum", lambda total: ({}, True))[2]


def test_a_run_that_does_not_exist_is_an_error_that_says_why(server: EmbeddedServer, run: str) -> None:
    with pytest.raises(RunError, match="has no run"):
        RedisChannel(server.url, run, 0, 1, trace=Trace()).join()


def test_a_flushed_script_cache_is_filled_again(
    server: EmbeddedServer, client: redis.Redis, control: Control, run: str
) -> None:
    control(1).create(start_state())
    iteration, state = run_worker(
        server.url,
        run,
        0,
        1,
        4,
        before_push=lambda _: client.script_flush(),
        in_update=lambda _: client.script_flush(),
    )
    assert iteration == 5
    assert state.tobytes() == expected_state(1, 4).tobytes()


def test_a_local_channel_gives_the_same_states(server: EmbeddedServer, control: Control, run: str) -> None:
    first = {"x": np.zeros(70), "pair": (1, 2), "f": np.float32(0.1)}
    control(1).create(first)
    trace = Trace()
    both = [RedisChannel(server.url, run, 0, 1, trace=trace), LocalChannel(first)]
    seen = []
    for channel in both:
        iteration, state, done = channel.join()
        states = [encode(state)]
        while not done:

            def update(total: np.ndarray, at: int = iteration, x: np.ndarray = state["x"]) -> tuple[dict, bool]:
                assert not total.flags.writeable
                return {"x": x + total, "pair": (at,)}, at == 5

            trace.begin()
            iteration, state, done = channel.all_reduce(iteration, partial(iteration, 0), "sum", update)
            assert not state["x"].flags.writeable
            states.append(encode(state))
        assert channel.join()[0::2] == (6, True)
        seen.append(states)
    assert seen[0] == seen[1]
    assert set(trace.iterations[0]) == {"push", "update"}
    with pytest.raises(ValueError, match="the one to go on with"):
        both[1].all_reduce(6, np.zeros(1), "sum", lambda total: ({}, True))


@pytest.mark.parametrize("name", ["", "a b", "a}b", "{a", "x" * 65, "a\n"])
def test_a_run_name_cannot_leave_its_key(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        RunControl("redis://localhost", name, 1)
