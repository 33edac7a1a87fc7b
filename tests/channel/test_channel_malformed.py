"""What is malformed is refused by every script before anything is written."""

from __future__ import annotations

from collections.abc import Callable

import msgpack
import numpy as np
import pytest
import redis
from channel_calls import GOOD, LENGTH, PHASES, SCRIPTS, WORDS, WORKERS, answer, everything, no_partials
from channel_workers import Workers
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from biglambda.runtime.channel.codec import pack_partial
from biglambda.runtime.errors import RunError

MakeWorkers = Callable[[int], Workers]
fuzz = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


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

    @settings(fuzz, max_examples=20)
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


SUM = ("push", 1, 1, "1-first", 60_000, "sum")
GATHER = ("push", 1, 1, "1-first", 60_000, "gather")
LEAF = ("put", 1, 1, "1-first", 60_000, 0, 1)
ADDED = ("put", 1, 1, "1-first", 60_000, 1, 0)


def put(worker: int) -> tuple:
    return ("put", 1, worker, f"{worker}-first", 60_000, 0, worker, GOOD[worker])


@pytest.mark.parametrize(
    ("others", "call"),
    [
        ([], SUM),
        ([], GATHER),
        ([], LEAF),
        ([("push", 1, 0, "0-first", 60_000, "sum", GOOD[0])], SUM),
        ([("push", 1, 0, "0-first", 60_000, "gather", GOOD[0])], GATHER),
        ([put(0)], LEAF),
        ([put(0), put(1)], ADDED),
    ],
)
def test_what_is_no_partial_is_refused_before_anything_is_written(
    workers: MakeWorkers, client: redis.Redis, others: list[tuple], call: tuple
) -> None:
    team = workers(WORKERS)
    for other in others:
        assert answer(team, *other) in ("WAIT", "CLIMB")
    before = everything(client)

    @settings(fuzz, max_examples=100)
    @given(no_partials)
    @example(GOOD[1] + b"\xc0")  # nil, which is as good as nothing to a script that looks at what follows
    @example(GOOD[1] + b"\xc0\xc0")
    @example(msgpack.packb({"t": bytes(8 * LENGTH), "u": 1}, use_bin_type=False))
    @example(msgpack.packb({"t": bytes(8 * LENGTH)}, use_bin_type=True))
    @example(msgpack.packb({"t": bytes(8 * LENGTH + 1)}, use_bin_type=False))
    def check(data: bytes) -> None:
        assert "BADCALL a partial" in answer(team, *call, data)
        assert everything(client) == before

    check()
    if others and call != GATHER:
        assert "BADCALL a partial has 48 bytes" in answer(team, *call, pack_partial(np.zeros(LENGTH + 1)))
        assert everything(client) == before


@pytest.mark.parametrize("key", range(6))
@pytest.mark.parametrize("name", SCRIPTS)
def test_somebody_elses_value_at_a_key_is_an_error_before_anything_is_written(
    workers: MakeWorkers, client: redis.Redis, name: str, key: int
) -> None:
    team = workers(WORKERS)
    PHASES[{"push": "half pushed", "put": "half put"}.get(name, "summed")](team)
    client.set(team.keys[key], "somebody's", px=60_000)
    before = everything(client)
    word = answer(team, name, *(value for value, _ in SCRIPTS[name]))
    if key == 0 or word not in WORDS[name]:
        assert "holds something else at a key of this run: " in word
        assert "WRONGTYPE" in word
        assert everything(client) == before
    else:
        everything(client)
