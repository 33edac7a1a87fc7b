"""A slow network on one machine: a TCP proxy before a Redis server that holds every request back for a while."""

from __future__ import annotations

import asyncio
import selectors
import socket
from contextlib import AbstractContextManager
from typing import Any, cast

from biglambda.proxy import proxy


def delayed(url: str, seconds: float) -> AbstractContextManager[str]:
    """The address of a proxy that takes so long to hand each request to the server; replies pass at once.

    What a client sends in one go, such as a transaction, is held back once.
    """
    return proxy(url, _serve, seconds)


class _Replies(asyncio.Protocol):
    """The side of a connection that faces the server."""

    other: _Replies
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be connected."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand it on."""
        self.other.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        """Close the other side, too."""
        self.other.transport.close()


class _Requests(_Replies):
    """The side that faces the client."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def data_received(self, data: bytes) -> None:
        """Hand it on later."""
        asyncio.get_running_loop().call_later(self._seconds, self.other.transport.write, data)


def _serve(listener: socket.socket, server: dict[str, Any], seconds: float) -> None:
    # The time-out of select() is in microseconds, that of epoll is rounded up to a millisecond.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    listener.setblocking(False)
    while True:
        connection, _ = loop.run_until_complete(loop.sock_accept(listener))
        loop.run_until_complete(_join(connection, server, seconds))


async def _join(connection: socket.socket, server: dict[str, Any], seconds: float) -> None:
    """Connect a client to the server."""
    loop = asyncio.get_running_loop()
    replies, requests = _Replies(), _Requests(seconds)
    replies.other, requests.other = requests, replies
    if "path" in server:
        await loop.create_unix_connection(lambda: replies, server["path"])
    else:
        await loop.create_connection(lambda: replies, server["host"], server["port"])
    await loop.connect_accepted_socket(lambda: requests, connection)
