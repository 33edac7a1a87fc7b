"""Whole processes from a CSV file to a fit: ``python -m benchmarks.whole_process``.

Each measurement is a process of its own, from start to exit: Python, imports, reading the file, 10 iterations
from given centres. The rival reads with pyarrow and fits with scikit-learn, on all cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.timing import clean_environment, interleaved, median_ratio, table

HERE, LITHOPS, RIVAL = "biglambda, this process", "biglambda, Lithops, 2 workers", "pyarrow + scikit-learn"

_OURS = """
import numpy, sys
from biglambda import fit_kmeans
if __name__ == "__main__":
    centers = numpy.load(sys.argv[2])
    result = fit_kmeans(sys.argv[1], {k}, init=centers, max_iter={iterations}, tol=0.0, workers={workers})
    print(repr(result.inertia), result.n_iter, len(result.labels))
"""

_RIVAL = """
import sys
import numpy
from pyarrow import csv
from sklearn.cluster import KMeans
table = csv.read_csv(sys.argv[1])
x = numpy.column_stack([column.to_numpy() for column in table.columns])
model = KMeans({k}, init=numpy.load(sys.argv[2]), n_init=1, max_iter={iterations}, tol=0.0).fit(x)
print(repr(float(model.inertia_)), model.n_iter_, len(model.labels_))
"""


def write_data(directory: Path, n: int, d: int, k: int) -> tuple[Path, Path]:
    """A CSV file of overlapping clusters, and initial centres that are not rows of it."""
    import pyarrow
    from pyarrow import csv

    generator = np.random.default_rng(0)
    middles = 0.5 * generator.standard_normal((k, d))
    x = middles[generator.integers(k, size=n)] + generator.standard_normal((n, d))
    csv.write_csv(pyarrow.table({f"x{i}": x[:, i] for i in range(d)}), directory / "rows.csv")
    np.save(directory / "centers.npy", middles + generator.standard_normal((k, d)))
    return directory / "rows.csv", directory / "centers.npy"


def measure(
    n: int = 1_000_000, d: int = 16, k: int = 25, iterations: int = 10, rounds: int = 5
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Seconds of each process, and what it printed: inertia, iterations, number of labels."""
    printed: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="biglambda-benchmark-") as directory:
        rows, centers = write_data(Path(directory), n, d, k)

        def process(name: str, code: str) -> Callable[[], None]:
            def call() -> None:
                done = subprocess.run(
                    [sys.executable, "-c", code, str(rows), str(centers)],
                    env=clean_environment(),
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                    timeout=600,
                )
                printed[name] = done.stdout.strip()

            return call

        values = {"k": k, "iterations": iterations}
        calls = {
            HERE: process(HERE, _OURS.format(workers=1, **values)),
            LITHOPS: process(LITHOPS, _OURS.format(workers=2, **values)),
            RIVAL: process(RIVAL, _RIVAL.format(**values)),
        }
        return interleaved(calls, rounds), printed


def main() -> None:
    """Print times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    seconds, printed = measure(n=options.rows, rounds=options.rounds)
    shares = {name: 1 / median_ratio(seconds, name, RIVAL) for name in (HERE, LITHOPS)}
    if options.json:
        print(json.dumps({"seconds": seconds, "share_of_rival": shares, "printed": printed}))
        return
    print(table(seconds, "s"))
    for name, text in printed.items():
        print(f"{name:<34}inertia, iterations, labels: {text}")
    for name, share in shares.items():
        print(f"{name} takes {share:.2f} of {RIVAL}'s time")


if __name__ == "__main__":
    main()
