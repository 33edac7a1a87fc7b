"""A data set that is to be made, and the function that makes some of its parts."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from ..runtime.resources import usable_cpus
from .formats import encode, row_bytes
from .kinds import Kind
from .place import Place, Sign

MARGIN = 10.0
"""Seconds of its time limit that a function spends on starting, and on coming to its end."""


@dataclass(frozen=True)
class Plan:
    """Everything that decides what is written; small, and pickled for the workers.

    Attributes
    ----------
    kind : Kind
    n_rows : int
    dtype : {"float32", "float64"}
    format : {"npy", "csv", "parquet"}
    part_rows : int
        Rows of each part but the last, a multiple of 1,024.
    place : Place
    """

    kind: Kind
    n_rows: int
    dtype: str
    format: str
    part_rows: int
    place: Place

    @property
    def n_parts(self) -> int:
        """How many parts there are."""
        return -(-self.n_rows // self.part_rows)

    @property
    def size(self) -> float:
        """About how many bytes all parts have."""
        return self.n_rows * row_bytes(self.kind.n_features + self.kind.has_target, self.dtype, self.format)

    def name(self, part: int) -> str:
        """The file of a part; sorted by name, they are in the order of the rows."""
        return f"part-{part:0{max(5, len(str(self.n_parts - 1)))}d}.{self.format}"

    def encode(self, part: int) -> bytes | bytearray:
        """The file's bytes."""
        first = part * self.part_rows
        rows = min(self.part_rows, self.n_rows - first)
        return encode(self.kind, first, rows, self.dtype, self.format)


@dataclass(frozen=True)
class Job:
    """What one worker is told: which parts are its own, how many to write at a time, and until when.

    Without a ``sign`` it works for this process.
    """

    plan: Plan
    parts: Sequence[int]
    inner_workers: int | str
    sign: Sign | None = None
    attempt: int = 1
    time_limit: float = math.inf


def write_parts(job: Job) -> None:
    """What runs inside a function."""
    for _ in written_parts(job):
        pass


def written_parts(job: Job) -> Iterator[int]:
    """Write the parts of a job on threads: the bytes of each, as soon as it is written.

    Parts for which there may be too little time are left out. After an error no other part is begun.
    """
    plan = job.plan
    if plan.format != "npy":
        import pyarrow.csv  # by one thread, before many would
        import pyarrow.parquet  # noqa: F401

    deadline = time.monotonic() + job.time_limit - MARGIN
    longest = 0.0

    def write(part: int) -> int | None:
        nonlocal longest
        start, name = time.monotonic(), plan.name(part)
        if start + 2 * longest > deadline:
            return None
        if job.attempt > 1 and plan.place.has(name):
            return None  # by a function that was given up, but went on
        data = plan.encode(part)
        if job.sign is not None:
            job.sign.check()
        plan.place.write(name, data)
        longest = max(longest, time.monotonic() - start)
        return len(data)

    threads = usable_cpus() if job.inner_workers == "auto" else int(job.inner_workers)
    pool = ThreadPoolExecutor(threads)
    try:
        for done in as_completed([pool.submit(write, part) for part in job.parts]):
            size = done.result()
            if size is not None:
                yield size
    finally:
        pool.shutdown(cancel_futures=True)
