"""When a worker is so late that a backup is worth its price."""

from __future__ import annotations

import dataclasses

import pytest

from biglambda.runtime.channel.control import Status
from biglambda.runtime.engine.stragglers import AT_LEAST, FACTOR, Pace, stragglers


@pytest.mark.parametrize(
    ("waiting_for", "elapsed", "half", "expected"),
    [
        ((3,), FACTOR * 10 + 0.1, 10.0, (3,)),
        ((3, 7), FACTOR * 10 - 0.1, 10.0, ()),
        ((3,), AT_LEAST - 0.1, 0.01, ()),
        ((3,), AT_LEAST + 0.1, 0.01, (3,)),
        ((0, 1, 2), 1e9, None, ()),
        ((), 1e9, 1.0, ()),
    ],
)
def test_only_the_last_of_many_are_backed_up(
    waiting_for: tuple[int, ...], elapsed: float, half: float | None, expected: tuple[int, ...]
) -> None:
    assert stragglers(waiting_for, elapsed, half) == expected


def test_each_iteration_has_its_own_pace() -> None:
    pace, status = Pace(), Status("running", 1, 4, 4, waiting_for=(0, 1, 2, 3))
    assert pace.behind(status, 100.0) == ()
    status = dataclasses.replace(status, waiting_for=(1, 2))
    assert pace.behind(status, 110.0) == ()  # half of them took 10 s
    assert pace.behind(status, 130.0) == ()
    assert pace.behind(status, 130.1) == (1, 2)
    status = dataclasses.replace(status, iteration=2, waiting_for=(1, 2, 3))
    assert pace.behind(status, 131.0) == ()
    assert pace.behind(status, 1000.0) == ()  # most are as slow
