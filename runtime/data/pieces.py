"""Many reads at a time, with a bound on what is held of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

PIECE_BYTES = 1 << 23
"""Bytes that one thread gets at a time from far away: enough to make the latency small, few enough to hold."""

MOST_AT_ONCE = 16
"""Requests at a time that only wait."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], most: int
) -> Iterator[Result]:
    """As ``pool.map``, but never more than ``most`` results ahead of whoever takes them."""
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def at_once(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """``function`` of all items, for what waits for a server rather than works."""
    with ThreadPoolExecutor(min(MOST_AT_ONCE, len(items))) as pool:
        return list(pool.map(function, items))
