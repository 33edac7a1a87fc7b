"""Calls of the scripts, right and wrong, to draw from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack
import redis
from channel_workers import Workers, partial
from hypothesis import strategies as st

from biglambda.runtime.channel.codec import pack_partial, unpack_partial
from biglambda.runtime.errors import RunError

WORKERS, LENGTH = 3, 5
VECTORS = [partial(1, worker, LENGTH) for worker in range(WORKERS)]
GOOD = [pack_partial(vector) for vector in VECTORS]

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
no_count = no_integer | st.sampled_from([0, 2**20 + 1])
no_iteration: st.SearchStrategy[Any] = no_integer | st.just(0)

WORKER: Argument = (1, no_worker)
TOKEN: Argument = ("1-first", None)
ITERATION: Argument = (1, no_iteration)
TIME: Argument = (60_000, no_time)
FLAG: Argument = (0, no_integer | st.integers(2))
PARTIAL: Argument = (GOOD[1], None)
ANY: Argument = (b"any", None)

SCRIPTS: dict[str, list[Argument]] = {
    "init": [TIME, TIME, (WORKERS, no_count), TIME, ANY, ANY],
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
    "beat": {"OK", "DONE", "ABORT", "FENCED", "AHEAD", "GONE"},
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


def damaged() -> st.SearchStrategy[bytes]:
    """A good partial with another byte, cut short, and something after it."""
    end = len(GOOD[1])

    def damage(at: int, byte: int, cut: int, more: bytes) -> bytes:
        return (GOOD[1][:at] + bytes([byte]) + GOOD[1][at + 1 :])[:cut] + more

    return st.builds(
        damage,
        st.integers(0, end - 1),
        st.integers(0, 255),
        st.integers(0, end) | st.just(end),
        st.binary(max_size=9),
    )


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text()
    | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=8,
)
maps = st.builds(
    lambda key, content, others: {key: content, **others},
    st.just("t") | st.text(max_size=3),
    st.just(GOOD[1][5:]) | st.binary(max_size=48) | anything,
    st.just({}) | st.dictionaries(st.text(min_size=1, max_size=3), st.booleans(), max_size=2),
)
messages = st.builds(
    lambda value, binary: msgpack.packb(value, use_bin_type=binary), anything | maps, st.booleans()
)
nested = st.builds(
    lambda head, one: head + one * 100_000,
    st.sampled_from([b"", b"\x81\xa1t"]),
    st.sampled_from([b"\x91", b"\x81", b"\x81\xa1t", b"\xc0"]),
)
announced = st.builds(  # lengths of 2^16 and 2^32 that are not there
    lambda kind, more: b"\x81\xa1t" + kind + b"\xff" * 4 + more,
    st.sampled_from([b"\xda", b"\xdb", b"\xdc", b"\xdd", b"\xde", b"\xdf", b"\xc6", b"\xc9"]),
    st.binary(max_size=16),
)
payloads = st.binary(max_size=60) | garbage | damaged() | messages | nested | announced


def is_partial(data: bytes) -> bool:
    """Whether it is one, in the one way in which `pack_partial` writes it."""
    try:
        return data == pack_partial(unpack_partial(data))
    except ValueError:
        return False


no_partials = payloads.filter(lambda data: data and not is_partial(data))
