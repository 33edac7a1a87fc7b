"""What is malformed, or another's, is refused by every script before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from channel_workers import Workers, partial
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from biglambda.runtime.channel.codec import pack_partial
from biglambda.runtime.errors import RunError

MakeWorkers = Callable[[int], Workers]

WORKERS, LENGTH = 3, 5
GOOD = [pack_partial(partial(1, worker, LENGTH)) for worker in range(WORKERS)]

fuzz = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

# What an argument of worker 1, or of the client, may be, and what it may not.
Argument = tuple[Any, st.SearchStrategy[Any] | None]

texts = st.text(max_size=8).filter(lambda text: not text.isascii() or not text.isdigit()).map(str.encode)
numbers = st.sampled_from(
    ["0x1", "1e0", "1.0", " 1", "1 ", "1\0", "1\n", "01", "+1", "-1", "-0", "0.5", "inf", "nan", "9" * 30, ""]
)
garbage = st.sampled_from([bytes(range(256)), b"1"]).map(lambda some: some * (100_000 // len(some)))
no_integer = texts | numbers | garbage
no_worker = no_integer | st.integers(WORKERS)
no_time = no_integer | st.just(0) | st.integers(10**12 + 1)
no_iteration: st.SearchStrategy[Any] = no_integer | st.just(0)

WORKER: Argument = (1, no_worker)
TOKEN: Argument = ("1-first", None)
ITERATION: Argument = (1, no_iteration)
TIME: Argument = (60_000, no_time)
FLAG: Argument = (0, no_integer | st.integers(2))
PARTIAL: Argument = (GOOD[1], None)
ANY: Argument = (b"any", None)

SCRIPTS: dict[str, list[Argument]] = {
    "init": [TIME, TIME, (WORKERS, no_integer | st.sampled_from([0, 2**20 + 1])), TIME, ANY, ANY],
    "join": [
        WORKER,
        (WORKERS, no_integer | st.integers().filter(lambda count: count != WORKERS)),
        ("1-first", st.just("")),
        (b"", None),
        (1, no_integer | st.sampled_from([0, 2**31 + 1])),
        ("now", no_iteration),
    ],
    "push": [ITERATION, WORKER, TOKEN, TIME, ("sum", texts | garbage), PARTIAL],
    "put": [
        ITERATION,
        WORKER,
        TOKEN,
        TIME,
        (0, no_integer | st.integers(1)),
        (1, no_worker | st.just(0)),
        PARTIAL,
    ],
    "finish": [ITERATION, WORKER, TOKEN, FLAG, ANY],
    "beat": [WORKER, TOKEN],
    "status": [TIME, FLAG, FLAG],
    "abort": [ANY, (1, no_worker.filter(bool)), TOKEN],
}
WORDS = {
    "init": {"OK", "EXISTS"},
    "join": {"OK", "LATE", "DONE", "ABORT", "FENCED", "GONE"},
    "push": {"LAST", "WAIT", "MISSING", "STALE", "DONE", "AHEAD", "ABORT", "FENCED", "GONE"},
    "put": {"CLIMB", "LAST", "WAIT", "MISSING", "STALE", "DONE", "AHEAD", "ABORT", "FENCED", "GONE"},
    "finish": {"OK", "STALE", "AHEAD", "DONE", "ABORT", "FENCED", "GONE"},
    "beat": {"OK", "DONE", "ABORT", "FENCED", "GONE"},
    "status": {"RUN", "DONE", "ABORT", "GONE"},
    "abort": {"OK", "DONE", "ABORT", "FENCED", "GONE"},
}


def push_all(team: Workers) -> None:
    for worker in range(WORKERS):
        team.push(worker, GOOD[worker])


# How far a run may be; all workers of it have joined.
PHASES: dict[str, Callable[[Workers], Any]] = {
    "joined": lambda team: None,
    "half pushed": lambda team: team.push(0, GOOD[0]),
    "half put": lambda team: team.link.script("put", team.keys, 1, 0, "0-first", 60_000, 0, 0, GOOD[0]),
    "summed": push_all,
    "iterated": lambda team: (push_all(team), team.finish(2)),
    "done": lambda team: (push_all(team), team.finish(2, done=1)),
    "aborted": lambda team: team.link.script("abort", team.keys, b"why", "", ""),
    "client gone": lambda team: team.link.call(lambda client: client.delete(team.keys[4])),
    "gone": lambda team: team.link.call(lambda client: client.delete(*team.keys)),
}


def everything(client: redis.Redis) -> dict[bytes, bytes]:
    """All keys with their values; each has a time to live."""
    keys = sorted(client.keys("*"))
    with client.pipeline() as pipeline:
        for key in keys:
            pipeline.dump(key)
            pipeline.pttl(key)
        found = pipeline.execute()
    assert all(left > 0 for left in found[1::2])
    return dict(zip(keys, found[::2], strict=True))


def answer(team: Workers, script: str, *arguments: Any) -> str:
    """The word of a reply, or the error that came instead."""
    try:
        return str(team.link.script(script, team.keys, *arguments)[0])
    except RunError as error:
        return str(error)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_malformed_call_writes_nothing(
    workers: MakeWorkers, client: redis.Redis, script: str, phase: str
) -> None:
    team = workers(WORKERS)
    PHASES[phase](team)
    arguments = SCRIPTS[script]
    good = [value for value, _ in arguments]
    wrong = [at for at, (_, bad) in enumerate(arguments) if bad is not None]

    @settings(fuzz, max_examples=10)
    @given(st.data())
    def call(data: st.DataObject) -> None:
        sent = list(good)
        for at in data.draw(st.lists(st.sampled_from(wrong), min_size=1, unique=True), "wrong"):
            sent[at] = data.draw(arguments[at][1], f"argument {at + 1}")  # type: ignore[arg-type]
        before = everything(client)
        word = answer(team, script, *sent)
        assert "refused a malformed call: BADCALL" in word or word in WORDS[script] - {"OK"}
        if word != "ABORT":  # which ends a run whose client is gone, whatever else was wrong
            assert everything(client) == before

    call()
    before = everything(client)
    for sent in (*(good[:count] for count in range(len(good))), [*good, b"more"]):
        assert "BADCALL this script takes" in answer(team, script, *sent)
    for keys in (team.keys[:5], (), (*team.keys, team.keys[0])):
        with pytest.raises(RunError, match="BADCALL a script takes 6 keys"):
            team.link.script(script, keys, *good)
    assert everything(client) == before
