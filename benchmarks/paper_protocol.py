"""How workers share state here and in the paper: ``python -m benchmarks.paper_protocol``.

The paper's workers add to `Array`s of lithops.multiprocessing, cluster by cluster under a `Lock` each, and meet at
a `Barrier` before and after worker 0 divides. Both protocols run in the same worker processes on the same server,
taking turns, without rows: what is left is how partials meet. ``--delay`` has every request to the server take
longer, for both alike.
"""

from __future__ import annotations

import argparse
import json
import pickle
import statistics
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, fields
from functools import partial

import numpy as np
from lithops.multiprocessing import Array, Barrier, Lock, RawValue
from lithops.multiprocessing import util as lithops_util
from redis.connection import parse_url

from benchmarks.crowd import Call, Crowd
from benchmarks.delay import delayed
from benchmarks.fleet import HOUR, KMeans, commands_sent, kmeans_state
from benchmarks.usage import Meter, Usage
from biglambda.runtime.channel.control import RunControl
from biglambda.runtime.channel.server import start_server

OURS, PAPER = "biglambda", "paper"
ITERATIONS = {OURS: 20, PAPER: 2}


@dataclass(frozen=True)
class Cost:
    """What an iteration takes in one protocol.

    Attributes
    ----------
    commands, round_trips, bare, cpu : float
        Per worker: commands that clients sent (a script is one); requests, of which a transaction is one; commands
        without the transactions in which Lithops renews the time to live of what it uses; and seconds of the
        server's CPUs.
    seconds : float
        From the first worker that begins to the last one that has the next state.
    """

    commands: float
    round_trips: float
    bare: float
    cpu: float
    seconds: float


class PaperKMeans:
    """What the workers of the paper share, and what one of them does in an iteration.

    Parameters
    ----------
    workers, k, d : int
    """

    def __init__(self, workers: int, k: int, d: int) -> None:
        self.centers = Array("d", [np.zeros(d) for _ in range(k)])
        self._totals = Array("d", [0 for _ in range(k)])
        self._counters = Array("i", [0 for _ in range(k)])
        self._converged = RawValue("i", 0)
        self._barrier = Barrier(workers)
        self._locks = [Lock() for _ in range(k)]
        self._iteration, self._d = 0, d

    def iterate(self, worker: int) -> None:
        """Read the centres, add the partial, wait until worker 0 has divided, look whether that was the end."""
        self._iteration += 1
        total = np.full(self._d, self._iteration * (worker + 1.0))
        centers = self.centers[:]
        for cluster, lock in enumerate(self._locks):
            with lock:
                self._counters[cluster] += 1
                self._totals[cluster] += total
        self._barrier.wait()
        if worker == 0:
            self._divide(centers)
        self._barrier.wait()
        if self._converged.value:
            raise RuntimeError("the centres are those of the iteration before: an iteration was lost")

    def keep(self) -> None:
        """Delete nothing in the server when this object goes: it may go later than the server."""
        arrays, condition = (self.centers, self._totals, self._counters), self._barrier._cond
        locks = (*self._locks, *(array.get_lock() for array in arrays), condition._lock)
        for owner in (*arrays, *locks, self._converged, self._barrier, condition):
            owner._ref.managed = True

    def _divide(self, old: Sequence[np.ndarray]) -> None:
        new = []
        for cluster in range(len(old)):
            count, total = self._counters[cluster], self._totals[cluster]
            new.append(total / count)
            self.centers[cluster] = new[-1]
            self._counters[cluster] = 0
            self._totals[cluster] = 0
        if np.allclose(new, old):
            self._converged.value = 1


@contextmanager
def lithops_redis(url: str) -> Iterator[None]:
    """Have lithops.multiprocessing use this server; without a time-out, at which its waits would break off."""
    server = parse_url(url)
    where = {"unix_socket_path": server["path"]} if "path" in server else {x: server[x] for x in ("host", "port")}
    settings = {**where, "password": server["password"], "socket_timeout": None}
    before = lithops_util.LITHOPS_CONFIG, lithops_util.REDIS_CLIENT
    lithops_util.LITHOPS_CONFIG, lithops_util.REDIS_CLIENT = {"redis": settings}, None
    try:
        yield
    finally:
        lithops_util.LITHOPS_CONFIG, lithops_util.REDIS_CLIENT = before


def paper_commands(used: Usage) -> int:
    """How many commands clients of lithops.multiprocessing sent.

    The script that releases a lock calls LLEN and RPUSH, which are no commands of clients.
    """
    return used.calls.total() - 2 * used.calls["evalsha"]


def renewals(used: Usage) -> int:
    """How many of them only renew the time to live of a key."""
    return sum(used.calls[name] for name in ("multi", "expire", "exec"))


@dataclass(frozen=True)
class Comparison:
    """Costs of both protocols, round by round, and the centres that they ended with."""

    costs: dict[str, list[Cost]]
    centers: dict[str, np.ndarray]

    def median(self, protocol: str, figure: str) -> float:
        """The median of a figure of `Cost`."""
        return statistics.median(getattr(cost, figure) for cost in self.costs[protocol])

    def ratio(self, figure: str) -> float:
        """How many times more of it the paper's protocol takes: the median over the rounds."""
        pairs = zip(self.costs[OURS], self.costs[PAPER], strict=True)
        return statistics.median(getattr(paper, figure) / getattr(ours, figure) for ours, paper in pairs)


def compare(
    url: str,
    workers: int,
    k: int,
    d: int = 16,
    *,
    rounds: int = 7,
    delay: float = 0.0,
    processes: int | None = None,
    iterations: Mapping[str, int] = ITERATIONS,
) -> Comparison:
    """Run both, taking turns.

    Parameters
    ----------
    url : str
        Of the server; nothing else happens there meanwhile.
    workers, k, d : int
    rounds : int
        How often each has its turn, after one that is not measured.
    delay : float
        Seconds by which each request to the server is delayed.
    processes : int, optional
        Among which the workers are divided; by default each has its own.
    iterations : mapping of str to int
        How many iterations a turn of each has.
    """
    with ExitStack() as stack:
        run, through = uuid.uuid4().hex, stack.enter_context(delayed(url, delay)) if delay else url
        stack.enter_context(lithops_redis(through))
        meter = stack.enter_context(closing(Meter(url)))
        control = stack.enter_context(closing(RunControl(url, run, workers, lease=HOUR, ttl=HOUR)))
        control.create(kmeans_state(np.zeros((k, d)), np.zeros((k, d))))
        shared = PaperKMeans(workers, k, d)
        copies = [pickle.dumps(shared) for _ in range(workers)]
        shared.keep()

        def ours(worker: int) -> Call:
            return KMeans(through, run, worker, workers, k, d).iterate

        def paper(worker: int) -> Call:
            return partial(pickle.loads(copies[worker]).iterate, worker)

        crowd = stack.enter_context(Crowd({OURS: ours, PAPER: paper}, workers, processes=processes or workers))

        def turn(protocol: str) -> Cost:
            meter.begin()
            crowd.start(protocol, iterations[protocol])
            began, ended = crowd.join()
            used = meter.used()
            commands = commands_sent(used) if protocol == OURS else paper_commands(used)
            times = iterations[protocol]
            totals = np.array([commands, used.requests, commands - renewals(used), used.cpu])
            return Cost(*(totals / (workers * times)).tolist(), (max(ended) - min(began)) / times)

        turns = [{protocol: turn(protocol) for protocol in iterations} for _ in range(rounds + 1)]
        newest = control.status().newest
        assert newest is not None
        centers = {OURS: newest["centers"], PAPER: np.array(shared.centers[:])}
    return Comparison({protocol: [one[protocol] for one in turns[1:]] for protocol in iterations}, centers)


def main() -> None:
    """Print what an iteration costs in both, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("-k", "--k", type=int, nargs="+", default=[10, 25])
    parser.add_argument("-d", "--d", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--delay", type=float, default=0.0, metavar="MS", help="of each request, in milliseconds")
    parser.add_argument("--processes", type=int, help="among which workers are divided; else each has its own")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with start_server() as server:
        measured = partial(compare, server.url, options.workers, d=options.d, rounds=options.rounds)
        how = {"delay": 1e-3 * options.delay, "processes": options.processes}
        found = {k: measured(k, **how) for k in options.k}
    if options.json:
        costs = {
            k: {name: [asdict(cost) for cost in one.costs[name]] for name in one.costs} for k, one in found.items()
        }
        print(json.dumps({"workers": options.workers, "d": options.d, "delay_ms": options.delay, "k": costs}))
        return
    print(
        f"{options.workers} workers, d = {options.d}, requests delayed by {options.delay} ms, medians of "
        f"{options.rounds} rounds; all but the time per worker and iteration"
    )
    print(f"{'':<18}{'commands':>10}{'round trips':>13}{'bare':>9}{'server CPU':>13}{'time':>12}")
    for k, one in found.items():
        for protocol in (OURS, PAPER):
            commands, trips, bare, cpu, seconds = (one.median(protocol, field.name) for field in fields(Cost))
            print(
                f"{f'{protocol}, k={k}':<18}{commands:>10.2f}{trips:>13.2f}{bare:>9.2f}{1e6 * cpu:>10.0f} us"
                f"{1e3 * seconds:>9.2f} ms"
            )
        ratios = (one.ratio(field.name) for field in fields(Cost))
        print(f"{'  times ours':<18}" + "{:>9.1f}x{:>12.1f}x{:>8.1f}x{:>12.1f}x{:>11.1f}x".format(*ratios))


if __name__ == "__main__":
    main()
