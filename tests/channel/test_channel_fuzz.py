"""Whatever calls come, right and wrong: a run ends with the right bits, or one of them has ended it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import redis
from channel_calls import (
    GOOD,
    PHASES,
    VECTORS,
    WORDS,
    WORKERS,
    answer,
    everything,
    no_count,
    no_integer,
    no_partials,
    no_time,
    no_worker,
)
from channel_workers import Workers, tree_sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from biglambda.runtime.channel.codec import pack_partial, vector_of

STRANGERS = ("of another run", "")
NEXT = b"next"
NODES = {(0, worker): vector for worker, vector in enumerate(VECTORS)}
NODES |= {(1, 0): VECTORS[0] + VECTORS[1], (1, 1): VECTORS[2], (2, 0): tree_sum(VECTORS)}


def mostly(good: st.SearchStrategy[Any], bad: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A call has many arguments, and one that is bad is enough."""
    return st.integers(0, 15).flatmap(lambda chance: bad if chance == 15 else good)


ids = mostly(st.integers(0, WORKERS - 1), no_worker)
names = mostly(st.sampled_from(["{}-first", "{}-first", "{}-second"]), st.sampled_from([*STRANGERS, "0-first"]))
who = st.builds(lambda worker, name: (worker, name.format(worker)), ids, names)
times = mostly(st.just(60_000), no_time)
iterations = mostly(st.integers(1, 2), st.integers(0, 3) | no_integer)
flags = mostly(st.integers(0, 1), no_integer)
counts = mostly(st.just(WORKERS), no_count)
bodies = mostly(st.none(), st.just(b"") | no_partials)
hows = mostly(st.sampled_from(["sum", "sum", "gather"]), st.just("max"))


def body(level: Any, index: Any, token: str, other: bytes | None) -> bytes:
    """The right partial, or none: what an attempt computes is believed. A stranger's would spoil the sum."""
    if other is not None:
        return other
    right = NODES.get((level, index))
    return pack_partial(np.full_like(VECTORS[0], np.nan) if right is None or token in STRANGERS else right)


def join(who: tuple[Any, str], count: Any, target: bytes, attempt: Any, when: Any) -> tuple[Any, ...]:
    worker, token = who
    return "join", worker, count, "" if token in STRANGERS else f"{worker}-second", target, attempt, when


def push(iteration: Any, who: tuple[Any, str], lease: Any, how: str, other: bytes | None) -> tuple[Any, ...]:
    return "push", iteration, *who, lease, how, body(0, *who, other)


def put(
    iteration: Any, who: tuple[Any, str], lease: Any, node: tuple[int, int], other: bytes | None
) -> tuple[Any, ...]:
    return "put", iteration, *who, lease, *node, body(*node, who[1], other)


def put_own(iteration: Any, who: tuple[Any, str], lease: Any, other: bytes | None) -> tuple[Any, ...]:
    return put(iteration, who, lease, (0, who[0]), other)


calls = mostly(
    st.one_of(
        st.tuples(st.just("init"), times, times, counts, times, st.just("owner"), st.just(b"first")),
        st.builds(
            join,
            who,
            counts,
            st.sampled_from([b"", b"x86-64-v3/fma"]),
            mostly(st.integers(1, 2), no_integer),
            mostly(st.sampled_from(["now", "look"]), iterations),
        ),
        st.builds(push, iterations, who, times, hows, bodies),
        st.builds(put, iterations, who, times, st.sampled_from([*NODES, (0, 3), (3, 0)]), bodies),
        st.builds(put_own, iterations, who, times, bodies),
        st.builds(lambda *args: ("finish", args[0], *args[1], args[2], NEXT), iterations, who, flags),
        st.builds(lambda one: ("beat", *one), who),
        st.tuples(st.just("status"), times, flags, flags),
    ),
    st.builds(lambda one, by_client: ("abort", b"why", "" if by_client else one[0], one[1]), who, st.booleans()),
)


class Rescue:
    """New attempts that do all right, whatever is there already."""

    def __init__(self, team: Workers) -> None:
        self.team = team

    def __call__(self) -> str:
        """How the run ends: OK if these attempts end it."""
        version = 0
        for worker in range(WORKERS):
            word, version, state, _ = self.script("join", worker, WORKERS, f"{worker}-last", b"", 2**31, "now")
            if word != "OK":
                assert word != "DONE" or state == NEXT
                return word
        how = self.team.link.call(lambda client: client.hget(self.team.keys[1], "how"))
        total = self.climb(version) if how == b"climb" else self.push(version, (how or b"sum").decode())
        assert total == (np.concatenate(VECTORS) if how == b"gather" else tree_sum(VECTORS)).tobytes()
        assert self.script("finish", version, 0, "0-last", 1, NEXT)[0] == "OK"
        return "OK"

    def script(self, name: str, *arguments: Any) -> list[Any]:
        return self.team.link.script(name, self.team.keys, *arguments)

    def push(self, version: int, how: str) -> bytes:
        for worker in range(WORKERS):
            reply = self.script("push", version, worker, f"{worker}-last", 60_000, how, GOOD[worker])
        if reply[0] == "WAIT":
            self.expire()
            reply = self.script("push", version, 0, "0-last", 60_000, how, b"")
        assert reply[0] == "LAST"
        return bytes(reply[2])

    def climb(self, version: int) -> bytes:
        for worker in [*range(WORKERS), *range(WORKERS)]:
            level, index, own = 0, worker, VECTORS[worker]
            while True:
                self.expire()
                word, _, left, *rest = self.script(
                    "put", version, worker, f"{worker}-last", 60_000, level, index, pack_partial(own)
                )
                own = vector_of(left) if left else own
                if word == "LAST":
                    return own.tobytes()
                if word != "CLIMB":
                    break
                level, index, right = rest
                own = own + vector_of(right)
        raise AssertionError("no sum")

    def expire(self) -> None:
        """As if nobody who has the lease came again."""
        self.team.link.call(lambda client: client.delete(self.team.keys[3]))


@pytest.mark.parametrize("phase", PHASES)
def test_after_any_calls_a_run_ends_right(
    workers: Callable[[int], Workers], client: redis.Redis, phase: str
) -> None:
    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(calls, min_size=1, max_size=12))
    def check(some: list[tuple[Any, ...]]) -> None:
        client.flushall()
        team = workers(WORKERS)
        PHASES[phase](team)
        said = set()
        for script, *arguments in some:
            before = everything(client)
            word = answer(team, script, *arguments)
            said.add((script, word))
            if word not in WORDS[script]:
                assert "refused a malformed call: BADCALL" in word
                assert everything(client) == before
        end = Rescue(team)()
        everything(client)
        assert (
            end == "OK"
            or (end == "DONE" and (phase == "done" or ("finish", "OK") in said))
            or (end == "ABORT" and (phase in ("aborted", "client gone") or ("abort", "OK") in said))
            or (end == "GONE" and phase == "gone")
        )

    check()
