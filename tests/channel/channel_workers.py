"""Workers in processes of their own, and a sum that is as simple as can be."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import redis

from biglambda.runtime.channel import FencedError
from biglambda.runtime.channel.link import Link
from biglambda.runtime.channel.redis import RedisChannel
from biglambda.runtime.channel.run import run_keys
from biglambda.runtime.trace import Trace

fork = multiprocessing.get_context("fork")


def tree_sum(vectors: list[np.ndarray]) -> np.ndarray:
    """The sum by a binary tree over the positions."""
    while len(vectors) > 1:
        pairs = [vectors[i : i + 2] for i in range(0, len(vectors), 2)]
        vectors = [pair[0] + pair[1] if len(pair) == 2 else pair[0] for pair in pairs]
    return vectors[0]


def partial(iteration: int, worker: int, length: int = 70) -> np.ndarray:
    """A vector whose sum depends on the order of the additions."""
    scale = 10.0 ** np.random.default_rng(iteration).integers(-8, 8, length)
    return np.random.default_rng((iteration, worker)).standard_normal(length) * scale


def expected_state(workers: int, iterations: int, length: int = 70) -> np.ndarray:
    state = np.zeros(length)
    for iteration in range(1, iterations + 1):
        state = state + tree_sum([partial(iteration, worker, length) for worker in range(workers)])
    return state


def run_worker(
    url: str,
    run: str,
    worker: int,
    workers: int,
    iterations: int,
    *,
    lease: float = 10.0,
    block: float = 2.0,
    lost_replies: float = 0.0,
    climb: bool | None = None,
    attempt: int = 1,
    backup: bool = False,
    patience: float = 12.0,
    before_push: Callable[[int], None] | None = None,
    in_update: Callable[[int], None] | None = None,
) -> tuple[int, np.ndarray]:
    """A worker that adds the iterations' sums up."""
    channel = RedisChannel(
        url, run, worker, workers,
        trace=Trace(), lease=lease, block=block, climb=climb, attempt=attempt, backup=backup, patience=patience,
    )  # fmt: skip
    if lost_replies:
        lose_replies(channel, lost_replies)
    iteration, state, done = channel.join()
    while not done:
        if before_push:
            before_push(iteration)

        def update(
            total: np.ndarray, at: int = iteration, x: np.ndarray = state["x"]
        ) -> tuple[dict[str, Any], bool]:
            if in_update:
                in_update(at)
            return {"x": x + total}, at >= iterations

        iteration, state, done = channel.all_reduce(iteration, partial(iteration, worker), "sum", update)
    channel.close()
    return iteration, state["x"]


def lose_replies(channel: RedisChannel, probability: float) -> None:
    """Have the channel's link lose some replies to commands that the server has carried out."""
    call, chance = channel._link.call, random.Random(os.getpid())

    def flaky(command: Callable[[redis.Redis], Any], **options: Any) -> Any:
        def losing(client: redis.Redis) -> Any:
            reply = command(client)
            if chance.random() < probability:
                client.connection_pool.disconnect()
                raise redis.ConnectionError("the reply was lost")
            return reply

        return call(losing, **options)

    channel._link.call = flaky  # type: ignore[method-assign]


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Workers:
    """All workers of a run."""

    def __init__(self, client: redis.Redis, run: str, workers: int) -> None:
        self.link, self.keys, self.workers = Link(client), run_keys(run), workers

    def join(self, worker: int, attempt: str = "first") -> list:
        return self.link.script("join", self.keys, worker, self.workers, f"{worker}-{attempt}", b"", 1, "now")

    def push(
        self, worker: object, data: bytes, how: str = "sum", iteration: object = 1, attempt: str = "first"
    ) -> list:
        return self.link.script("push", self.keys, iteration, worker, f"{worker}-{attempt}", 5000, how, data)

    def finish(self, worker: int, done: int = 0, iteration: int = 1, attempt: str = "first") -> list:
        return self.link.script("finish", self.keys, iteration, worker, f"{worker}-{attempt}", done, b"next")


class Child:
    """A forked process that runs a function; `result` is what it returned, or raises what it raised."""

    def __init__(self, function: Callable[..., Any], *args: Any, **options: Any) -> None:
        self._receiver, sender = fork.Pipe(duplex=False)
        self.process = fork.Process(target=_report, args=(sender, function, args, options), daemon=True)
        self.process.start()
        sender.close()

    def result(self, seconds: float = 20.0) -> Any:
        if not self._receiver.poll(seconds):
            raise TimeoutError(f"no result within {seconds} s")
        error, value = self._receiver.recv()
        self.process.join(seconds)
        if error is not None:
            raise error
        return value

    def killed(self, seconds: float = 20.0) -> bool:
        self.process.join(seconds)
        return self.process.exitcode == -signal.SIGKILL

    def end(self) -> None:
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self._receiver.close()


def _report(
    sender: Connection, function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
) -> None:
    try:
        answer: tuple[BaseException | None, Any] = (None, function(*args, **options))
    except BaseException as error:
        answer = (error, None)
    sender.send(answer)


def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """The first true value of a condition, which must come within ``seconds``."""
    deadline = time.monotonic() + seconds
    idle = fork.Event()
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        idle.wait(0.01)
    return value


def assert_each_worker_ends(everyone: list[int], children: list[Child], workers: int, iterations: int) -> None:
    """One attempt of each worker ends with the expected state; others make room for a newer one."""
    ended = set()
    for worker, one in zip(everyone, children, strict=True):
        try:
            _, state = one.result()
        except FencedError:
            continue
        ended.add(worker)
        assert state.tobytes() == expected_state(workers, iterations).tobytes()
    assert ended == set(range(workers))
