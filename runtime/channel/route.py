"""Which server a link talks to: one that the URL names, or the one that a cluster or a sentinel names."""

from __future__ import annotations

from typing import Any

import redis
from redis import exceptions as failures

from .address import Address
from .connect import connect


class SentinelRefusal(failures.RedisError):
    """A sentinel does not answer this user."""


class UnknownService(failures.RedisError):
    """A sentinel, or what was taken for one, does not know the service."""


class Route:
    """The way to the server that holds a run.

    All keys of a run have one hash tag, so that one node of a cluster has them: whichever node the URL names tells
    which. Sentinels tell which server is the primary. What was told holds until that server fails; then the URL's
    servers are asked again, the next one if one of them has failed itself. Threads may share a route.

    Parameters
    ----------
    address : Address
    block : float, default=0.0
        Longest time in seconds that a command may block in the server.
    """

    def __init__(self, address: Address, block: float = 0.0) -> None:
        self.address = address
        self._block = block
        self._named, self._turn = address.one_by_one(), 0
        self._told: Address | None = None
        self._clients: dict[Address, redis.Redis] = {}
        self.may_fail_over = len(self._named) > 1 or bool(address.service)
        """Whether another server may take the place of one that fails."""

    def use(self, client: redis.Redis) -> None:
        """Take a client of the address that there is already."""
        self._clients[self.address] = client

    def server(self) -> Address:
        """The server to talk to now. If it is a sentinel's to tell, one sentinel is asked.

        Raises
        ------
        redis.RedisError
            The sentinel cannot be reached, or does not tell. The next call asks the next one.
        """
        if self._told is not None:
            return self._told
        named = self._now_named()
        if not self.address.service:
            return named
        try:
            self._told = told = self._ask(named)
        except (failures.RedisError, OSError):
            self.leave(named)
            raise
        return told

    def client(self, server: Address) -> redis.Redis:
        """The client of a server."""
        return self._clients.get(server) or self._clients.setdefault(server, connect(server, block=self._block))

    def follow(self, server: Address, host: str, port: int) -> None:
        """Go where a node of a cluster sends: no host means its own."""
        self._told = server.at(host or server.host, port)

    def leave(self, server: Address) -> None:
        """Forget a server that failed, and its idle connections: its name may lead to another one next time."""
        self.client(server).connection_pool.disconnect(inuse_connections=False)
        if server is self._told:
            self._told = None
        elif server is self._now_named():
            self._turn += 1

    def close(self) -> None:
        """Disconnect."""
        for client in list(self._clients.values()):
            client.close()

    def _now_named(self) -> Address:
        return self._named[self._turn % len(self._named)]

    def _ask(self, sentinel: Address) -> Address:
        name = self.address.service
        try:
            found: Any = self.client(sentinel).execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
        except (failures.AuthenticationError, failures.AuthorizationError, failures.NoPermissionError) as error:
            raise SentinelRefusal(f"{sentinel}: {error}") from error
        except failures.ResponseError as error:
            raise UnknownService(f"{sentinel}: {error}") from error
        if found is None:
            raise UnknownService(f"{sentinel}: no service {name}")
        host, port = (part.decode() for part in found)
        return self.address.at(host, int(port))
