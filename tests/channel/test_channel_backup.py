"""Backups: a second attempt beside a slow one. The first to push is the worker."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from channel_workers import expected_state, run_worker

from biglambda.runtime.channel import FencedError
from biglambda.runtime.channel.control import RunControl
from biglambda.runtime.channel.redis import RACES
from biglambda.runtime.channel.server import EmbeddedServer

ITERATIONS = 6
Start = Callable[..., "Future[tuple[int, np.ndarray]]"]


@pytest.fixture(params=[False, True], ids=["push", "put"])
def start(
    server: EmbeddedServer, control: Callable[..., RunControl], run: str, request: pytest.FixtureRequest
) -> Iterator[Start]:
    """Starts a worker of two in a thread."""
    control(2, lease=60.0).create({"x": np.zeros(70)})
    with ThreadPoolExecutor(4) as pool:
        yield lambda worker, **options: pool.submit(
            run_worker, server.url, run, worker, 2, ITERATIONS, block=0.2, climb=request.param, **options
        )


def assert_right(result: Future[tuple[int, np.ndarray]]) -> None:
    assert result.result(20)[1].tobytes() == expected_state(2, ITERATIONS).tobytes()


def test_a_backup_that_pushes_first_is_the_worker(start: Start) -> None:
    begun, free = threading.Event(), threading.Event()

    def wait(_: int) -> None:
        begun.set()
        assert free.wait(20)

    slow, other = start(0, before_push=wait), start(1)
    assert begun.wait(20)
    backup = start(0, attempt=2, backup=True)
    assert_right(backup)
    assert_right(other)
    free.set()
    with pytest.raises(FencedError, match="number 1, is not needed"):
        slow.result(20)


def test_a_backup_that_is_late_goes_on_and_may_win_the_next_iteration(start: Start) -> None:
    second, backup_won = threading.Event(), threading.Event()

    def slow_in_the_second(iteration: int) -> None:
        if iteration == 2:
            second.set()
            assert backup_won.wait(20)

    late: list[int] = []

    def late_in_the_first(iteration: int) -> None:
        late.append(iteration)
        assert second.wait(20)

    backup = start(0, attempt=2, backup=True, before_push=late_in_the_first)
    slow, other = start(0, before_push=slow_in_the_second), start(1)
    assert_right(backup)
    assert_right(other)
    assert late == list(range(1, ITERATIONS + 1))
    backup_won.set()
    with pytest.raises(FencedError):
        slow.result(20)


def test_a_backup_that_is_always_late_gives_up(start: Start) -> None:
    reached: dict[int, threading.Event] = defaultdict(threading.Event)
    tried: list[int] = []

    def fast(iteration: int) -> None:
        reached[iteration].set()

    def late(iteration: int) -> None:
        tried.append(iteration)
        assert reached[iteration + 1].wait(20)

    backup = start(0, attempt=2, backup=True, before_push=late)
    worker = start(0, before_push=fast)
    start(1)
    with pytest.raises(FencedError, match="number 2, is not needed"):
        backup.result(20)
    assert 1 <= len(tried) <= RACES
    assert_right(worker)


def test_a_backup_of_a_run_that_is_over_has_no_result(start: Start) -> None:
    workers: list[Any] = [start(0), start(1)]
    for worker in workers:
        assert_right(worker)
    with pytest.raises(FencedError):
        start(0, attempt=2, backup=True).result(20)
