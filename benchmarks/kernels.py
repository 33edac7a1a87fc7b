"""The kernels against other libraries: ``python -m benchmarks.kernels --table kmeans``.

Prints our time, its share of what the machine can do, and how many times as long the others took: medians over
interleaved rounds. Times of scikit-learn, sklearnex and faiss are those of one more iteration of their public fit.
A table takes minutes; ``--part 2/6`` measures the second sixth of it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from biglambda.bench.timing import forget_slow_settings

NOTE = forget_slow_settings()  # before NumPy is imported

import numpy as np  # noqa: E402

from biglambda.bench.case import Case, Shape  # noqa: E402
from biglambda.bench.dense import Logistic  # noqa: E402
from biglambda.bench.kmeans import Lloyd  # noqa: E402
from biglambda.bench.machine import Elsewhere  # noqa: E402
from biglambda.bench.measure import Measurement, measure  # noqa: E402
from biglambda.bench.newton import Hessian, Softmax  # noqa: E402
from biglambda.bench.report import aligned_table, ratio_header, ratio_row, smallest_ratio  # noqa: E402

MOST_BYTES = 1 << 30  # of random rows in float64


def random_shapes(count: int = 30, seed: int = 0) -> list[Shape]:
    """Log-uniform shapes: 10,000 <= n <= 2,000,000, 1 <= d <= 1000, 2 <= k <= 500 and 1e7 <= n * d * k <= 1e10."""
    generator = np.random.default_rng(seed)
    shapes: list[Shape] = []
    while len(shapes) < count:
        low, high = np.log([[1e4, 1, 2], [2e6, 1000, 500]])
        n, d, k = (round(x) for x in np.exp(generator.uniform(low, high)))
        if 1e7 <= n * d * k <= 1e10 and 8 * n * d <= MOST_BYTES:
            shapes.append(Shape(n, d, k))
    return shapes


TABLES: dict[str, tuple[type[Case], tuple[Shape, ...]]] = {
    "kmeans": (Lloyd, Lloyd.shapes),
    "random": (Lloyd, tuple(random_shapes())),
    "logistic": (Logistic, Logistic.shapes),
    "softmax": (Softmax, Softmax.shapes),
    "hessian": (Hessian, Hessian.shapes),
}


def part_of(items: list[Any], part: tuple[int, int]) -> list[Any]:
    """The i-th of n parts of a list, which have nearly equal lengths."""
    index, parts = part
    return items[(index - 1) * len(items) // parts : index * len(items) // parts]


def run(
    table: str,
    rounds: int,
    dtypes: Sequence[str] = ("float32", "float64"),
    threads: Sequence[int] = (1, 2),
    part: tuple[int, int] = (1, 1),
    shapes: Sequence[Shape] | None = None,
) -> list[Measurement]:
    """Measure a table, or a part of it, and print it as it grows."""
    case, own_shapes = TABLES[table]
    wanted = part_of(list(product(shapes or own_shapes, dtypes, threads)), part)
    measured: list[Measurement] = []
    elsewhere = Elsewhere()
    rivals = list(case.rivals)
    ready: Case | None = None
    for shape, dtype, count in wanted:
        if ready is None or (ready.shape, ready.dtype) != (shape, np.dtype(dtype)):
            ready = case(shape, dtype)
        measured.append(measure(ready, count, rounds))
        rows = [ratio_header(rivals), *(ratio_row(one, rivals) for one in measured)]
        lines = aligned_table(rows).splitlines()
        print("\n".join(lines if len(measured) == 1 else lines[-1:]), flush=True)
    print(smallest_ratio(measured))
    print(elsewhere)
    return measured


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", choices=TABLES, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--dtype", nargs="+", choices=("float32", "float64"), default=["float32", "float64"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--part", default="1/1", metavar="I/N")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if NOTE:
        print(NOTE)
    index, parts = map(int, options.part.split("/"))
    measured = run(options.table, options.rounds, options.dtype, options.threads, (index, parts))
    if options.json:
        options.json.write_text(json.dumps([one.as_dict() for one in measured]))


if __name__ == "__main__":
    main()
