"""Workers that add partials themselves: the same bits as when the server adds them, whoever dies."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import numpy as np
import pytest
import redis
from channel_workers import Child, assert_each_worker_ends, run_worker, tree_sum

from biglambda.runtime.channel import codec
from biglambda.runtime.channel.control import RunControl
from biglambda.runtime.channel.link import load_script
from biglambda.runtime.channel.redis import RedisChannel
from biglambda.runtime.channel.run import run_keys
from biglambda.runtime.channel.server import EmbeddedServer
from biglambda.runtime.trace import Trace

Control = Callable[..., RunControl]
Start = Callable[..., Child]
names = itertools.count()


class Climbers:
    """All workers of a run, in one thread: they put, and add when they are told to."""

    def __init__(self, client: redis.Redis, control: Control, url: str, count: int, seed: int) -> None:
        self.client, self.count, self.chance = client, count, random.Random(seed)
        self.name = f"climb-{next(names)}"
        control(count, self.name).create({"x": 1})
        self.channels = [RedisChannel(url, self.name, w, count, trace=Trace(), beat=60.0) for w in range(count)]
        for channel in self.channels:
            channel.join()
        generator = np.random.default_rng(seed)
        self.partials = generator.standard_normal((count, 9)) * 10.0 ** generator.integers(-9, 9, 9)

    def put(self, worker: int, level: int, index: int, vector: np.ndarray | None) -> list:
        channel, data = self.channels[worker], b"" if vector is None else codec.pack_partial(vector)
        source, _ = load_script("put")
        keys = run_keys(self.name)
        arguments = (1, worker, channel._token, 60_000, level, index, data)
        word, *rest = self.client.eval(source, len(keys), *keys, *arguments)
        return [word.decode(), *rest]

    def sum(self, deadly: float) -> np.ndarray:
        """The sum, by workers that put in any order; one that dies forgets what it was told to add."""

        def dies() -> bool:
            return self.chance.random() < deadly

        for worker in self.chance.sample(range(self.count), self.count):
            level, index, own = 0, worker, self.partials[worker]
            while True:
                word, _, left, *rest = self.put(worker, level, index, own)
                if word == "LAST":
                    return codec.vector_of(left) if left else own
                if word == "WAIT" or dies():
                    break
                level, index, right = rest
                own = (codec.vector_of(left) if left else own) + codec.vector_of(right)
        for _ in range(10 * self.count):  # all are in: probes take over what is left to add
            self.client.delete(run_keys(self.name)[3])  # as if the lease had expired
            worker = self.chance.randrange(self.count)
            word, _, left, *rest = self.put(worker, 0, worker, None)
            if word == "CLIMB" and not dies():
                level, index, right = rest
                own = codec.vector_of(left) + codec.vector_of(right)
                word, _, left, *rest = self.put(worker, level, index, own)
                left = left or own.tobytes()
            if word == "LAST" and not dies():
                return codec.vector_of(left)
        raise AssertionError("no sum")

    def close(self) -> None:
        for channel in self.channels:
            channel.close()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 13, 16, 31, 33, 64, 100])
@pytest.mark.parametrize("deadly", [0.0, 0.4])
def test_the_sum_has_the_bits_of_a_tree_of_numpy(
    server: EmbeddedServer, client: redis.Redis, control: Control, count: int, deadly: float
) -> None:
    for seed in range(3):
        workers = Climbers(client, control, server.url, count, seed)
        found = workers.sum(deadly)
        assert found.tobytes() == tree_sum(list(workers.partials)).tobytes()
        workers.close()


@pytest.mark.parametrize("workers", [1, 2, 5, 8])
def test_runs_end_with_the_same_bits_though_replies_are_lost_and_attempts_doubled(
    server: EmbeddedServer, control: Control, run: str, child: Start, workers: int
) -> None:
    control(workers).create({"x": np.zeros(70)})
    options = {"lost_replies": 0.1, "block": 0.2, "lease": 0.4, "climb": True}
    everyone = [*range(workers), 0]
    children = [child(run_worker, server.url, run, worker, workers, 8, **options) for worker in everyone]
    assert_each_worker_ends(everyone, children, workers, 8)


def test_large_partials_climb_and_small_ones_do_not(server: EmbeddedServer) -> None:
    channel = RedisChannel(server.url, "any", 0, 10, trace=Trace())
    assert not channel._is_to_climb(np.zeros(25_000))
    assert channel._is_to_climb(np.zeros(25_001))
    channel.close()


def test_a_put_may_be_repeated_and_one_after_the_parent_changes_nothing(
    server: EmbeddedServer, client: redis.Redis, control: Control
) -> None:
    workers = Climbers(client, control, server.url, 3, 0)
    a, b, c = workers.partials
    assert workers.put(0, 0, 0, a)[0] == "WAIT"
    assert workers.put(0, 0, 0, b)[0] == "WAIT"  # another partial of the same worker does not count
    word, _, _, level, index, other = workers.put(1, 0, 1, b)
    assert (word, level, index, other) == ("CLIMB", 1, 0, a.tobytes())
    assert workers.put(1, 1, 0, a + b)[0] == "WAIT"
    assert workers.put(1, 1, 0, c)[0] == "WAIT"  # its children are gone: somebody has put it
    word, _, _, level, index, other = workers.put(2, 0, 2, c)
    assert (word, level, index, other) == ("CLIMB", 2, 0, (a + b).tobytes())
    assert workers.put(2, 2, 0, c + (a + b))[0] == "LAST"
    word, _, total, *_ = workers.put(2, 2, 0, c)
    assert (word, total) == ("LAST", (c + (a + b)).tobytes())
    assert workers.put(0, 0, 0, None)[0] == "WAIT"
    workers.close()
