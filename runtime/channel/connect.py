"""From a URL to a client of Redis whose every wait is bounded; and URLs without their secrets."""

from __future__ import annotations

import contextlib
import re
import socket
from typing import cast
from urllib.parse import quote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection
from redis.retry import Retry

CONNECT_SECONDS = 3.0
REPLY_SECONDS = 3.0
_OPTIONS = frozenset(
    ["db", "ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"]
)


def redact(url: str) -> str:
    """A Redis URL without user, password and options, for messages and logs."""
    try:
        parts = urlsplit(url)
        if parts.scheme == "unix":
            return f"unix://{parts.path}"
        if not parts.scheme or not parts.netloc:
            return "<an address that cannot be read>"
        host = parts.hostname or "localhost"
        return _address(parts.scheme, host, parts.port or 6379, parts.path.strip("/"))
    except ValueError:
        return "<an address that cannot be read>"


def address_of(client: redis.Redis) -> str:
    """The redacted URL of a client."""
    pool = client.connection_pool
    options = pool.connection_kwargs
    if "path" in options:
        return f"unix://{options['path']}"
    scheme = "rediss" if issubclass(pool.connection_class, SSLConnection) else "redis"
    return _address(scheme, options.get("host", "localhost"), options.get("port", 6379), options.get("db") or "")


def scrub(text: str, client: redis.Redis) -> str:
    """``text`` without credentials: those in any Redis URL, and the client's password wherever it occurs."""
    text = re.sub(r"\b(rediss?|unix)://[^\s@]*@", r"\1://", text)
    password = client.connection_pool.connection_kwargs.get("password")
    for secret in {password, quote(password, safe="")} if password else ():
        text = text.replace(secret, "***")
    return text


def connect(url: str, *, block: float = 0.0) -> redis.Redis:
    """A client for a URL; it connects with its first command.

    Parameters
    ----------
    url : str
        ``redis://[user:password@]host[:port][/db]``, ``rediss://`` (TLS; the server's certificate is verified
        unless the URL says ``?ssl_cert_reqs=none``), or ``unix://[user:password@]/path/to/socket``.
    block : float, default=0.0
        Longest time in seconds that a command may block in the server.

    Raises
    ------
    ValueError
        The URL is not one of these.
    """
    try:
        reason = _problem(url)
    except ValueError:
        reason = "it is not a URL"
    if reason is None:
        try:
            return redis.Redis.from_url(
                url,
                # RESP2 needs no HELLO, and driver_info=None no CLIENT SETINFO: the set-up is AUTH, or nothing.
                protocol=2,
                driver_info=None,
                socket_connect_timeout=CONNECT_SECONDS,
                socket_timeout=block + REPLY_SECONDS,
                # `Link` retries, by time: counted attempts at a server that never answers take how long they will.
                retry=Retry(NoBackoff(), 0),
                health_check_interval=0,
                redis_connect_func=_set_up,
            )
        except (ValueError, TypeError, redis.RedisError):
            reason = "one of its options has a value that is not allowed"
    # Not chained: the message of another library may quote the URL.
    raise ValueError(
        f"{redact(url)} is no address of a Redis server: {reason}. Use redis://[user:password@]host:port/db, "
        "rediss:// for TLS, or unix:///path/to/socket"
    ) from None


def _set_up(connection: Connection) -> None:
    """What a new connection does first."""
    if not isinstance(connection, SSLConnection):
        _log_in(connection)
        return
    connection.on_connect()
    if not connection.password:
        # A TLS 1.3 server sends session tickets after the handshake. redis-py takes them for a reply that nobody
        # asked for and gives the connection up, unless it has read something, such as the reply to AUTH.
        connection.send_command("PING", check_health=False)
        with contextlib.suppress(redis.ResponseError):
            connection.read_response()


def _log_in(connection: Connection) -> None:
    """As redis-py does; but a server that turns a connection away says why, and that is heard.

    It may close before the log-in is written: then redis-py knows of a broken pipe, and closes its socket, too.
    """
    with cast(socket.socket, connection._sock).dup() as spare:
        try:
            connection.on_connect()
        except redis.ConnectionError:
            spare.settimeout(0)
            with contextlib.suppress(OSError):
                if said := spare.recv(500):
                    raise redis.ConnectionError(said.decode(errors="replace").strip()) from None
            raise


def _problem(url: str) -> str | None:
    """What is wrong with a URL, if anything."""
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss", "unix"):
        return f"its scheme is {parts.scheme!r}"
    if parts.scheme == "unix" and not parts.path:
        return "it names no socket"
    if parts.scheme != "unix" and not (parts.hostname and parts.port != 0):
        return "it names no host, or port 0"
    if parts.scheme != "unix" and parts.path.strip("/") and not parts.path.strip("/").isdecimal():
        return "what follows the host is not the number of a database"
    names = {pair.partition("=")[0] for pair in parts.query.split("&") if pair}
    if names - _OPTIONS:
        return f"it has options other than {', '.join(sorted(_OPTIONS))}"
    return None


def _address(scheme: str, host: str, port: int, database: str | int) -> str:
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}" + (f"/{database}" if database else "")
