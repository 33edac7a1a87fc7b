"""What an iteration costs in Redis."""

from __future__ import annotations

import numpy as np
import redis as redis_client
from harness import run_workers

from biglambda.algorithms.kmeans import kmeans_algorithm
from biglambda.runtime.channel.server import start_server
from biglambda.runtime.data import describe

WORKERS = 4
SENT_BY_CLIENTS = (
    "evalsha",
    "eval",
    "xread",
    "hello",
    "auth",
    "client|setinfo",
    "client|setname",
    "ping",
    "select",
)


def commands(iterations: int) -> int:
    """Commands that the server received in a run, from connecting on, by its own statistics."""
    x = np.random.default_rng(0).standard_normal((40_000, 4))
    source = describe(x)
    algorithm = kmeans_algorithm(source, 8, x[:8], 1, iterations, 0.0, 0)
    with start_server() as server, redis_client.Redis.from_url(server.url) as client:
        state, _, _ = run_workers(source, algorithm, WORKERS, server.url)
        assert state["n_iter"] == iterations
        statistics = client.info("commandstats")
    names = [f"cmdstat_{name}" for name in SENT_BY_CLIENTS]
    return sum(statistics[name]["calls"] for name in names if name in statistics)


def test_two_commands_per_worker_and_iteration() -> None:
    few, many = commands(5), commands(25)
    assert 1.9 <= (many - few) / (WORKERS * 20) <= 2.1
    # All in all: 2 more passes, two commands for each worker's connection, what the client creates and asks, and
    # on a new server some pushes that find their script unknown.
    assert many <= 2 * WORKERS * (25 + 2) + 2 * WORKERS + 20
