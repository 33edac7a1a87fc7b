"""The scripts by themselves: one process plays all workers, in any order."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import redis
from channel_workers import Workers, partial, tree_sum

from biglambda.runtime.channel.codec import pack_partial, vector_of
from biglambda.runtime.errors import RunError


@pytest.mark.parametrize("count", range(1, 101))
def test_the_sum_is_that_of_a_fixed_tree_in_any_order_of_arrival(
    workers: Callable[[int], Workers], count: int
) -> None:
    expected = tree_sum([partial(1, worker) for worker in range(count)])
    for seed in range(3):
        team, order = workers(count), list(range(count))
        random.Random(seed).shuffle(order)
        for worker in order[:-1]:
            assert team.push(worker, pack_partial(partial(1, worker)))[0] == "WAIT"
        word, _, total = team.push(order[-1], pack_partial(partial(1, order[-1])))
        assert word == "LAST"
        assert total == expected.tobytes()


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 64, 1000])
def test_vectors_of_every_length_are_added(workers: Callable[[int], Workers], length: int) -> None:
    team = workers(3)
    vectors = [partial(1, worker, length) for worker in range(3)]
    for worker in (2, 0):
        team.push(worker, pack_partial(vectors[worker]))
    np.testing.assert_array_equal(vector_of(team.push(1, pack_partial(vectors[1]))[2]), tree_sum(vectors))


@pytest.mark.parametrize("count", range(1, 18))
def test_gathered_partials_are_in_the_order_of_the_workers(workers: Callable[[int], Workers], count: int) -> None:
    vectors = [np.full(worker % 4, float(worker)) for worker in range(count)]
    for seed in range(3):
        team, order = workers(count), list(range(count))
        random.Random(seed).shuffle(order)
        replies = [team.push(worker, pack_partial(vectors[worker]), "gather") for worker in order]
        assert [reply[0] for reply in replies] == ["WAIT"] * (count - 1) + ["LAST"]
        assert replies[-1][2] == np.concatenate(vectors).tobytes()


def test_gathering_only_empty_partials_gives_an_empty_one(workers: Callable[[int], Workers]) -> None:
    team = workers(3)
    replies = [team.push(worker, pack_partial(np.zeros(0)), "gather") for worker in (1, 2, 0)]
    assert [reply[0] for reply in replies] == ["WAIT", "WAIT", "LAST"]
    assert replies[-1][2] == b""
    assert team.push(0, b"", "gather")[0] == "LAST"


def test_a_duplicate_is_counted_once_and_does_not_replace_the_first(workers: Callable[[int], Workers]) -> None:
    team = workers(2)
    assert team.push(0, pack_partial(np.ones(3)))[0] == "WAIT"
    assert team.push(0, pack_partial(np.full(3, 7.0)))[0] == "WAIT"
    assert team.push(0, b"")[0] == "WAIT"
    assert team.push(1, b"")[0] == "MISSING"
    for _ in range(2):  # its reply may have been lost
        word, _, total = team.push(1, pack_partial(np.ones(3)))
        assert (word, list(vector_of(total))) == ("LAST", [2, 2, 2])
    assert team.push(0, pack_partial(np.ones(3)))[0] == "WAIT"


def test_the_first_to_publish_wins(workers: Callable[[int], Workers]) -> None:
    team = workers(2)
    assert team.finish(0)[0] == "AHEAD"
    for worker in (0, 1):
        team.push(worker, pack_partial(np.ones(3)))
    assert team.finish(1)[:2] == ["OK", 2]
    assert team.finish(0)[:2] == ["STALE", 2]
    assert team.push(0, pack_partial(np.ones(3)))[0] == "STALE"
    assert team.push(0, pack_partial(np.ones(3)), iteration=3)[0] == "AHEAD"


def test_a_replaced_attempt_can_neither_push_nor_publish_nor_abort_nor_return(
    workers: Callable[[int], Workers],
) -> None:
    team = workers(2)
    assert team.join(0, "second")[0] == "OK"
    assert team.join(0, "second")[0] == "OK"
    assert team.join(0, "first")[0] == "FENCED"
    assert team.push(0, pack_partial(np.ones(3)))[0] == "FENCED"
    assert team.finish(0)[0] == "FENCED"
    assert team.link.script("abort", team.keys, b"why", 0, "0-first")[0] == "FENCED"
    assert team.push(0, pack_partial(np.ones(3)), attempt="second")[0] == "WAIT"
    assert team.push(1, pack_partial(np.ones(3)), attempt="never joined")[0] == "FENCED"


def test_the_replacement_of_a_worker_with_the_sum_need_not_wait_for_its_lease(
    workers: Callable[[int], Workers],
) -> None:
    team = workers(2)
    team.push(0, pack_partial(np.ones(3)))
    assert team.push(1, pack_partial(np.ones(3)))[0] == "LAST"
    team.join(1, "second")
    assert team.push(1, pack_partial(np.ones(3)), attempt="second")[0] == "LAST"


BAD_PUSHES = {
    "another length": (1, pack_partial(np.ones(4)), "sum", 1),
    "not whole float64s": (1, b"\x81\xa1t\xa3abc", "sum", 1),
    "no msgpack": (1, b"\xc1", "sum", 1),
    "cut short": (1, pack_partial(np.ones(3))[:-1], "sum", 1),
    "trailing bytes": (1, pack_partial(np.ones(3)) + b"\x00", "sum", 1),
    "no dict": (1, b"\xa3abc", "sum", 1),
    "a number": (1, b"\x01", "sum", 1),
    "other key": (1, b"\x81\xa1u\xa8abcdefgh", "sum", 1),
    "no bytes": (1, b"\x81\xa1t\x01", "sum", 1),
    "other way to combine": (1, pack_partial(np.ones(3)), "gather", 1),
    "unknown way to combine": (1, pack_partial(np.ones(3)), "max", 1),
    "worker too high": (2, pack_partial(np.ones(3)), "sum", 1),
    "worker below 0": (-1, pack_partial(np.ones(3)), "sum", 1),
    "fraction of a worker": (0.5, pack_partial(np.ones(3)), "sum", 1),
    "no worker": ("x", pack_partial(np.ones(3)), "sum", 1),
    "no iteration": (1, pack_partial(np.ones(3)), "sum", "nan"),
}


@pytest.mark.parametrize("case", BAD_PUSHES)
def test_a_bad_push_is_refused_before_anything_is_written(
    workers: Callable[[int], Workers], client: redis.Redis, case: str
) -> None:
    team = workers(2)
    team.push(0, pack_partial(np.ones(3)))
    before = {key: client.dump(key) for key in team.keys}
    worker, data, how, iteration = BAD_PUSHES[case]
    with pytest.raises(RunError, match="BADCALL"):
        team.push(worker, data, how, iteration)
    assert {key: client.dump(key) for key in team.keys} == before
    assert team.push(1, pack_partial(np.ones(3)))[0] == "LAST"


@pytest.mark.parametrize(("worker", "count"), [(2, 2), (-1, 2), ("x", 2), (0, 3)])
def test_a_worker_that_the_run_does_not_have_cannot_join(
    workers: Callable[[int], Workers], client: redis.Redis, worker: int, count: int
) -> None:
    team = workers(2)
    before = {key: client.dump(key) for key in team.keys}
    with pytest.raises(RunError, match="BADCALL"):
        team.link.script("join", team.keys, worker, count, "other", b"", 1, "now")
    assert {key: client.dump(key) for key in team.keys} == before


def test_no_key_is_ever_without_an_expiry(workers: Callable[[int], Workers], client: redis.Redis) -> None:
    def all_expire() -> bool:
        return all(client.pttl(key) > 0 for key in client.keys("*"))

    team = workers(2)
    steps: list[Callable[[], list]] = [
        lambda: team.push(0, pack_partial(np.ones(3))),
        lambda: team.push(1, pack_partial(np.ones(3))),
        lambda: team.finish(1),
        lambda: team.push(1, pack_partial(np.ones(3)), iteration=2),
        lambda: team.link.script("status", team.keys, 1000, 1, 0),
        lambda: team.push(0, pack_partial(np.ones(3)), iteration=2),
        lambda: team.finish(0, done=1, iteration=2),
    ]
    assert all_expire()
    for step in steps:
        step()
        assert all_expire()
    team = workers(1)
    team.link.script("abort", team.keys, b"why", "", "")
    assert all_expire()
    assert {key.partition(b"{")[0] for key in client.keys("*")} == {b"biglambda:"}


def test_a_full_server_is_an_error_before_anything_is_written_and_the_run_can_be_aborted(
    workers: Callable[[int], Workers], client: redis.Redis
) -> None:
    team = workers(2)
    team.push(0, pack_partial(np.ones(100_000)))
    before = {key: client.dump(key) for key in team.keys}
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(RunError, match=r"is full.*Raise its maxmemory"):
            team.join(1, "second")
        assert {key: client.dump(key) for key in team.keys} == before
        assert team.link.script("abort", team.keys, b"full", "", "")[0] == "OK"
        assert team.push(1, pack_partial(np.ones(3)))[::2] == ["ABORT", b"full"]
    finally:
        client.config_set("maxmemory", "0")
