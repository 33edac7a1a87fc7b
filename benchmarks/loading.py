"""From S3 to rows that a kernel can take: ``python -m benchmarks.loading``.

What a worker does before its first iteration (fetch, parse, scan for NaN and statistics), beside the two things
it cannot do without: fetching the same bytes by plain ranged GETs on as many threads, and pyarrow's parsing
of these bytes out of memory. The S3 server runs on this machine and takes its share of the CPUs from all: without
``--gigabits`` it is they that limit the GETs, and whoever does more than these is slower by what it does. With it,
what is fetched comes over a link of that bandwidth.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from benchmarks.s3_server import BUCKET, OWNER, S3Server, owners_client, start_s3
from benchmarks.slow_link import slow_link
from benchmarks.timing import interleaved, median_ratio, table
from biglambda.algorithms.statistics import describe_rows
from biglambda.runtime.data import describe
from biglambda.runtime.inner import make_inner
from biglambda.runtime.rows import Rows

OURS, GETS, PARSING = "biglambda: fetch, parse, scan", "plain ranged GETs", "pyarrow, from memory"
RANGE_BYTES = 1 << 23


def content(kind: str, megabytes: float, d: int) -> bytes:
    """Rows of normal numbers as a file of about so many megabytes."""
    import pyarrow
    from pyarrow import csv, parquet

    n = int(megabytes * 1e6 / d / (8 if kind != "csv" else 19))
    x = np.random.default_rng(0).standard_normal((n, d))
    buffer = BytesIO()
    if kind == "npy":
        np.save(buffer, x)
        return buffer.getvalue()
    columns = pyarrow.table({f"x{i}": x[:, i] for i in range(d)})
    if kind == "csv":
        csv.write_csv(columns, buffer)
    else:
        parquet.write_table(columns, buffer, row_group_size=max(1, n // 16), use_dictionary=False)
    return buffer.getvalue()


def measure(server: S3Server, kind: str, data: bytes, threads: int = 2, rounds: int = 5) -> dict[str, list[float]]:
    """Seconds of each way in each round."""
    name = f"s3://{BUCKET}/loading.{kind}"
    section = {"endpoint": server.endpoint, "region": "us-east-1", **OWNER}
    source = describe(name, config={"aws_s3": section})

    def ours() -> None:
        partition = source.read(0, 1, threads)
        X, y, first = partition.align(None if source.n_rows is not None else [partition.count])
        with make_inner("threads", threads) as inner:
            inner.map(describe_rows, Rows(X, y, first), ())

    def gets() -> None:
        def get(start: int) -> None:
            wanted = f"bytes={start}-{min(start + RANGE_BYTES, len(data)) - 1}"
            server.client.get_object(Bucket=BUCKET, Key=f"loading.{kind}", Range=wanted)["Body"].read()

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(get, range(0, len(data), RANGE_BYTES)))

    calls: dict[str, Callable[[], object]] = {OURS: ours, GETS: gets}
    if kind != "npy":
        calls[PARSING] = _parsing(kind, data, threads)
    return interleaved(calls, rounds)


def _parsing(kind: str, data: bytes, threads: int) -> Callable[[], Any]:
    import pyarrow
    from pyarrow import csv, parquet

    pyarrow.set_cpu_count(threads)
    if kind == "csv":
        return lambda: csv.read_csv(pyarrow.BufferReader(data))
    return lambda: parquet.read_table(pyarrow.BufferReader(data))


@contextmanager
def _seen(server: S3Server, gigabits: float | None) -> Iterator[S3Server]:
    """The server, over a link of some bandwidth."""
    if gigabits is None:
        yield server
        return
    with slow_link(urlsplit(server.endpoint).port or 80, gigabits) as port:
        yield S3Server(f"http://127.0.0.1:{port}", owners_client(f"http://127.0.0.1:{port}"))


def share_of_longest(seconds: dict[str, list[float]]) -> float:
    """Our time as a multiple of the longer of what it is compared with."""
    return min(1 / median_ratio(seconds, OURS, rival) for rival in seconds if rival != OURS)


def main() -> None:
    """Print times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", nargs="+", choices=("csv", "npy", "parquet"), default=["csv", "npy", "parquet"])
    parser.add_argument("--megabytes", type=float, default=500)
    parser.add_argument("--features", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gigabits", type=float, help="bandwidth of the link to the server, Gbit/s")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = {}
    with start_s3() as server, _seen(server, options.gigabits) as near:
        for kind in options.kind:
            data = content(kind, options.megabytes, options.features)
            server.put(f"loading.{kind}", data)
            seconds = measure(near, kind, data, options.threads, options.rounds)
            found[kind] = {"seconds": seconds, "share_of_longest": share_of_longest(seconds)}
            if not options.json:
                print(f"{kind}, {options.megabytes:g} MB, {options.features} features, {options.threads} threads")
                print(table(seconds, "s"))
                print(f"ours takes {found[kind]['share_of_longest']:.2f} times the longer of the others\n")
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
