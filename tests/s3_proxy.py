"""What a network and a busy server do, by a proxy before a real S3 server."""

from __future__ import annotations

import http.client
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Fault = Callable[["Handler", http.client.HTTPResponse, bytes], None]


class Proxy(ThreadingHTTPServer):
    """Passes requests on to a server. The next reads of objects meet the faults, one each.

    Attributes
    ----------
    faults : deque of Fault
    always : Fault or None
        What reads meet once there are no faults left.
    ranges : list of str
        What reads asked for.
    """

    daemon_threads = True

    def __init__(self, endpoint: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behind = endpoint.removeprefix("http://")
        self.faults: deque[Fault] = deque()
        self.always: Fault | None = None
        self.ranges: list[str] = []

    @property
    def endpoint(self) -> str:
        """Its own address."""
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def start_proxy(endpoint: str) -> Iterator[Proxy]:
    """A proxy that serves in a thread."""
    with Proxy(endpoint) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()


class Handler(BaseHTTPRequestHandler):
    """One connection to the proxy."""

    protocol_version = "HTTP/1.1"
    server: Proxy

    def do_GET(self) -> None:
        """Ask the server, and reply with what it says or with the fault that is due."""
        behind = http.client.HTTPConnection(self.server.behind, timeout=10)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        behind.request(self.command, self.path, body, dict(self.headers))
        reply = behind.getresponse()
        data = reply.read()
        behind.close()
        fault: Fault | None = None
        wanted = self.headers.get("Range", "")
        if self.command == "GET" and wanted not in ("", "bytes=0-0"):
            self.server.ranges.append(wanted.removeprefix("bytes="))
            fault = self.server.faults.popleft() if self.server.faults else self.server.always
        with suppress(ConnectionError):
            (fault or pass_on)(self, reply, data)

    do_PUT = do_DELETE = do_HEAD = do_GET

    def head(self, reply: http.client.HTTPResponse) -> None:
        """Pass on status and headers."""
        self.send_response_only(reply.status)
        for name, value in reply.getheaders():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def pass_on(handler: Handler, reply: http.client.HTTPResponse, data: bytes) -> None:
    """No fault."""
    handler.head(reply)
    handler.wfile.write(data)


def refuse(status: int, code: str, **headers: str) -> Fault:
    """An error of S3 in place of the reply."""

    def fault(handler: Handler, reply: http.client.HTTPResponse, data: bytes) -> None:
        text = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        handler.send_response_only(status)
        for name, value in {
            **headers,
            "Content-Length": str(len(text)),
            "Content-Type": "application/xml",
        }.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(text)

    return fault


def cut(count: int) -> Fault:
    """The connection is closed after so many bytes of the body."""

    def fault(handler: Handler, reply: http.client.HTTPResponse, data: bytes) -> None:
        handler.head(reply)
        handler.wfile.write(data[:count])
        handler.wfile.flush()
        handler.close_connection = True

    return fault


def trickle(seconds: float) -> Fault:
    """A byte of the body every so many seconds, for as long as somebody takes them."""

    def fault(handler: Handler, reply: http.client.HTTPResponse, data: bytes) -> None:
        handler.head(reply)
        handler.close_connection = True
        pause = threading.Event()
        for number in range(len(data)):
            handler.wfile.write(data[number : number + 1])
            handler.wfile.flush()
            pause.wait(seconds)

    return fault


def late(seconds: float) -> Fault:
    """The reply comes so many seconds later."""

    def fault(handler: Handler, reply: http.client.HTTPResponse, data: bytes) -> None:
        threading.Event().wait(seconds)
        pass_on(handler, reply, data)

    return fault
