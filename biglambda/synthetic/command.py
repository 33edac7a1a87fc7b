"""``biglambda make-data``."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command that are its own."""
    parser.add_argument("kind", choices=("blobs", "logistic"), help="clusters, or rows with a target of 0 or 1")
    parser.add_argument("--rows", type=int, required=True, metavar="N", help="how many")
    parser.add_argument("--features", type=int, required=True, metavar="D", help="columns, without the target")
    parser.add_argument("--out", required=True, metavar="PLACE", help="a directory, or s3://bucket/prefix")
    parser.add_argument(
        "--format", choices=("npy", "csv", "parquet"), default="npy", help="of the parts (default: %(default)s)"
    )
    parser.add_argument(
        "--dtype", choices=("float32", "float64"), default="float64", help="of the rows (default: float64)"
    )
    parser.add_argument("--clusters", type=int, metavar="K", help="of blobs (default: 8)")
    parser.add_argument("--spread", type=float, metavar="S", help="standard deviation within a blob (default: 1)")
    parser.add_argument("--seed", type=int, default=0, metavar="SEED", help="(default: 0)")
    parser.add_argument(
        "--part-rows", type=int, metavar="R", help="rows of a part, a multiple of 1,024 (default: about 100 MB)"
    )
    parser.add_argument("--overwrite", action="store_true", help="delete a data set that was made there before")
    parser.add_argument(
        "--workers", type=int, default=1, metavar="W", help="functions that write (default: 1, this process)"
    )
    parser.add_argument(
        "--inner-workers", default="auto", metavar="T", help="threads in each function (default: its CPUs)"
    )
    parser.add_argument(
        "--retries", type=int, default=2, metavar="N", help="how often a worker may be lost (default: 2)"
    )
    parser.add_argument(
        "--stall-timeout",
        type=float,
        default=300.0,
        metavar="S",
        help="seconds within which functions must write another part (default: 300)",
    )


def run(options: argparse.Namespace, executor: Any, inner_workers: int | str, callbacks: list[Any]) -> int:
    """Make the data, and say what to do with them."""
    from .make import make_data

    made = make_data(
        options.kind,
        options.out,
        options.rows,
        options.features,
        format=options.format,
        dtype=options.dtype,
        seed=options.seed,
        n_clusters=options.clusters,
        spread=options.spread,
        part_rows=options.part_rows,
        overwrite=options.overwrite,
        workers=options.workers,
        inner_workers=inner_workers,
        executor=executor,
        retries=options.retries,
        stall_timeout=options.stall_timeout,
        callbacks=callbacks,
    )
    rows_per_second, bytes_per_second = made.n_rows / made.seconds, made.size / made.seconds
    if options.json:
        about = {"data": made.data, "target": made.target, "rows": made.n_rows, "parts": made.n_parts}
        rates = {"rows_per_second": rows_per_second, "bytes_per_second": bytes_per_second}
        truth = {"truth": made.truth_file, "command": made.command}
        print(json.dumps({**about, "bytes": made.size, "seconds": made.seconds, **rates, **truth}))
        return 0
    print(
        f"{made.n_rows:,} rows x {made.n_features} features, {options.dtype}, "
        f"{made.size / 1e6:,.1f} MB, parts: {made.n_parts:,}"
    )
    print(f"{made.seconds:.2f} s: {rows_per_second:,.0f} rows/s, {bytes_per_second / 1e6:,.1f} MB/s")
    print(f"the truth: {made.truth_file} ({', '.join(made.truth)})")
    print(f"next: {made.command}")
    return 0
