"""TCP proxies before a Redis server, for what a network does to a run."""

from __future__ import annotations

import multiprocessing
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from redis.connection import parse_url

_fork = multiprocessing.get_context("fork")


@contextmanager
def proxy(url: str, serve: Callable[..., None], *arguments: Any) -> Iterator[str]:
    """The address of a proxy on this machine, which is a process of its own.

    Parameters
    ----------
    url : str
        Of the server.
    serve : callable
        What the process runs: ``serve(listener, server, *arguments)`` with a listening socket, and a dict with the
        server's ``path``, or its ``host`` and ``port``. It may go on for ever.
    *arguments
        More for it.
    """
    server: dict[str, Any] = dict(parse_url(url))
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        process = _fork.Process(target=serve, args=(listener, server, *arguments), daemon=True)
        process.start()
        host, port = listener.getsockname()
    try:
        yield f"redis://:{quote(server['password'], safe='')}@{host}:{port}"
    finally:
        process.kill()
        process.join()
