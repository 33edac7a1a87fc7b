"""A cluster: a run is found on whichever node it is, and goes on, or ends with an error, when that changes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from channel_workers import Child, expected_state, fork, run_worker, until
from fleets import PASSWORD, Cluster, Node, cluster_in, free_port, text
from redis.crc import key_slot

from biglambda.runtime.channel import link as link_module
from biglambda.runtime.channel.control import RunControl
from biglambda.runtime.channel.link import Link, check_server
from biglambda.runtime.channel.run import run_keys
from biglambda.runtime.errors import RunError

Start = Callable[..., Child]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster_in(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@contextlib.contextmanager
def created(url: str, run: str, workers: int) -> Iterator[RunControl]:
    """A run, which its client keeps alive."""
    control = RunControl(url, run, workers)
    control.create({"x": np.zeros(70)})
    try:
        with control.keep_alive():
            yield control
    finally:
        control.close()


def gate(at: int) -> tuple[Any, Any, Callable[[int], None]]:
    """Events, and a function that sets the first in an iteration and goes on after the second."""
    reached, go = fork.Event(), fork.Event()

    def pause(iteration: int) -> None:
        if iteration == at:
            reached.set()
            assert go.wait(20)

    return reached, go, pause


def holds(node: Node, run: str) -> bool:
    return bool(node.client.keys(f"biglambda:{{{run}}}:*"))


@pytest.mark.parametrize("climb", [False, True])
def test_runs_are_found_from_any_node(cluster: Cluster, child: Start, climb: bool) -> None:
    check_server(cluster.nodes[0].url)
    runs = [cluster.run_on(at) for at in range(3)]
    with contextlib.ExitStack() as stack:
        # Each run is on another node than the one that the URL names.
        urls = [cluster.nodes[(at + 1) % 3].url for at in range(3)]
        for run, url in zip(runs, urls, strict=True):
            stack.enter_context(created(url, run, 2))
        everyone = [
            child(run_worker, url, run, worker, 2, 4, climb=climb)
            for run, url in zip(runs, urls, strict=True)
            for worker in range(2)
        ]
        for one in everyone:
            assert one.result()[1].tobytes() == expected_state(2, 4).tobytes()
    assert [[holds(node, run) for node in cluster.nodes] for run in runs] == np.eye(3, dtype=bool).tolist()


def test_a_slot_that_moves_in_the_middle_of_a_run_is_followed(cluster: Cluster, child: Start) -> None:
    run, (source, target) = cluster.run_on(0), cluster.nodes[:2]
    slot = key_slot(run_keys(run)[0].encode())
    ids = [text(node.ask("CLUSTER", "MYID")) for node in (source, target)]
    with one_waits(source.url, run, child) as (children, go):
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
        source.ask("CONFIG", "RESETSTAT")
        move(source, target, source.client.keys(f"biglambda:{{{run}}}:[ms]"))
        # Half of the keys are there: nobody may be answered from one half.
        until(lambda: {"errorstat_ASK", "errorstat_TRYAGAIN"} & source.client.info("errorstats").keys())
        move(source, target, source.client.keys(f"biglambda:{{{run}}}:*"))
        for node in (target, source):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
        go.set()
        for one in children:
            assert one.result()[1].tobytes() == expected_state(2, 6).tobytes()
    assert (holds(source, run), holds(target, run)) == (False, True)


def move(source: Node, target: Node, keys: list[bytes]) -> None:
    if keys:
        source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 1000, "AUTH", PASSWORD, "KEYS", *keys)


def test_a_slot_that_does_not_arrive_is_said(cluster: Cluster) -> None:
    source, target = cluster.nodes[:2]
    key = run_keys(cluster.run_on(0))[0]
    slot = key_slot(key.encode())
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", text(target.ask("CLUSTER", "MYID")))
    link = Link(source.url)
    try:
        with pytest.raises(RunError, match=r"is moving the keys of this run.*CLUSTER NODES"):
            link.call(lambda client: client.get(key), patience=4.0)
    finally:
        source.ask("CLUSTER", "SETSLOT", slot, "STABLE")
        link.close()


def test_a_cluster_has_no_numbered_databases(cluster: Cluster) -> None:
    with pytest.raises(RunError, match=r"has no database of that number.*a cluster has no other than 0"):
        check_server(f"{cluster.nodes[0].url}/1")


def test_a_killed_node_is_replaced_by_its_replica_and_else_ends_the_run(
    tmp_path: Path, child: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cluster_in(tmp_path, has_replica=True) as cluster:
        doomed, replica = cluster.nodes[0], cluster.nodes[3]
        # The first address is that of the node which will die.
        url = f"{doomed.url},127.0.0.1:{cluster.nodes[1].port}"
        with one_waits(url, cluster.run_on(0), child) as (children, go):
            until(lambda: offset(doomed, "master_repl_offset") == offset(replica, "slave_repl_offset"))
            doomed.kill()
            go.set()
            for one in children:
                assert one.result()[1].tobytes() == expected_state(2, 6).tobytes()

        monkeypatch.setattr(link_module, "FAILOVER_SECONDS", 0.0)
        with one_waits(url, cluster.run_on(0), child, patience=4.0) as (children, go):
            replica.kill()
            go.set()
            start = time.monotonic()
            for one in children:
                with pytest.raises(
                    RunError, match=rf"leads to .*:{replica.port}, cannot be reached|is a cluster in"
                ):
                    one.result(8)
            assert time.monotonic() - start < 8


@contextlib.contextmanager
def one_waits(
    url: str, run: str, child: Start, block: float = 0.2, **options: Any
) -> Iterator[tuple[list[Child], Any]]:
    """A run in its third iteration, in which the first worker waits for the second, which an event lets go on."""
    reached, go, pause = gate(3)
    with created(url, run, 2) as control:
        first = child(run_worker, url, run, 0, 2, 6, block=block, **options)
        second = child(run_worker, url, run, 1, 2, 6, block=block, before_push=pause, **options)
        assert reached.wait(10)
        until(lambda: (told := control.status()).iteration == 3 and told.waiting_for == (1,))
        yield [first, second], go


def offset(node: Node, name: str) -> int:
    return int(node.client.info("replication")[name])


def test_nodes_that_are_down_are_said_to_be(tmp_path: Path) -> None:
    node = Node(tmp_path, ["cluster-enabled yes", f"cluster-port {free_port()}"])  # with no slots at all
    try:
        with pytest.raises(RunError, match=r"is a cluster in which no node serves this run.*CLUSTER NODES"):
            Link(node.url).call(lambda client: client.get("x"), patience=4.0)
    finally:
        node.kill()
