"""A link of limited bandwidth to a server on this machine, as that between a function and S3 is."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

PIECE_BYTES = 1 << 18
BURST_SECONDS = 0.01
"""Seconds' worth of bytes that may come at once."""


class Link:
    """Lets bytes through as fast as the bandwidth allows, for all connections together."""

    def __init__(self, bytes_per_second: float) -> None:
        self._rate = bytes_per_second
        self._lock = threading.Lock()
        self._free = time.monotonic()  # when all that was let through has arrived

    def take(self, size: int) -> None:
        """Wait until so many more bytes may pass."""
        with self._lock:
            self._free = max(self._free, time.monotonic() - BURST_SECONDS) + size / self._rate
            left = self._free - time.monotonic()
        if left > 0:
            time.sleep(left)


@contextmanager
def slow_link(port: int, gigabits: float) -> Iterator[int]:
    """A port of this machine that leads to another, whose answers come with so many Gbit/s at most."""
    link = Link(gigabits * 1e9 / 8)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        threading.Thread(target=_accept, args=(listener, port, link), daemon=True).start()
        yield listener.getsockname()[1]


def _accept(listener: socket.socket, port: int, link: Link) -> None:
    with suppress(OSError):  # the listener was closed
        while True:
            client = listener.accept()[0]
            server = socket.create_connection(("127.0.0.1", port))
            for ends in ((client, server, None), (server, client, link)):
                threading.Thread(target=_pass_on, args=ends, daemon=True).start()


def _pass_on(source: socket.socket, goal: socket.socket, link: Link | None) -> None:
    """Move what comes, through a pipe and so without a copy, until one of the ends is closed."""
    leaving, entering = os.pipe()
    try:
        while count := os.splice(source.fileno(), entering, PIECE_BYTES):
            if link is not None:
                link.take(count)
            while count:
                count -= os.splice(leaving, goal.fileno(), count)
    except OSError:
        pass
    finally:
        os.close(leaving)
        os.close(entering)
        for end in (source, goal):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
