"""What sums that do not depend on the order of addition cost: ``python -m benchmarks.exact_sums``.

Compares the kernels with a copy of themselves in which chunk totals are added as they are, without rounding.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np

from biglambda import kernels
from biglambda.bench.dense import Logistic
from biglambda.bench.kmeans import SHAPES
from biglambda.bench.timing import interleaved, median_ratio, timed

ROUNDED, PLAIN = "rounded", "as they are"
WITHOUT_ROUNDING = """

@inline
def rounded(x, unit):
    return x


@inline
def split(x, units, at):
    return x, 0.0
"""


@contextmanager
def kernels_without_rounding() -> Iterator[ModuleType]:
    """A copy of the package of kernels under another name."""
    name = "biglambda_kernels_without_rounding"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / name
        source = Path(kernels.__file__).parent
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        with (copy / "exact.py").open("a") as file:
            file.write(WITHOUT_ROUNDING)
        spec = importlib.util.spec_from_file_location(name, copy / "__init__.py")
        assert spec
        assert spec.loader
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
            yield module
        finally:
            for loaded in [key for key in sys.modules if key.partition(".")[0] == name]:
                del sys.modules[loaded]


def lloyd_call(of: ModuleType, x: np.ndarray, k: int) -> Callable[[], object]:
    """An iteration of k-means by these kernels."""
    n, d = x.shape
    packed = of.pack_centers(x[:k].astype(np.float64), np.zeros(d), x.dtype)
    units = of.quantum(np.full(d, 8.0 * n)), [1.0], of.quantum_pair(64.0 * n * d, n)
    quanta, labels = np.concatenate(units), np.zeros(n, np.int32)
    return lambda: of.lloyd(x, packed, quanta, labels, np.zeros((k, d)), np.zeros(k))


def logistic_call(of: ModuleType, x: np.ndarray) -> Callable[[], object]:
    """A gradient by these kernels."""
    n, d = x.shape
    target, weights = (x[:, 0] > 0).astype(x.dtype), np.full(d + 1, 1.0 / d)
    quanta = of.quantum(np.full(d + 2, 64.0 * n))
    return lambda: of.logistic(x, target, weights, quanta, np.zeros(d + 1))


def sweep(rounds: int, divide: int = 1) -> Iterator[tuple[str, dict[str, list[float]]]]:
    """Seconds of both at each shape; rows are a part of the shape's if ``divide`` is more than 1."""
    with kernels_without_rounding() as plain:
        for dtype in ("float32", "float64"):
            for n, d, k in (*SHAPES, *((n, d, 0) for n, d, _ in Logistic.shapes)):
                rows = max(k, n // divide)
                x = np.random.default_rng(0).standard_normal((rows, d), np.float32).astype(dtype)
                calls = {
                    name: timed(lloyd_call(of, x, k) if k else logistic_call(of, x))
                    for name, of in ((ROUNDED, kernels), (PLAIN, plain))
                }
                name = f"{'k-means' if k else 'logistic'} {rows} x {d}" + (f", k={k}" if k else "")
                yield f"{name}, {dtype}", interleaved(calls, rounds, pause=0.0)


def main() -> None:
    """Print by how much the rounded sums are slower."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    costs = []
    for name, seconds in sweep(options.rounds):
        cost, time = 100 / median_ratio(seconds, ROUNDED, PLAIN) - 100, 1e3 * statistics.median(seconds[ROUNDED])
        costs.append(cost)
        print(f"{name:<40} {time:8.2f} ms {cost:+6.1f} %", flush=True)
    print(f"exact sums cost {statistics.median(costs):+.1f} % in the median, {max(costs):+.1f} % at most")


if __name__ == "__main__":
    main()
