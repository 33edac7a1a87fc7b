"""Commands and scripts, retried for a bounded time, with errors in plain words."""

from __future__ import annotations

import functools
import hashlib
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import Any, TypeVar

import redis
from redis import exceptions as failures

from ..errors import RunError
from .address import Address, parse, scrub
from .connect import REPLY_SECONDS, address_of
from .route import Route

T = TypeVar("T")

MIN_VERSION = (6, 2)
FAILOVER_SECONDS = 5.0
"""More patience where another server may take over: a client's lease of 15 s lasts as long."""
_OF_CLUSTERS = (failures.MovedError, failures.AskError, failures.TryAgainError, failures.ClusterDownError)
_REDIRECTIONS = 4
"""So many of a cluster are followed at once; nodes that disagree send in circles."""
_TRANSIENT = (failures.ConnectionError, failures.TimeoutError, OSError)


@dataclass(frozen=True)
class _Trouble:
    """What may be wrong with a server.

    Attributes
    ----------
    sign : str
        Regular expression for the class and the text of the error. In Redis 6.2 an error in a script has no class.
    what, remedy : str
        Of the sentence that says so.
    passes : bool
        Whether it may pass by itself, so that to ask again for a while is worth it.
    """

    sign: str
    what: str
    remedy: str
    passes: bool = False


_TROUBLES = (
    _Trouble(
        "SentinelRefusal",
        "has a sentinel that refused to be asked",
        "Check sentinel_username= and sentinel_password= in the address: they are not those of the server. An ACL "
        "of the sentinel must allow +sentinel|get-master-addr-by-name",
    ),
    _Trouble(
        "UnknownService",
        "has a sentinel that does not know the service",
        "Check the service's name, which follows the sentinels' hosts and ports in the address; a server without "
        "sentinels is redis://host:port",
    ),
    _Trouble(
        "Authentication|Authorization|NoPermission|The user executing the script|ACL failure in script",
        "refused this user",
        "Check user and password in its address; an ACL must allow ~biglambda:* and +@all -@dangerous +info, or "
        "at least the commands in docs/security.md",
    ),
    _Trouble(
        "command not allowed when used memory",
        "is full",
        "Raise its maxmemory, or free keys",
    ),
    _Trouble(
        "read only replica|MasterDown|UNBLOCKED",
        "is a replica, which cannot be written to",
        "Give the address of the primary",
        passes=True,
    ),
    _Trouble(
        "NOREPLICAS",
        "has fewer replicas than it needs to be written to",
        "Start them, or lower its min-replicas-to-write",
        passes=True,
    ),
    _Trouble(
        "ClusterDown",
        "is a cluster in which no node serves this run",
        "CLUSTER NODES says which one failed. With a replica of it, another one takes over after "
        "cluster-node-timeout: less than 8 s suits",
        passes=True,
    ),
    _Trouble(
        "AskError|TryAgain",
        "is moving the keys of this run to another node, which takes too long",
        "Start again once CLUSTER NODES shows no slot that migrates",
        passes=True,
    ),
    _Trouble(
        "MovedError",
        "is a cluster whose nodes send this run to one another",
        "Compare what CLUSTER SLOTS says at each of them",
        passes=True,
    ),
    _Trouble(
        "SELECT is not allowed|DB index is out of range",
        "has no database of that number",
        "Leave the number at the end of the address out: a cluster has no other than 0",
    ),
    _Trouble(
        "max number of clients",
        "takes no more connections",
        "Raise its maxclients, or launch fewer workers: each holds one connection",
        passes=True,
    ),
    _Trouble(
        r"\bBUSY\b",
        "is busy with a script or function of somebody",
        "SCRIPT KILL or FUNCTION KILL ends it, if it has not written yet",
        passes=True,
    ),
    _Trouble(
        "killed by user",
        "ended a script of this run when somebody asked it to",
        "It had written nothing. Scripts of a run take milliseconds: does the server's machine swap, or lack CPU?",
    ),
    _Trouble(
        r"\bBADCALL\b",
        "refused a malformed call",
        "Do the client and all workers have the same version of biglambda?",
    ),
    _Trouble(
        r"\bWRONGTYPE\b",
        "holds something else at a key of this run",
        "Delete the keys that begin with biglambda:, if nobody needs them, and start the run again",
    ),
    _Trouble(
        "BusyLoading",
        "is still loading its data",
        "Wait until it is done, and start the run again",
        passes=True,
    ),
)
_UNREACHABLE = _Trouble(
    "",
    "cannot be reached",
    "Check that the server runs and that this machine may connect to it: host, port, firewall or security group, "
    "TLS (rediss://)",
    passes=True,
)
_REFUSAL = _Trouble("", "refused a command", "")


def _trouble(error: Exception) -> _Trouble:
    text = f"{type(error).__name__}: {error}"
    for trouble in _TROUBLES:
        if re.search(trouble.sign, text):
            return trouble
    return _UNREACHABLE if isinstance(error, _TRANSIENT) else _REFUSAL


class Link:
    """A client that retries for a bounded time. Every command that goes through it must be safe to repeat.

    Parameters
    ----------
    client : redis.Redis or str
        What `connect` returned, or a URL; see `parse`.
    block : float, default=0.0
        Longest time in seconds that a command may block in the server.
    patience : float, default=9.0
        Seconds after which a server that does not answer is given up. If it accepts a connection very late
        and then does not answer either, 3 s may be added. Where another server may take over, because there are
        sentinels, several addresses or a cluster, it is 5 s longer.
    """

    def __init__(self, client: redis.Redis | str, *, block: float = 0.0, patience: float = 9.0) -> None:
        self._route = Route(parse(client) if isinstance(client, str) else address_of(client), block)
        if not isinstance(client, str):
            self._route.use(client)
        self._attempt = block + REPLY_SECONDS
        self._patience = patience
        self.address = str(self._route.address)

    def __repr__(self) -> str:
        return f"Link({self.address!r})"

    def scrub(self, text: str) -> str:
        """``text`` without credentials."""
        return scrub(text, self._route.address.secrets)

    def call(self, command: Callable[[redis.Redis], T], *, patience: float | None = None) -> T:
        """``command(client)``, repeated while the server cannot be reached, or sends to another one.

        Raises
        ------
        RunError
            It could not be reached, or could not do it, for too long; or it refused.
        """
        start, attempts, redirections = time.monotonic(), 0, 0
        while True:
            server: Address | None = None
            try:
                server = self._route.server()
                return command(self._route.client(server))
            except (failures.RedisError, OSError) as error:
                self._route.may_fail_over |= isinstance(error, _OF_CLUSTERS)
                if isinstance(error, failures.MovedError) and server is not None:
                    self._route.follow(server, error.host, error.port)
                    redirections += 1
                    if redirections % _REDIRECTIONS:
                        continue
                trouble = _trouble(error)
                attempts += 1
                pause = min(1.0, 0.025 * 2**attempts) * random.uniform(0.5, 1.0)
                spent = time.monotonic() - start
                # No attempt is begun that could end only after the time is up.
                limit = self._limit if patience is None else patience
                if not trouble.passes or spent + pause + self._attempt > limit:
                    tried = f" ({attempts} attempts in {spent:.1f} s)" if trouble.passes else ""
                    said = f"{trouble.what}: {self._said(error)}{tried}. {trouble.remedy}".removesuffix(". ")
                    raise RunError(f"Redis at {self._shown(server)} {said}") from error
                if server is not None and not isinstance(error, failures.MovedError):
                    self._route.leave(server)
                    redirections = 0
                time.sleep(pause)

    def script(self, name: str, keys: tuple[str, ...], *args: Any, patience: float | None = None) -> list[Any]:
        """The reply of a script, whose text is sent only if the server does not know it."""
        source, digest = load_script(name)

        def run(client: redis.Redis) -> Any:
            try:
                return client.execute_command("EVALSHA", digest, len(keys), *keys, *args)
            except failures.NoScriptError:
                return client.execute_command("EVAL", source, len(keys), *keys, *args)

        word, *rest = self.call(run, patience=patience)
        return [word.decode(), *rest]

    def read_after(self, stream: str, entry: str, seconds: float) -> tuple[str, dict[bytes, bytes]] | None:
        """What follows ``entry`` in a stream, waiting up to ``seconds`` for it: its id and fields, or None."""
        milliseconds = max(1, round(seconds * 1000))  # to Redis, 0 means for ever
        streams: dict[Any, Any] = {stream: entry}
        reply: Any = self.call(lambda client: client.xread(streams, count=1, block=milliseconds))
        if not reply:
            return None
        name, fields = reply[0][1][0]
        return name.decode(), fields

    def close(self) -> None:
        """Disconnect."""
        self._route.close()

    @property
    def _limit(self) -> float:
        return self._patience + (FAILOVER_SECONDS if self._route.may_fail_over else 0.0)

    def _shown(self, server: Address | None) -> str:
        """The URL's address, and where it has led."""
        named = server is None or (server in self._route.address.one_by_one() and not self._route.address.service)
        return self.address if named else f"{self.address}, which leads to {server},"

    def _said(self, error: BaseException) -> str:
        return self.scrub(str(error) or type(error).__name__).rstrip(".")


@functools.cache
def load_script(name: str) -> tuple[str, str]:
    """A script with what comes before it, and its SHA-1."""
    folder = resources.files(__package__) / "lua"
    parts = ("prelude", "give", name) if name in ("push", "put") else ("prelude", name)
    source = "".join((folder / f"{part}.lua").read_text("utf-8") for part in parts)
    return source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


def check_server(client: redis.Redis | str) -> None:
    """Refuse a server that a run could not rely on.

    Parameters
    ----------
    client : redis.Redis or str
        What `connect` returned, or a URL.

    Raises
    ------
    RunError
        It cannot be reached within 10 s, refuses the user, is older than 6.2, or may evict the keys of a run.
    """
    link = Link(client)
    try:
        server = link.call(server_info)
    finally:
        if isinstance(client, str):
            link.close()
    if "sentinel_masters" in server:
        raise RunError(
            f"Redis at {link.address} is a sentinel, which holds no run: give redis+sentinel://host:port/service, "
            "where service is the name that it watches the primary by"
        )
    version = str(server.get("redis_version", ""))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if len(numbers) == 2 and numbers < MIN_VERSION:
        raise RunError(
            f"Redis at {link.address} has version {version}; biglambda needs at least "
            f"{MIN_VERSION[0]}.{MIN_VERSION[1]}, or any Valkey"
        )
    policy = str(server.get("maxmemory_policy", "noeviction"))
    if int(server.get("maxmemory", 0)) > 0 and policy != "noeviction":
        raise RunError(
            f"Redis at {link.address} has maxmemory-policy {policy}: when it is full it may evict a run that is "
            "going on. Set `CONFIG SET maxmemory-policy noeviction` (or the same in its parameter group), or use "
            "another server"
        )


def server_info(client: redis.Redis) -> dict[str, Any]:
    """What INFO says; nothing if an ACL forbids it, which is no reason not to go on."""
    try:
        reply: Any = client.info()  # of no section: a sentinel of Redis 6.2 has nothing to say of "everything"
    except failures.NoPermissionError:
        return {}
    return dict(reply)
