"""TLS in front of a server that has none."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from own_server import OwnServer

from biglambda.runtime.channel.address import parse


def certificate(folder: Path, days: int) -> tuple[Path, Path]:
    """A certificate of localhost that signs itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    own, key = folder / "certificate.pem", folder / "key.pem"
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        str(days),
        "-subj",
        "/CN=localhost",
    ]
    files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(own)]
    subprocess.run([*make, *files], check=True, capture_output=True, timeout=30)
    return own, key


@contextmanager
def tls_front(server: OwnServer, own: Path, key: Path) -> Iterator[str]:
    """The address at which a server can be reached by TLS."""
    address = parse(server.url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own, key)
    with socket.create_server(("localhost", 0)) as listener:
        threading.Thread(target=_serve, args=(listener, context, address.path), daemon=True).start()
        yield f"rediss://:{address.password}@localhost:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def _serve(listener: socket.socket, context: ssl.SSLContext, path: str) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_join, args=(connection, context, path), daemon=True).start()


def _join(connection: socket.socket, context: ssl.SSLContext, path: str) -> None:
    with suppress(OSError), socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        with context.wrap_socket(connection, server_side=True) as secure:
            # One thread for each direction; a request or its reply is small.
            threading.Thread(target=_copy, args=(server, secure), daemon=True).start()
            _copy(secure, server)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)
