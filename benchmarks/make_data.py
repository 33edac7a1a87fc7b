"""Making rows and writing them: ``python -m benchmarks.make_data``.

Ours on all CPUs and on one thread, beside scikit-learn's `make_blobs` and what writes such a file in one call:
`numpy.save`, pandas' `to_csv` and `to_parquet`. All write to the same folder and wait for the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas
from sklearn.datasets import make_blobs

from benchmarks.timing import interleaved, table
from biglambda import make_data

OURS, ONE_THREAD, RIVAL = "biglambda, all CPUs", "biglambda, one thread", "scikit-learn, NumPy and pandas"
FORMATS = ("npy", "csv", "parquet")


def rival(path: Path, kind: str, n: int, d: int) -> None:
    """Blobs in a file, as one makes them without us."""
    x, _ = make_blobs(n, d, centers=8, random_state=0)
    with open(path, "wb") as file:
        if kind == "npy":
            np.save(file, x)
        else:
            frame = pandas.DataFrame(x, columns=[f"x{number}" for number in range(d)])
            write = frame.to_csv if kind == "csv" else frame.to_parquet
            write(file, index=False)
            file.flush()
        os.fsync(file.fileno())


def measure(kind: str, n: int, d: int, rounds: int) -> tuple[dict[str, list[float]], int]:
    """Seconds of each way in each round, and the bytes of our files."""
    with tempfile.TemporaryDirectory() as folder:
        ours = partial(make_data, "blobs", Path(folder, "ours"), n, d, format=kind, overwrite=True)
        calls: dict[str, Callable[[], object]] = {
            OURS: ours,
            ONE_THREAD: partial(ours, inner_workers=1),
            RIVAL: partial(rival, Path(folder, f"rival.{kind}"), kind, n, d),
        }
        seconds = interleaved(calls, rounds)
        return seconds, sum(path.stat().st_size for path in Path(folder, "ours").glob("part-*"))


def main() -> None:
    """Print times and rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--format", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--features", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = {}
    for kind in options.format:
        seconds, size = measure(kind, options.rows, options.features, options.rounds)
        found[kind] = {"seconds": seconds, "bytes": size}
        if not options.json:
            print(f"{kind}, {options.rows:,} rows x {options.features} float64, {size / 1e6:,.0f} MB")
            print(table(seconds, "s"))
            for name, values in seconds.items():
                median = float(np.median(values))
                print(f"{name:<34}{options.rows / median:>12,.0f} rows/s{size / median / 1e6:>8,.0f} MB/s")
            print()
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
