"""The benchmarks of the channel run, at a small size, and count what really happens. Times are not judged."""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Callable

import numpy as np
import pytest
import redis

from benchmarks import fleet, paper_protocol
from benchmarks.crowd import Call, Crowd
from benchmarks.delay import delayed
from benchmarks.paper_protocol import OURS, PAPER
from benchmarks.usage import Meter
from biglambda.runtime.channel.connect import connect

FEW = {OURS: 3, PAPER: 2}
RENEWALS = ("MULTI", "EXPIRE", "EXEC")


def sent_between_readings(monitor: redis.client.Monitor, end: str) -> list[list[str]]:
    """What clients sent to the server, cut where a meter read its counters."""
    parts: list[list[str]] = [[]]
    while (one := monitor.next_command())["command"] != f"ECHO {end}":
        name = one["command"].split()[0]
        if name == "INFO":
            parts.append([])
        elif one["client_type"] != "lua":
            parts[-1].append(name)
    return parts


def test_both_protocols_reach_the_same_centres_and_their_commands_are_those_that_clients_sent(
    redis_url: str,
) -> None:
    client, end = connect(redis_url), uuid.uuid4().hex
    with client.monitor() as monitor:
        found = paper_protocol.compare(redis_url, 3, 4, 2, rounds=1, iterations=FEW)
        client.echo(end)
        *_, ours, paper, _ = filter(None, sent_between_readings(monitor, end))
    client.close()
    for protocol, sent in ((OURS, ours), (PAPER, paper)):
        (cost,) = found.costs[protocol]
        assert round(cost.commands * 3 * FEW[protocol]) == len(sent)
        # Twice as many iterations as in a turn; the mean of 1, 2 and 3 times the number of the iteration.
        assert np.array_equal(found.centers[protocol], np.full((4, 2), 2 * FEW[protocol] * 2.0))
    assert set(ours) == {"EVALSHA", "XREAD"}
    assert found.costs[OURS][0].commands == found.costs[OURS][0].round_trips == 2
    assert found.costs[PAPER][0].bare * 6 == pytest.approx(len([x for x in paper if x not in RENEWALS]))
    assert paper.count("EXEC") < found.costs[PAPER][0].round_trips * 6 < len(paper) - 2 * paper.count("EXEC")
    assert found.ratio("commands") == found.median(PAPER, "commands") / found.median(OURS, "commands") > 10


def test_a_fleet_takes_two_commands_and_carries_partials_and_states(redis_url: str) -> None:
    found = fleet.measure(redis_url, [2, 5], [30], d=4, iterations=2)
    assert list(found) == [(2, 30), (5, 30)]
    for (workers, k), iterations in found.items():
        assert len(iterations) == 2
        one = fleet.median(iterations)
        assert one.commands == 2
        partial, state = 8 * (k * 4 + k + 3), 2 * 8 * k * 4
        # The last worker gets the total and gives the next state, which the others get.
        assert 0 < one.bytes_in - (partial + state / workers) < 1000
        assert 0 < one.bytes_out - (partial / workers + state * (workers - 1) / workers) < 400
        assert 0 < one.release < 10
        assert 0 < one.cpu < 1


@pytest.mark.parametrize(
    ("main", "arguments"),
    [
        (fleet.main, ["--workers", "2", "--k", "2", "--iterations", "1"]),
        (paper_protocol.main, ["--workers", "2", "--k", "2", "--rounds", "1", "--delay", "0.1"]),
    ],
)
def test_figures_are_printed_as_a_table_and_as_json(
    main: Callable[[], None],
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", *arguments])
    main()
    assert capsys.readouterr().out.count("     2.00  ") >= 1
    monkeypatch.setattr(sys, "argv", ["benchmark", *arguments, "--json"])
    main()
    assert json.loads(capsys.readouterr().out)


def test_every_request_is_delayed_and_a_pipeline_is_one(redis_url: str) -> None:
    with delayed(redis_url, 0.02) as url:
        client = connect(url)
        client.ping()
        start = time.monotonic()
        for _ in range(10):
            client.ping()
        singly = time.monotonic() - start
        pipeline = client.pipeline(transaction=False)
        for _ in range(500):
            pipeline.ping()
        start = time.monotonic()
        assert all(pipeline.execute())
        assert singly >= 10 * 0.02
        assert 0.02 <= time.monotonic() - start < 5
        assert client.echo("x" * 1_000_000) == b"x" * 1_000_000
        client.close()


def test_reading_the_counters_is_not_counted(redis_url: str) -> None:
    client, meter = connect(redis_url), Meter(redis_url)
    client.ping()
    meter.begin()
    meter.wait_for_blocked(0)
    client.eval("redis.call('PING') return redis.call('PING')", 0)
    used = meter.used()
    assert used.calls == {"ping": 2, "eval": 1}
    assert used.requests == 1
    meter.begin()
    pipeline = client.pipeline().ping().ping()
    pipeline.execute()
    used = meter.used()
    assert used.calls == {"ping": 2, "multi": 1, "exec": 1}
    assert used.requests == 1
    assert 0 < used.bytes_in < 200
    meter.close()
    client.close()


def test_a_worker_that_fails_ends_the_crowd(capfd: pytest.CaptureFixture[str]) -> None:
    def make(worker: int) -> Call:
        return lambda: 1 // (1 - worker)

    def divide(crowd: Crowd) -> None:
        with crowd:
            crowd.start("divide")
            crowd.join()

    start = time.monotonic()
    crowd = Crowd({"divide": make}, 3, processes=2)
    with pytest.raises(RuntimeError, match="a worker failed"):
        divide(crowd)
    assert time.monotonic() - start < 10
    assert "ZeroDivisionError" in capfd.readouterr().err
    assert not any(process.is_alive() for process in crowd._processes)


def test_a_crowd_makes_the_calls_that_it_is_told_to() -> None:
    def make(worker: int) -> Call:
        return lambda: time.sleep(0.01)

    with Crowd({"first": lambda worker: list, "second": make}, 3, processes=2) as crowd:
        crowd.start("second", times=4)
        began, ended = crowd.join()
    assert ((ended - began) >= 0.04).all()
    assert not any(process.exitcode for process in crowd._processes)
