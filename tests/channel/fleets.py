"""Real clusters, and a primary and replica that a sentinel watches: on loopback, with passwords."""

from __future__ import annotations

import contextlib
import secrets
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from channel_workers import until
from redis.crc import key_slot

from biglambda.runtime.channel.connect import connect
from biglambda.runtime.channel.run import run_keys
from biglambda.runtime.channel.server import find_binary

PASSWORD = secrets.token_urlsafe(12)
SLOTS = 16384
SERVICE = "the-primary"


class Node:
    """A server that is part of something."""

    def __init__(self, directory: Path, lines: list[str], *arguments: str, password: str = PASSWORD) -> None:
        self.port = free_port()
        folder = directory / str(self.port)
        folder.mkdir()
        config = folder / "server.conf"
        own = ["bind 127.0.0.1", f"port {self.port}", f"requirepass {password}", f"dir {folder}"]
        config.write_text("\n".join([*own, *lines]) + "\n")
        self.url = f"redis://:{password}@127.0.0.1:{self.port}"
        with open(folder / "log", "wb") as log:
            self._process = subprocess.Popen([find_binary(), str(config), *arguments], stdout=log, stderr=log)
        self.client = connect(self.url)
        try:
            until(lambda: self._process.poll() is not None or is_ready(self.client))
        except AssertionError:
            self.kill()
            raise
        if self._process.poll() is not None:
            said = (folder / "log").read_text()
            if "Bad directive" in said or "sentinel mode" in said:
                pytest.skip(f"{find_binary()} cannot do that: {said}")
            raise AssertionError(f"a server did not start: {said}")

    def ask(self, *command: Any) -> Any:
        return self.client.execute_command(*command)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self.client.close()


def is_ready(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def is_in_step(replica: Node) -> bool:
    return role(replica).get("master_link_status") == "up"


def has(node: Node, key: str) -> bool:
    try:
        return bool(node.ask("EXISTS", key))
    except redis.RedisError:  # it is loading
        return False


def role(node: Node) -> dict[str, Any]:
    """What a node says of its part; nothing while that changes, for it closes connections then."""
    try:
        return dict(node.client.info("replication"))
    except redis.ConnectionError:
        return {}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Cluster:
    """Three primaries that share the slots evenly; of the first there may be a replica."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.nodes: list[Node] = []
        self._buses: list[int] = []

    def start(self, has_replica: bool) -> None:
        for _ in range(3 + has_replica):
            self._buses.append(free_port())
            self.nodes.append(Node(self._directory, [
                "cluster-enabled yes", f"cluster-port {self._buses[-1]}", "cluster-node-timeout 1000",
                f"masterauth {PASSWORD}", 'save ""', "repl-diskless-sync-delay 0",
            ]))  # fmt: skip
        for at, node in enumerate(self.nodes[:3]):
            node.ask("CLUSTER", "ADDSLOTS", *range(*self._slots(at)))
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", at + 1)
        for node, bus in zip(self.nodes[1:], self._buses[1:], strict=True):
            self.nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        everyone = len(self.nodes)
        until(lambda: all(self._state(node) == ("ok", everyone) for node in self.nodes))
        if has_replica:
            until(lambda: self._replicate(self.nodes[3], self.nodes[0]))
            until(lambda: is_in_step(self.nodes[3]))

    def run_on(self, at: int) -> str:
        """A name for a run whose keys are on that node."""
        low, high = self._slots(at)
        while not low <= key_slot(run_keys(name := uuid.uuid4().hex[:12])[0].encode()) < high:
            pass
        return name

    def _slots(self, at: int) -> tuple[int, int]:
        return at * SLOTS // 3, (at + 1) * SLOTS // 3

    def _state(self, node: Node) -> tuple[str, int]:
        lines = dict(line.split(":") for line in text(node.ask("CLUSTER", "INFO")).split())
        return lines["cluster_state"], int(lines["cluster_known_nodes"])

    def _replicate(self, replica: Node, primary: Node) -> bool:
        try:
            replica.ask("CLUSTER", "REPLICATE", text(primary.ask("CLUSTER", "MYID")))
        except redis.ResponseError:  # not everybody has heard of everybody
            return False
        return True


def text(reply: Any) -> str:
    return reply.decode() if isinstance(reply, bytes) else str(reply)


@contextlib.contextmanager
def cluster_in(directory: Path, has_replica: bool = False) -> Iterator[Cluster]:
    cluster = Cluster(directory)
    try:
        cluster.start(has_replica)
        yield cluster
    finally:
        for node in cluster.nodes:
            node.kill()


class Watched:
    """A primary, its replica, and a sentinel with a password of its own."""

    def __init__(self, directory: Path) -> None:
        self.nodes: list[Node] = []
        self._directory = directory

    def start(self) -> None:
        lines = [f"masterauth {PASSWORD}", 'save ""', "repl-diskless-sync-delay 0"]
        self.nodes.append(Node(self._directory, lines))
        self.primary = self.nodes[0]
        self.nodes.append(Node(self._directory, [*lines, f"replicaof 127.0.0.1 {self.primary.port}"]))
        self.replica = self.nodes[1]
        self.primary.ask("SET", "first", "", "PX", 60_000)
        until(lambda: has(self.replica, "first"))  # Redis 7.0 sends a replica in step nothing until it hears of it
        watch = [
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.primary.port} 1",
            f"sentinel auth-pass {SERVICE} {PASSWORD}",
            f"sentinel down-after-milliseconds {SERVICE} 500",
            f"sentinel failover-timeout {SERVICE} 5000",
        ]
        self.sentinel_password = secrets.token_urlsafe(12)
        self.nodes.append(Node(self._directory, watch, "--sentinel", password=self.sentinel_password))
        self.sentinel = self.nodes[2]
        until(lambda: len(self.sentinel.ask("SENTINEL", "REPLICAS", SERVICE)) == 1)
        self.url = (
            f"redis+sentinel://:{PASSWORD}@127.0.0.1:{self.sentinel.port}/{SERVICE}"
            f"?sentinel_password={self.sentinel_password}"
        )

    def fail_over(self) -> bool:
        """Have the replica made the primary; False if the sentinel does not know it well enough yet."""
        try:
            self.sentinel.ask("SENTINEL", "FAILOVER", SERVICE)
        except redis.ResponseError:
            return False
        return True


@contextlib.contextmanager
def watched_in(directory: Path) -> Iterator[Watched]:
    watched = Watched(directory)
    try:
        watched.start()
        yield watched
    finally:
        for node in watched.nodes:
            node.kill()
