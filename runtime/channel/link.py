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
from .connect import REPLY_SECONDS, address_of, connect, scrub

T = TypeVar("T")

MIN_VERSION = (6, 2)
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
        "Authentication|Authorization|NoPermission|The user executing the script",
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
        "read only replica|MasterDown",
        "is a replica, which cannot be written to",
        "Give the address of the primary",
        passes=True,
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
        What `connect` returned, or a URL.
    block : float, default=0.0
        Longest time in seconds that a command may block in the server.
    patience : float, default=9.0
        Seconds after which a server that does not answer is given up. If it accepts a connection very late
        and then does not answer either, 3 s may be added.
    """

    def __init__(self, client: redis.Redis | str, *, block: float = 0.0, patience: float = 9.0) -> None:
        self._client = connect(client, block=block) if isinstance(client, str) else client
        self._attempt = block + REPLY_SECONDS
        self._patience = patience
        self.address = address_of(self._client)

    def __repr__(self) -> str:
        return f"Link({self.address!r})"

    def scrub(self, text: str) -> str:
        """``text`` without credentials."""
        return scrub(text, self._client)

    def call(self, command: Callable[[redis.Redis], T], *, patience: float | None = None) -> T:
        """``command(client)``, repeated while the server cannot be reached.

        Raises
        ------
        RunError
            It could not be reached, or could not do it, for too long; or it refused.
        """
        patience = self._patience if patience is None else patience
        start, attempts = time.monotonic(), 0
        while True:
            try:
                return command(self._client)
            except (failures.RedisError, OSError) as error:
                trouble = _trouble(error)
                attempts += 1
                pause = min(1.0, 0.025 * 2**attempts) * random.uniform(0.5, 1.0)
                spent = time.monotonic() - start
                # No attempt is begun that could end only after the time is up.
                if not trouble.passes or spent + pause + self._attempt > patience:
                    tried = f" ({attempts} attempts in {spent:.1f} s)" if trouble.passes else ""
                    said = f"{trouble.what}: {self._said(error)}{tried}. {trouble.remedy}".removesuffix(". ")
                    raise RunError(f"Redis at {self.address} {said}") from error
                if isinstance(error, failures.ReadOnlyError):
                    # After a failover the same address may lead to another server.
                    self._client.connection_pool.disconnect(inuse_connections=False)
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
        self._client.close()

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
        server = link.call(_server_info)
    finally:
        if isinstance(client, str):
            link.close()
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


def _server_info(client: redis.Redis) -> dict[str, Any]:
    """What INFO says; nothing if an ACL forbids it, which is no reason not to go on."""
    try:
        reply: Any = client.info("everything")
    except failures.NoPermissionError:
        return {}
    return dict(reply)
