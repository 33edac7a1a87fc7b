"""What an iteration costs the server as workers grow in number: ``python -m benchmarks.fleet``.

Workers without work: real connections and the real channel, many workers to a process, k-means' partials and
states. The last worker pushes when all others wait for the next state, and the release takes from there until
the last of them has it. All of them share this machine's CPUs with the server, and most of a release is their
turn to read the state: on machines of their own, what the server's CPU takes would be left, and the network.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, astuple, dataclass
from itertools import product

import numpy as np

from benchmarks.crowd import Call, Crowd
from benchmarks.usage import Meter, Usage
from biglambda.runtime.algorithm import State
from biglambda.runtime.channel.control import RunControl
from biglambda.runtime.channel.redis import RedisChannel
from biglambda.runtime.channel.server import start_server
from biglambda.runtime.trace import Trace

HOUR = 3600.0


@dataclass(frozen=True)
class Iteration:
    """What one iteration took.

    Attributes
    ----------
    commands, bytes_in, bytes_out, cpu : float
        Per worker: commands that clients sent (a script is one), bytes that the server received and sent, and
        seconds of its CPUs.
    release_cpu : float
        Seconds of the server's CPUs, for all workers together, from the last push on.
    release : float
        Seconds from the last push to the last worker that has the next state.
    """

    commands: float
    bytes_in: float
    bytes_out: float
    cpu: float
    release_cpu: float
    release: float


def commands_sent(used: Usage) -> int:
    """How many commands channels sent: scripts and blocking reads; all others ran inside scripts."""
    return used.calls["evalsha"] + used.calls["eval"] + used.calls["xread"]


class KMeans:
    """A worker of k-means without rows. Its partials are k sums of d features, k counts, and three numbers more.

    Parameters
    ----------
    url, run, worker, workers
        See `RedisChannel`.
    k, d : int
    """

    def __init__(self, url: str, run: str, worker: int, workers: int, k: int, d: int) -> None:
        self._channel = RedisChannel(url, run, worker, workers, trace=Trace())
        self._shape = k, d
        self._worker, self._partial = worker, np.ones(k * d + k + 3)
        self._iteration, self._state, _ = self._channel.join()

    def iterate(self) -> None:
        """Push, and wait for the next state."""
        k, d = self._shape
        self._partial[: k * d] = self._iteration * (self._worker + 1)
        self._iteration, self._state, _ = self._channel.all_reduce(
            self._iteration, self._partial, "sum", self._update
        )

    def _update(self, total: np.ndarray) -> tuple[State, bool]:
        k, d = self._shape
        totals, counts = total[: k * d].reshape(k, d), total[k * d : -3]
        return kmeans_state(totals / counts[:, None], self._state["centers"]), False


def kmeans_state(centers: np.ndarray, previous: np.ndarray) -> State:
    """What the state of k-means weighs."""
    return {"centers": centers, "previous": previous, "inertia": 0.0, "shift": 0.0, "converged": False}


@contextmanager
def fleet(url: str, workers: int, k: int, d: int) -> Iterator[Callable[[], Iteration]]:
    """A run whose last worker is in this process. Yields what measures its next iteration.

    Nothing else may wait in the server meanwhile.
    """
    run, nothing = uuid.uuid4().hex, np.zeros((k, d))

    def make(worker: int) -> Call:
        return KMeans(url, run, worker, workers, k, d).iterate

    with closing(RunControl(url, run, workers, lease=HOUR, ttl=HOUR)) as control, closing(Meter(url)) as meter:
        control.create(kmeans_state(nothing, nothing))
        with Crowd({"iterate": make}, workers - 1) as crowd:
            push_last = make(workers - 1)

            def iteration() -> Iteration:
                meter.begin()
                crowd.start("iterate")
                meter.wait_for_blocked(workers - 1)
                pushing = meter.used()
                meter.begin()
                pushed = time.monotonic()
                push_last()
                here = time.monotonic()
                _, ended = crowd.join()
                releasing = meter.used()
                used = pushing.plus(releasing)
                return Iteration(
                    commands_sent(used) / workers,
                    used.bytes_in / workers,
                    used.bytes_out / workers,
                    used.cpu / workers,
                    releasing.cpu,
                    float(max(here, *ended) - pushed),
                )

            yield iteration


def measure(
    url: str, workers: Sequence[int], ks: Sequence[int], d: int = 16, iterations: int = 9
) -> dict[tuple[int, int], list[Iteration]]:
    """The iterations of each fleet by (workers, k), taking turns, after one unmeasured."""
    with ExitStack() as stack:
        fleets = {(w, k): stack.enter_context(fleet(url, w, k, d)) for k, w in product(ks, workers)}
        rounds = [{name: iterate() for name, iterate in fleets.items()} for _ in range(iterations + 1)]
    return {name: [one[name] for one in rounds[1:]] for name in fleets}


def median(iterations: Sequence[Iteration]) -> Iteration:
    """The median of each figure."""
    return Iteration(*map(statistics.median, zip(*map(astuple, iterations), strict=True)))


def main() -> None:
    """Print each fleet's figures, and how they grow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 50, 100, 400])
    parser.add_argument("-k", "--k", type=int, nargs="+", default=[10, 25])
    parser.add_argument("-d", "--d", type=int, default=16)
    parser.add_argument("--iterations", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with start_server() as server:
        measured = measure(server.url, options.workers, options.k, options.d, options.iterations)
    if options.json:
        rows = [
            {"workers": w, "k": k, "d": options.d, **asdict(one)}
            for (w, k), found in measured.items()
            for one in found
        ]
        print(json.dumps(rows))
        return
    fewest = min(options.workers)
    print(f"d = {options.d}, medians of {options.iterations} iterations; per worker, but for the release")
    print("   k  workers  commands  bytes in  bytes out  server CPU (x)   its release CPU (x)    release (x)")
    for (workers, k), found in measured.items():
        one, first = median(found), median(measured[fewest, k])
        print(
            f"{k:>4} {workers:>8} {one.commands:>9.2f} {one.bytes_in:>9.0f} {one.bytes_out:>10.0f}"
            f" {1e6 * one.cpu:>6.0f} us {one.cpu / first.cpu:>5.1f}"
            f" {1e3 * one.release_cpu:>10.2f} ms {one.release_cpu / first.release_cpu:>7.1f}"
            f" {1e3 * one.release:>7.1f} ms {one.release / first.release:>5.1f}"
        )
    print(f"(x): times that of {fewest} workers")


if __name__ == "__main__":
    main()
