"""Objects of S3, or of a server that speaks its protocol."""

from __future__ import annotations

import glob
import math
import os
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from ..errors import DataError
from .joined import Joined
from .pieces import at_once
from .s3_errors import explain
from .store import Bytes, File, MissingError, changed

SCHEME = "s3://"

RECEIVE_BYTES = 1 << 18
"""Bytes that are taken from a connection at a time at most."""

LEAST_RATE = 1 << 18
"""Bytes per second that a body must come with."""

CONNECTIONS = 64
"""Connections that a client keeps open at most; it opens one for each thread that reads."""


@dataclass(frozen=True)
class S3Objects:
    """Objects of S3, by ``s3://bucket/key``, read in ranges through boto3.

    What is not given here boto3 finds, in each process, as it always does: environment, profile, role, region and
    ``AWS_ENDPOINT_URL``. Credentials that are given go with the store into the jobs of the workers, but into no
    message.

    A request is made up to ``attempts`` times with waits of up to 1, 2, 4, ... seconds between them: with the
    values below it has failed after 115 s. A body that breaks off is continued in as many attempts, for 120 s and
    1 s more for every 256 kB. So a read of 8 MB has ended or failed after 5 minutes, whatever happens.

    Attributes
    ----------
    endpoint : str, optional
        URL of the server.
    region : str, optional
    access_key_id, secret_access_key, session_token : str, optional
        Credentials.
    attempts : int
        For each request, and for a body.
    connect_timeout, read_timeout : float
        Seconds to reach the server, and without a byte from it.
    patience : float
        Seconds for a body, on top of those that its size takes at `LEAST_RATE`.
    """

    endpoint: str | None = None
    region: str | None = None
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    attempts: int = 5
    connect_timeout: float = 5.0
    read_timeout: float = 15.0
    patience: float = 120.0

    is_shared = True
    library_bytes = 22 << 20  # boto3, with its model of S3

    def __post_init__(self) -> None:
        if self.endpoint is not None and "@" in urlsplit(self.endpoint).netloc:
            raise DataError("the endpoint of S3 holds a user or password; give credentials as such")

    @classmethod
    def configured(cls, config: Mapping[str, Any] | None = None) -> S3Objects:
        """What the ``aws_s3`` and ``aws`` sections of a Lithops configuration say, if they are there.

        The endpoint is resolved here, so that it is the same for the client and for functions elsewhere.
        """
        config = config or {}
        section = {**(config.get("aws") or {}), **(config.get("aws_s3") or {})}
        environment = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        return cls(
            section.get("endpoint") or environment or None,
            section.get("region") or section.get("region_name"),
            section.get("access_key_id"),
            section.get("secret_access_key"),
            section.get("session_token"),
        )

    def expand(self, pattern: str) -> list[File]:
        """The object itself, all objects of a bucket or of a prefix that ends in ``/``, or the matches of a glob.

        As in a path, ``*`` and ``?`` match no ``/``, and ``**`` matches any number of folders.
        """
        bucket, key = _split(pattern)
        if key and not key.endswith("/") and not glob.has_magic(key):
            return [self.find(pattern)]
        wanted = [*key.split("/")[:-1], key.split("/")[-1] or "**"]
        found = {}
        for file in self._listed(bucket, _literal(key)):
            its = _split(file.name)[1]
            if its == key and not key.endswith("/"):
                return [file]
            # An empty object whose name ends in a slash stands for a folder.
            if not its.endswith("/") and _matches(its.split("/"), wanted):
                found[file.name] = file
        if not found:
            raise MissingError(f"no object matches {pattern}")
        return [found[name] for name in sorted(found)]

    def _listed(self, bucket: str, prefix: str) -> Iterator[File]:
        with self._plain(f"{SCHEME}{bucket}/{prefix}*"):
            for page in self._client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for item in page.get("Contents", ()):
                    yield File(self, f"{SCHEME}{bucket}/{item['Key']}", item["Size"], item["ETag"])

    def find(self, name: str) -> File:
        """The object of exactly this name."""
        # Asked for with its first byte: a reply to HEAD would not say why it is refused.
        bucket, key = _key(name)
        with self._plain(name):
            client = self._client()
            try:
                reply = client.get_object(Bucket=bucket, Key=key, Range="bytes=0-0")
            except client.exceptions.ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] != 416:
                    raise
                return File(self, name, 0, "")  # has no first byte
        with closing(reply["Body"]) as body:
            self._receive(body, memoryview(bytearray(1)), math.inf)  # so that the connection can be used again
        return File(self, name, int(reply["ContentRange"].rpartition("/")[2]), reply["ETag"])

    def read_into(self, file: File, offset: int, out: memoryview) -> None:
        """Get a range of bytes into ``out``; what came before a body broke off is not asked for again."""
        bucket, key = _key(file.name)
        where = f"{file.name}, bytes {offset:,} to {offset + len(out) - 1:,}"
        deadline = time.monotonic() + self.patience + len(out) / LEAST_RATE
        done = 0
        for attempt in range(self.attempts):
            if attempt:
                time.sleep(random.uniform(0, 2 ** (attempt - 1)))
            with self._plain(where):
                wanted = f"bytes={offset + done}-{offset + len(out) - 1}"
                reply = self._client().get_object(Bucket=bucket, Key=key, IfMatch=file.tag, Range=wanted)
            with closing(reply["Body"]) as body:
                if reply["ETag"] != file.tag:  # of a server that knows no conditions
                    raise changed(where, "was replaced since")
                if reply["ContentLength"] != len(out) - done:
                    raise DataError(
                        f"{where}: the server sends {reply['ContentLength']:,} bytes for {len(out) - done:,}; "
                        "it does not know ranges"
                    )
                done += self._receive(body, out[done:], deadline)
            if done == len(out):
                return
            if time.monotonic() > deadline:
                break
        raise DataError(
            f"{where}: only {done:,} bytes came in up to {self.attempts} attempts: the connection breaks, or is "
            "too slow. Start again later, or with fewer workers"
        )

    def _receive(self, body: Any, out: memoryview, deadline: float) -> int:
        """Take from a body what comes until it ends, breaks off, or the time is up."""
        import urllib3.exceptions

        # What lies below botocore's body hands over what has come; its own read waits for all that was asked for,
        # and as long as bytes trickle in it has no end.
        raw, done = body._raw_stream, 0
        while done < len(out) and time.monotonic() <= deadline:
            try:
                part = raw.read1(min(RECEIVE_BYTES, len(out) - done))
            except (urllib3.exceptions.HTTPError, OSError):
                break
            if not part:
                break
            out[done : done + len(part)] = part
            done += len(part)
        return done

    def write(self, name: str, *pieces: Bytes, private: bool = True) -> None:
        """Write an object, which takes the place of one that is there as a whole."""
        bucket, key = _key(name)
        with self._plain(name):
            self._client().put_object(Bucket=bucket, Key=key, Body=Joined(pieces))

    def delete(self, name: str) -> None:
        """Delete an object, if it is there."""
        bucket, key = _key(name)
        with self._plain(name):
            self._client().delete_object(Bucket=bucket, Key=key)

    def make_folder(self, name: str) -> None:
        """Nothing: S3 has no folders, only objects whose names begin with the same words."""

    def delete_folder(self, name: str) -> None:
        """Delete all objects of a folder."""
        names = [file.name for file in self._listed(*_key(f"{name}/"))]
        if names:
            at_once(self.delete, names)

    def sweep(self, name: str) -> None:
        """Nothing: what does not come whole is not kept."""

    def _client(self) -> Any:
        """The client of this process for these settings. Those of boto3 may be used by several threads."""
        with _clients.lock:
            if self not in _clients.known:
                _clients.known[self] = self._connect()
            return _clients.known[self]

    def _connect(self) -> Any:
        import boto3
        from botocore.config import Config

        session = boto3.Session(
            self.access_key_id, self.secret_access_key, self.session_token, region_name=self.region
        )
        config = Config(
            connect_timeout=self.connect_timeout,
            read_timeout=self.read_timeout,
            retries={"mode": "standard", "total_max_attempts": self.attempts},
            max_pool_connections=CONNECTIONS,
            # Not all servers that speak S3's protocol know its newer checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        try:
            return session.client("s3", endpoint_url=self.endpoint, config=config)
        except ValueError as error:
            raise DataError(
                "the endpoint of S3 is no URL such as https://host:9000: correct AWS_ENDPOINT_URL, or endpoint in "
                "the aws_s3 section of Lithops"
            ) from error

    @contextmanager
    def _plain(self, where: str) -> Iterator[None]:
        """Say in plain words what goes wrong."""
        import botocore.exceptions

        try:
            yield
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            plain = explain(error, where, self.attempts)
            if not isinstance(plain, MissingError):
                # Whoever corrects the environment, in a notebook perhaps, gets a client that has seen it.
                _clients.known.pop(self, None)
            raise plain from error


class _Clients:
    """The clients of this process. A connection does not survive a fork."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.known: dict[S3Objects, Any] = {}


_clients = _Clients()
os.register_at_fork(after_in_child=_clients.__init__)  # type: ignore[misc]


def _split(name: str) -> tuple[str, str]:
    bucket, _, key = name.removeprefix(SCHEME).partition("/")
    if not name.startswith(SCHEME) or not bucket:
        raise DataError(f"{name!r} names no object; allowed is s3://bucket/key")
    return bucket, key


def _key(name: str) -> tuple[str, str]:
    bucket, key = _split(name)
    if not key:
        raise DataError(f"{name!r} names a bucket; allowed is s3://bucket/key")
    return bucket, key


def _literal(pattern: str) -> str:
    """The start of a pattern in which no character is special."""
    return pattern[: next((at for at, one in enumerate(pattern) if one in "*?["), len(pattern))]


def _matches(names: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether a key matches a pattern, both in the parts between slashes."""
    if not patterns:
        return not names
    if patterns[0] == "**":
        return any(_matches(names[skip:], patterns[1:]) for skip in range(len(names) + 1))
    return bool(names) and fnmatchcase(names[0], patterns[0]) and _matches(names[1:], patterns[1:])
