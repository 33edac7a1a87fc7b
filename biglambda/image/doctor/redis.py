"""The Redis that a run meets in."""

from __future__ import annotations

import ipaddress
import secrets
import socket
import ssl
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import Any, cast

import numpy as np
from redis.exceptions import NoPermissionError

from ...runtime.channel.address import Address, parse
from ...runtime.channel.control import RunControl
from ...runtime.channel.link import Link, check_server, server_info
from ...runtime.channel.redis import RedisChannel
from ...runtime.channel.run import run_keys
from ...runtime.errors import RunError
from ...runtime.resources import MB
from ...runtime.trace import Trace
from .finding import Finding, Step

ROUND_TRIPS = 200
MEASURE_SECONDS = 2.5
"""For the round trips; over a slow network there are fewer."""

SLOW_SECONDS = 0.005
"""Of a round trip: functions in the network of their Redis have a tenth of it."""

LEAST_FREE = 64 * MB
CLOCK_SECONDS = 60.0
EXPIRES_DAYS = 14

_ITERATION = 2  # round trips of a worker: a push, and a read


def steps(url: str, workers: int = 1, elsewhere: bool = False) -> list[Step]:
    """What to look at.

    Parameters
    ----------
    url : str
        See `biglambda.runtime.channel.address.parse`.
    workers : int
        How many are to connect.
    elsewhere : bool
        Whether they run on other machines.
    """
    return [
        Step("Redis address", partial(_address, url, elsewhere), is_needed=True),
        *from_here(url),
        Step("Redis server", partial(_server, url, workers)),
        Step("Redis commands", partial(_commands, url)),
    ]


def from_here(url: str) -> list[Step]:
    """What depends on where one looks from."""
    return [
        Step("Redis", partial(_reach, url), is_needed=True),
        Step("Redis TLS", partial(_certificate, url)),
        Step("Redis latency", partial(_latency, url)),
        Step("Redis clock", partial(_clock, url)),
    ]


def is_here(address: Address) -> bool:
    """Whether it names this machine, as others cannot do."""
    if address.scheme == "unix" or address.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        return False


def is_private(address: Address) -> bool:
    """Whether it is an address of a private network, as far as this machine knows the name."""
    try:
        found = {item[4][0] for item in socket.getaddrinfo(address.host, None)}
    except OSError:
        return False
    return all(ipaddress.ip_address(one).is_private for one in found)


def _address(url: str, elsewhere: bool) -> Iterator[Finding]:
    address = parse(url)
    if elsewhere and is_here(address):
        advice = "Give an address in the functions' network, as rediss://HOST:6379"
        yield Finding(
            "wrong", "Redis address", f"{address} is of this machine, and functions run elsewhere", advice
        )
        return
    if not address.is_secure and not is_here(address):
        advice = "Use rediss://, unless nobody else is in its network"
        yield Finding("warning", "Redis TLS", f"{address} is not encrypted", advice)
    if not address.password and not is_here(address):
        advice = "Give it a user as in docs/security.md, and its password in the URL"
        yield Finding("warning", "Redis user", f"{address} has no password: whoever reaches it may use it", advice)


def _reach(url: str) -> Iterator[Finding]:
    with _linked(url) as link:
        link.call(lambda client: client.exists(_key()))
        yield Finding("ok", "Redis", f"{link.address} can be reached and used")


def _certificate(url: str) -> Iterator[Finding]:
    if not parse(url).is_secure:
        return
    with _linked(url) as link:
        certificate = link.call(_certificate_of)
    if not certificate:
        advice = "Leave ssl_cert_reqs=none out of the URL; ssl_ca_certs=FILE names an authority of your own"
        yield Finding("warning", "Redis TLS", "the server's certificate is not verified", advice)
        return
    days = (ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) / 86400
    found = f"its certificate is valid for {days:.0f} days"
    if days < EXPIRES_DAYS:
        yield Finding("warning", "Redis TLS", found, "Renew it")
    else:
        yield Finding("ok", "Redis TLS", found)


def _certificate_of(client: Any) -> dict[str, Any]:
    connection = client.connection_pool.get_connection()
    try:
        return cast(ssl.SSLSocket, connection._sock).getpeercert() or {}
    finally:
        client.connection_pool.release(connection)


def _server(url: str, workers: int) -> Iterator[Finding]:
    with _linked(url) as link:
        its = link.call(server_info)
    if not its:
        advice = "Allow +info, or see to it yourself that maxmemory-policy is noeviction"
        yield Finding("warning", "Redis server", "INFO is not allowed: version and policy are not known", advice)
        return
    check_server(url)
    name = "Valkey" if "valkey_version" in its else "Redis"
    version = its.get("valkey_version") or its.get("redis_version")
    yield Finding("ok", "Redis server", f"{name} {version}")
    yield _policy(its)
    yield _memory(its)
    if "maxclients" in its:
        yield _connections(its, workers)


def _policy(its: dict[str, Any]) -> Finding:
    policy, limit = str(its.get("maxmemory_policy", "noeviction")), int(its.get("maxmemory", 0))
    if policy == "noeviction":
        return Finding("ok", "Redis policy", policy)
    # With a limit, check_server has refused it.
    advice = (
        "Set noeviction before somebody sets a limit: all keys of a run have a time to live, and may be evicted"
    )
    return Finding("warning", "Redis policy", f"{policy}, without effect as maxmemory is {limit}", advice)


def _memory(its: dict[str, Any]) -> Finding:
    limit = int(its.get("maxmemory", 0)) or int(its.get("total_system_memory", 0))
    used = int(its.get("used_memory", 0))
    if not limit:
        return Finding("ok", "Redis memory", f"{used / MB:,.0f} MB used, without a limit")
    found = f"{(limit - used) / MB:,.0f} of {limit / MB:,.0f} MB free"
    if limit - used < LEAST_FREE:
        return Finding(
            "warning", "Redis memory", found, "Free keys, or raise maxmemory: a run that finds none ends"
        )
    return Finding("ok", "Redis memory", found)


def _connections(its: dict[str, Any], workers: int) -> Finding:
    free = int(its["maxclients"]) - int(its.get("connected_clients", 0))
    found = f"{free:,} of {int(its['maxclients']):,} free"
    if free < workers:
        advice = f"Raise maxclients, or take fewer workers than {workers:,}: each holds one connection"
        return Finding("wrong", "Redis connections", found, advice)
    return Finding("ok", "Redis connections", found)


def _commands(url: str) -> Iterator[Finding]:
    """Runs of two workers, on keys that nobody else has and that are gone at the end."""
    for climb in (False, True):
        run = f"doctor-{secrets.token_hex(8)}"
        try:
            _try_run(url, run, climb)
        finally:
            with suppress(RunError), _linked(url) as link:
                link.call(partial(_delete, run_keys(run)))
    yield Finding("ok", "Redis commands", "all that a run needs are allowed")


def _delete(keys: tuple[str, ...], client: Any) -> None:
    client.unlink(*keys)


def _try_run(url: str, run: str, climb: bool) -> None:
    with closing(RunControl(url, run, 2, lease=5.0, ttl=10.0, linger=5.0)) as control:
        control.create({"x": np.zeros(2)})
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(partial(_work, url, run, climb), range(2)))
        control.wait(0.01)
        control.abort(RunError("only tried out"))
        control.status()


def _work(url: str, run: str, climb: bool, worker: int) -> None:
    options: dict[str, Any] = {"climb": climb, "block": 0.5, "patience": 2.0, "deadline": time.monotonic() + 3.0}
    with closing(RedisChannel(url, run, worker, 2, trace=Trace(), **options)) as channel:
        channel.join()
        # One that climbs is aborted; the other ends by itself.
        channel.all_reduce(1, np.ones(2), "sum", lambda total: ({"x": total}, not climb))


def _latency(url: str) -> Iterator[Finding]:
    key = _key()
    seconds: list[float] = []
    with _linked(url) as link:
        deadline = time.perf_counter() + MEASURE_SECONDS
        while len(seconds) < ROUND_TRIPS and time.perf_counter() < deadline:
            start = time.perf_counter()
            link.call(lambda client: client.exists(key))
            seconds.append(time.perf_counter() - start)
    seconds = sorted(seconds[1:] or seconds)  # the first one connects
    median, late = statistics.median(seconds), seconds[min(len(seconds) - 1, round(0.99 * len(seconds)))]
    found = (
        f"{1000 * median:.2f} ms a round trip, 99 % within {1000 * late:.2f} ms; {_ITERATION} of them make "
        f"{1000 * _ITERATION * median:.1f} ms of each iteration"
    )
    if median > SLOW_SECONDS:
        advice = "Run functions in the network of their Redis; --invoke measures from there"
        yield Finding("warning", "Redis latency", found, advice)
    else:
        yield Finding("ok", "Redis latency", found)


def _clock(url: str) -> Iterator[Finding]:
    with _linked(url) as link:
        try:
            before = time.time()
            its, micro = link.call(lambda client: client.time())
        except RunError as error:
            if isinstance(error.__cause__, NoPermissionError):
                yield Finding("ok", "Redis clock", "TIME is not allowed, and no run needs it")
                return
            raise
    apart = abs(its + micro / 1e6 - (before + time.time()) / 2)
    found = f"{apart:.1f} s from this machine's"
    if apart > CLOCK_SECONDS:
        advice = "Correct the one that is wrong: S3 takes no requests that are 15 minutes off"
        yield Finding("warning", "Redis clock", found, advice)
    else:
        yield Finding("ok", "Redis clock", found)


@contextmanager
def _linked(url: str) -> Iterator[Link]:
    """A link that tries once."""
    with closing(Link(url, patience=0.0)) as link:
        yield link


def _key() -> str:
    return f"biglambda:{{doctor-{secrets.token_hex(8)}}}:m"
