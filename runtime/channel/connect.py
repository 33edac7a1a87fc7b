"""From the address of one server to a client of it whose every wait is bounded."""

from __future__ import annotations

import contextlib
import socket
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.retry import Retry

from .address import Address, parse

CONNECT_SECONDS = 3.0
REPLY_SECONDS = 3.0
_FALSE = ("false", "no", "off", "0")


def address_of(client: redis.Redis) -> Address:
    """The address of a client's server."""
    pool = client.connection_pool
    known = pool.connection_kwargs
    is_socket, is_secure = "path" in known, issubclass(pool.connection_class, SSLConnection)
    return Address(
        scheme="unix" if is_socket else "rediss" if is_secure else "redis",
        servers=() if is_socket else ((known.get("host", "localhost"), known.get("port", 6379)),),
        path=known.get("path", ""),
        database=int(known.get("db") or 0),
        username=known.get("username") or "",
        password=known.get("password") or "",
        options=tuple(sorted((name, str(value)) for name, value in known.items() if name.startswith("ssl_"))),
    )


def connect(address: str | Address, *, block: float = 0.0) -> redis.Redis:
    """A client of one server; it connects with its first command.

    Parameters
    ----------
    address : str or Address
        Of one server: ``redis://[user:password@]host[:port][/db]``, ``rediss://`` (TLS; the server's certificate
        is verified unless the URL says ``?ssl_cert_reqs=none``), or ``unix://[user:password@]/path/to/socket``.
        See `parse`.
    block : float, default=0.0
        Longest time in seconds that a command may block in the server.

    Raises
    ------
    ValueError
        It is none of these. `Link` also takes the addresses of several servers, and of sentinels.
    """
    address = parse(address) if isinstance(address, str) else address
    if len(address.servers) > 1 or address.service:
        raise ValueError(f"{address} is no address of a single server")
    options: dict[str, Any] = dict(address.options)
    if "ssl_check_hostname" in options:
        options["ssl_check_hostname"] = options["ssl_check_hostname"].lower() not in _FALSE
    if "ssl_cert_reqs" in options:
        options["ssl_cert_reqs"] = options["ssl_cert_reqs"].lower()
    kind: type[Connection] | type[UnixDomainSocketConnection]
    if address.scheme == "unix":
        kind = UnixDomainSocketConnection
        options["path"] = address.path
    else:
        kind = SSLConnection if address.is_secure else Connection
        options["host"], options["port"] = address.servers[0]
    return redis.Redis.from_pool(
        ConnectionPool(
            connection_class=kind,
            username=address.username or None,
            password=address.password or None,
            db=address.database,
            # RESP2 needs no HELLO, and driver_info=None no CLIENT SETINFO: the set-up is AUTH, or nothing.
            protocol=2,
            driver_info=None,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=block + REPLY_SECONDS,
            # `Link` retries, by time: counted attempts at a server that never answers take how long they will.
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
            redis_connect_func=_set_up,
            **options,
        )
    )


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
