"""Threads against the paper's processes, on the same kernels and rows: ``python -m benchmarks.inner_workers``.

An iteration of k-means as the loop runs it: the state's centres are packed, the inner workers label and total
their parts, the partials are added. Processes are forked anew for each iteration and send totals and labels
through pipes, as in the paper; `without labels` leaves the labels in the children.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from contextlib import ExitStack
from functools import reduce

import numpy as np

from benchmarks.timing import interleaved, median_ratio, table
from biglambda.algorithms.kmeans import kmeans_algorithm
from biglambda.runtime.data import describe
from biglambda.runtime.inner import Inner, make_inner
from biglambda.runtime.rows import Rows

THREADS, PROCESSES, WITHOUT_LABELS, SERIAL = "threads", "processes", "processes, without labels", "serial"


def measure(
    n: int = 1_000_000, d: int = 16, k: int = 25, inner_workers: int = 2, rounds: int = 15, dtype: str = "float32"
) -> dict[str, list[float]]:
    """Seconds per iteration of each kind of inner workers."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((n, d)).astype(dtype)
    algorithm = kmeans_algorithm(describe(x), k, x[:k].astype(np.float64), 1, 300, 0.0, 0)
    rows = Rows(x, memory={name: np.zeros(n, kind) for name, kind in algorithm.memory.items()})
    algorithm.load(rows)
    state = algorithm.initial_state()
    with make_inner("serial") as inner:
        while state["pass"] != "lloyd" or state["n_iter"] == 0:
            partials = inner.map(algorithm.partial(state), rows, ())
            state = algorithm.update(state, reduce(np.add, partials))
    rows.fresh = False

    def iteration(inner: Inner, writes: tuple[str, ...]) -> Callable[[], object]:
        return lambda: reduce(np.add, inner.map(algorithm.partial(state), rows, writes))

    with ExitStack() as stack:
        threads = stack.enter_context(make_inner("threads", inner_workers))
        processes = stack.enter_context(make_inner("processes", inner_workers))
        serial = stack.enter_context(make_inner("serial"))
        calls = {
            THREADS: iteration(threads, ("labels",)),
            PROCESSES: iteration(processes, ("labels",)),
            WITHOUT_LABELS: iteration(processes, ()),
            SERIAL: iteration(serial, ("labels",)),
        }
        return interleaved(calls, rounds)


def main() -> None:
    """Print times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=16)
    parser.add_argument("-k", "--clusters", type=int, default=25)
    parser.add_argument("--inner-workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    seconds = measure(
        options.rows, options.features, options.clusters, options.inner_workers, options.rounds, options.dtype
    )
    ratios = {name: median_ratio(seconds, THREADS, name) for name in (PROCESSES, WITHOUT_LABELS, SERIAL)}
    if options.json:
        print(json.dumps({"seconds": seconds, "times_slower_than_threads": ratios}))
        return
    print(f"{options.rows:,} x {options.features} {options.dtype}, k = {options.clusters}, per iteration")
    print(table(seconds))
    for name, ratio in ratios.items():
        print(f"threads are {ratio:.2f} times as fast as {name}")


if __name__ == "__main__":
    main()
