"""Commands and scripts, retried for a bounded time, with errors in plain words."""

from __future__ import annotations

import functools
import hashlib
import random
import time
from collections.abc import Callable
from importlib import resources
from typing import Any, TypeVar

import redis
from redis import exceptions as failures

from ..errors import RunError
from .connect import REPLY_SECONDS, address_of, connect, scrub

T = TypeVar("T")

MIN_VERSION = (6, 2)
_REFUSED = (failures.AuthenticationError, failures.AuthorizationError, failures.NoPermissionError)
_TRANSIENT = (failures.ConnectionError, failures.TimeoutError, failures.ReadOnlyError, OSError)


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
            It could not be reached for too long, or refused.
        """
        patience = self._patience if patience is None else patience
        start, attempts = time.monotonic(), 0
        while True:
            try:
                return command(self._client)
            except _REFUSED as error:
                raise RunError(
                    f"Redis at {self.address} refused this user: {self._said(error)}. Check user and password in "
                    "its address; an ACL must allow ~biglambda:* and +@all -@dangerous +info, or at least "
                    "+@scripting +@read +@write +@stream +info"
                ) from error
            except _TRANSIENT as error:
                attempts += 1
                pause = min(1.0, 0.025 * 2**attempts) * random.uniform(0.5, 1.0)
                spent = time.monotonic() - start
                # No attempt is begun that could end only after the time is up.
                if spent + pause + self._attempt > patience:
                    raise RunError(
                        f"Redis at {self.address} cannot be reached: {self._said(error)} ({attempts} attempts in "
                        f"{spent:.1f} s). Check that the server runs and that this machine may connect to it: "
                        "host, port, firewall or security group, TLS (rediss://)"
                    ) from error
                time.sleep(pause)
            except failures.OutOfMemoryError as error:
                raise RunError(
                    f"Redis at {self.address} is full: {self._said(error)}. Raise its maxmemory, or free keys"
                ) from error
            except failures.RedisError as error:
                raise RunError(f"Redis at {self.address} refused a command: {self._said(error)}") from error

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
    """A script with the prelude before it, and its SHA-1."""
    folder = resources.files(__package__) / "lua"
    source = "".join((folder / f"{part}.lua").read_text("utf-8") for part in ("prelude", name))
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
