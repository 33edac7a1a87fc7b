"""Whether the kernels chosen are the fastest ones: ``python -m benchmarks.paths``.

Runs each path at each shape, interleaved, on one thread, and prints where the chosen path takes longer than the
best of them. The choice depends on features, centres and dtype alone, so that all workers of a run choose alike:
rows fill as many bytes at every shape, more than most caches hold.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from itertools import product
from typing import NamedTuple

import numpy as np

from biglambda.bench.timing import interleaved, timed
from biglambda.kernels import choose_path, lloyd, logistic, pack_centers, quantum, quantum_pair
from biglambda.kernels.centers import PATHS as LLOYD_PATHS
from biglambda.kernels.scores import PATHS as LOGISTIC_PATHS
from biglambda.kernels.scores import choose_logistic_path

LLOYD_FEATURES = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 50, 64, 96, 128, 192, 256, 400, 784)
LLOYD_CENTERS = (1, 2, 3, 5, 8, 10, 12, 15, 20, 30, 50, 100)
LOGISTIC_FEATURES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 15, 16, 17, 20, 24, 25, 31, 32, 40, 64, 100, 256)
LANES_END = 16  # features up to which k-means with totals in lanes is tried
ROW_BYTES = 24_000_000
WITHIN = 1.10


class Choice(NamedTuple):
    """A shape, the path chosen for it, and the seconds of each path."""

    kernel: str
    d: int
    k: int
    dtype: str
    chosen: str
    seconds: dict[str, float]

    @property
    def best(self) -> str:
        """The fastest path."""
        return min(self.seconds, key=self.seconds.__getitem__)

    @property
    def loss(self) -> float:
        """How many times longer the chosen path takes than the best: 1.0 if it is the best."""
        return self.seconds[self.chosen] / self.seconds[self.best]

    def __str__(self) -> str:
        times = ", ".join(f"{path} {1e3 * value:.2f} ms" for path, value in self.seconds.items())
        return f"{self.kernel} {self.dtype} d={self.d} k={self.k}: {self.chosen} {self.loss:.2f} ({times})"


def lloyd_calls(d: int, k: int, dtype: str, row_bytes: int) -> dict[str, Callable[[], object]]:
    """An iteration of k-means by each path."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((max(k, row_bytes // (d * np.dtype(dtype).itemsize)), d)).astype(dtype)
    m = len(x)
    centers, shift = x[:k].astype(np.float64), np.zeros(d)
    quanta = np.concatenate([quantum(np.full(d, 8.0 * m)), [1.0], quantum_pair(64.0 * m * d, m)])
    labels, totals, counts = np.zeros(m, np.int32), np.zeros((k, d)), np.zeros(k)

    def call(path: str) -> Callable[[], object]:
        packed = pack_centers(centers, shift, np.dtype(dtype), path)
        return lambda: lloyd(x, packed, quanta, labels, totals, counts)

    return {path: call(path) for path in LLOYD_PATHS if path != "few_features" or d <= LANES_END}


def logistic_calls(d: int, dtype: str, row_bytes: int) -> dict[str, Callable[[], object]]:
    """A gradient by each path."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((row_bytes // (d * np.dtype(dtype).itemsize), d)).astype(dtype)
    m = len(x)
    target, weights = generator.integers(0, 2, m).astype(dtype), generator.standard_normal(d + 1) / d
    quanta, gradient = quantum(np.full(d + 2, 64.0 * m)), np.zeros(d + 1)

    def call(path: str) -> Callable[[], object]:
        return lambda: logistic(x, target, weights, quanta, gradient, path=path)

    return {path: call(path) for path in LOGISTIC_PATHS}


def sweep(
    rounds: int,
    lloyd_shapes: list[tuple[int, int]],
    logistic_features: list[int],
    row_bytes: int = ROW_BYTES,
    dtypes: tuple[str, ...] = ("float32", "float64"),
) -> Iterator[Choice]:
    """Measure the paths at each shape and dtype."""

    def choice(kernel: str, d: int, k: int, dtype: str, chosen: str, calls: dict) -> Choice:
        seconds = interleaved({path: timed(call) for path, call in calls.items()}, rounds, pause=0.0)
        # The fastest of the rounds: only the work of others makes a round slower, and all paths had as many.
        return Choice(kernel, d, k, dtype, chosen, {path: min(values) for path, values in seconds.items()})

    for dtype, (d, k) in product(dtypes, lloyd_shapes):
        yield choice("k-means", d, k, dtype, choose_path(d, k, dtype), lloyd_calls(d, k, dtype, row_bytes))
    for dtype, d in product(dtypes, logistic_features):
        chosen = choose_logistic_path(d, np.dtype(dtype))
        yield choice("logistic", d, 0, dtype, chosen, logistic_calls(d, dtype, row_bytes))


def main() -> None:
    """Print the shapes whose path is not within a tenth of the best, and how many are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--all", action="store_true", help="print every shape")
    options = parser.parse_args()
    found: list[Choice] = []
    for one in sweep(options.rounds, list(product(LLOYD_FEATURES, LLOYD_CENTERS)), list(LOGISTIC_FEATURES)):
        found.append(one)
        if options.all or one.loss > WITHIN:
            print(one, flush=True)
    good, worst = sum(one.loss <= WITHIN for one in found), max(found, key=lambda one: one.loss)
    print(f"{good} of {len(found)} shapes within {WITHIN - 1:.0%} of the best path; the worst: {worst}")


if __name__ == "__main__":
    main()
