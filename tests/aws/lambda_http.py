"""A small HTTP server in threads, for what AWS Lambda answers."""

from __future__ import annotations

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """Serves on a free port of loopback from when it is made until `stop`.

    Parameters
    ----------
    handler : type
        Of each connection.
    owner : object
        What handlers know as ``self.server.owner``.
    tls : ssl.SSLContext, optional
    """

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, handler: type[Handler], owner: Any, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.owner = owner
        if tls is not None:
            # The handshake is the connection's own thread's: a client that says nothing stops nobody else.
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.address = f"127.0.0.1:{self.server_port}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take no more connections."""
        self.shutdown()
        self._thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 300.0  # no connection outlives the longest test
    server: Server

    def body(self) -> bytes:
        """What the client sent, whole or in chunks."""
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def reply(self, status: int, body: bytes | dict[str, Any] = b"", **headers: str) -> None:
        """Answer; underscores in the names of headers are hyphens."""
        if isinstance(body, dict):
            body = json.dumps(body).encode()
        self.send_response_only(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
