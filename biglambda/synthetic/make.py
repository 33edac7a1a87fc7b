"""Synthetic data sets: the public function, and what it gives back."""

from __future__ import annotations

import io
import os
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..algorithms.validation import check_number, check_whole
from ..runtime.data.columns import check_dtype
from ..runtime.engine.options import MAX_WORKERS, check_executor
from ..runtime.errors import DataError
from ..runtime.events import Callback, PartsWritten, RunEnded, emit
from ..runtime.inner import check_inner
from ..runtime.rows import CHUNK
from .formats import FORMATS, MOST_PART_BYTES, PART_BYTES, row_bytes, rows_within
from .kinds import Blobs, Kind, Logistic
from .place import TRUTH, Place
from .plan import Job, Plan, written_parts

KINDS = ("blobs", "logistic")
MOST_FEATURES = 65_536
MOST_SPREAD = 1e6
CLUSTERS = 8


@dataclass(frozen=True)
class SyntheticData:
    """A data set that was made.

    Attributes
    ----------
    data : str
        What to give to a fit: a pattern that all parts match.
    target : str or int or None
        The column to give to `fit_logistic_regression`.
    n_rows, n_features, n_parts : int
    size : int
        Bytes of all parts.
    seconds : float
        That it took to write them, launches included.
    truth : mapping of str to ndarray
        ``centers``, or ``weights`` and ``intercept``.
    truth_file : str
        Where they are, beside what was asked for.
    """

    data: str
    target: str | int | None
    n_rows: int
    n_features: int
    n_parts: int
    size: int
    seconds: float
    truth: Mapping[str, np.ndarray] = field(repr=False)
    truth_file: str = field(repr=False)

    @property
    def command(self) -> str:
        """A command line that fits the data."""
        if self.target is None:
            return f"biglambda kmeans {shlex.quote(self.data)} --clusters {len(self.truth['centers'])}"
        return f"biglambda logreg {shlex.quote(self.data)} --target {self.target}"


def make_data(
    kind: str,
    out: str | os.PathLike[str],
    n_rows: int,
    n_features: int,
    *,
    format: str = "npy",
    dtype: Any = "float64",
    seed: int = 0,
    n_clusters: int | None = None,
    spread: float | None = None,
    part_rows: int | None = None,
    overwrite: bool = False,
    workers: int = 1,
    inner_workers: int | str = "auto",
    executor: Any = None,
    retries: int = 2,
    stall_timeout: float = 300.0,
    callbacks: Sequence[Callback] = (),
) -> SyntheticData:
    """Make a synthetic data set of any size, in parts that workers write in parallel.

    Each chunk of 1,024 rows has random numbers of its own. So the same seed gives the same rows on every machine,
    whatever ``workers``, ``inner_workers``, ``format`` and ``part_rows``, and the first rows of a larger data set;
    with the same ``format`` and ``part_rows``, and the same version of pyarrow where the format is Parquet, it
    gives the same bytes. float32 rows are the float64 ones, rounded.

    A worker holds about one part for each of its threads, or two of Parquet or CSV while they are handed over.

    Parameters
    ----------
    kind : {"blobs", "logistic"}
        ``blobs``: clusters, whose centres are uniform between -10 and 10, of normal numbers around them.
        ``logistic``: standard normal features and, as the last column, 0 or 1 with the probability of a logistic
        model.
    out : path or str
        A directory, which is made, or ``s3://bucket/prefix``. Parts are ``part-00000.npy`` and so on; in CSV and
        Parquet the columns are ``x0``, ``x1``, ... and ``y``. ``truth.npz`` is written last: where it is, the data
        set is whole.
    n_rows, n_features : int
        From 1; at most 65,536 features.
    format : {"npy", "csv", "parquet"}
    dtype : {"float32", "float64"}
        Of the features.
    seed : int
        From 0, below 2**64.
    n_clusters : int, optional
        Of ``blobs``, 8 if not given.
    spread : float, optional
        Standard deviation within the clusters of ``blobs``, 1 if not given.
    part_rows : int, optional
        Rows of a part, a multiple of 1,024; if not given, as many as have about 100 MB.
    overwrite : bool
        Whether to delete a data set that was made there before.
    workers : int
        Functions that write.
    inner_workers : int or "auto"
        Threads of each; "auto" is as many as it has usable CPUs.
    executor : lithops.FunctionExecutor, optional
        Where functions run. None writes in this process, or, with several workers, on Lithops' localhost backend.
    retries : int
        How often each worker may be lost: it is launched again.
    stall_timeout : float
        Seconds within which a function must write another part, else those at work count as lost.
    callbacks : sequence of callables
        Called with events, see `biglambda.runtime.events`: ``PartsWritten``, ``WorkerLost``, ``RunEnded``.

    Returns
    -------
    SyntheticData

    Raises
    ------
    DataError
        The place cannot be written to, has too little space, or holds a data set already.
    RunError
        A worker was lost too often.
    ValueError, TypeError
        A parameter is not what is allowed.
    """
    rows = check_whole("n_rows", n_rows, 1)
    made = _kind(kind, rows, n_features, seed, n_clusters, spread)
    _check_one_of("format", format, FORMATS)
    dtype = (check_dtype(dtype) or np.dtype(np.float64)).name
    workers = _check_up_to("workers", workers, 1, MAX_WORKERS)
    check_inner("threads", inner_workers)
    retries = check_whole("retries", retries, 0)
    stall_timeout = check_number("stall_timeout", stall_timeout, 0.0, above=True)
    part_rows = _part_rows(part_rows, row_bytes(made.n_features + made.has_target, dtype, format))
    place = _place(out, executor)
    plan = Plan(made, rows, dtype, format, part_rows, place)

    start = time.perf_counter()
    place.prepare(plan.size, overwrite)
    emit(callbacks, PartsWritten(0, plan.n_parts, 0))
    try:
        if executor is None and workers == 1:
            _write_here(plan, inner_workers, callbacks)
        else:
            from .functions import Making

            Making(plan, workers, inner_workers, executor, retries, stall_timeout, callbacks).run()
        parts = place.parts(format)
        if set(parts) != {plan.name(part) for part in range(plan.n_parts)}:
            raise DataError(f"{place.folder} does not hold the parts that were written: who changed it meanwhile?")
        place.tidy()
        place.write(TRUTH, _truth_file(plan))
    except BaseException as error:
        emit(callbacks, RunEnded(f"make-data {kind}", f"{type(error).__name__}: {error}"))
        raise
    emit(callbacks, RunEnded(f"make-data {kind}", None))
    column = made.n_features if format == "npy" else "y"
    return SyntheticData(
        place.pattern(format), column if made.has_target else None, rows, made.n_features, plan.n_parts,
        sum(parts.values()), time.perf_counter() - start, made.truth, place.folder + TRUTH,
    )  # fmt: skip


def _write_here(plan: Plan, inner_workers: int | str, callbacks: Sequence[Callback]) -> None:
    size = 0
    for parts, more in enumerate(written_parts(Job(plan, range(plan.n_parts), inner_workers)), start=1):
        size += more
        emit(callbacks, PartsWritten(parts, plan.n_parts, size))


def _truth_file(plan: Plan) -> bytes:
    """The truth, beside what was asked for."""
    kind = plan.kind
    arrays: dict[str, Any] = {
        "kind": kind.name,
        "n_rows": plan.n_rows,
        "n_features": kind.n_features,
        "seed": np.uint64(kind.seed),
        "dtype": plan.dtype,
        "format": plan.format,
        "part_rows": plan.part_rows,
        **kind.truth,
    }
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def _kind(kind: Any, rows: int, features: Any, seed: Any, clusters: Any, spread: Any) -> Kind:
    _check_one_of("kind", kind, KINDS)
    features = _check_up_to("n_features", features, 1, MOST_FEATURES)
    seed = check_whole("seed", seed, 0)
    if seed >= 2**64:
        raise ValueError(f"seed={seed}: allowed are whole numbers below 2**64")
    if kind == "logistic":
        for name, value in (("n_clusters", clusters), ("spread", spread)):
            if value is not None:
                raise ValueError(f"{name}={value!r}: only blobs have it, not logistic")
        return Logistic(seed, features)
    clusters = check_whole("n_clusters", min(CLUSTERS, rows) if clusters is None else clusters, 1)
    if clusters > rows:
        raise ValueError(f"n_clusters={clusters}: allowed are at most as many as rows, {rows}")
    spread = check_number("spread", 1.0 if spread is None else spread, 0.0)
    if spread > MOST_SPREAD:
        raise ValueError(f"spread={spread}: allowed are numbers from 0 to {MOST_SPREAD:g}")
    return Blobs(seed, features, clusters, spread)


def _part_rows(given: Any, bytes_per_row: float) -> int:
    if given is None:
        return rows_within(PART_BYTES, bytes_per_row)
    most = rows_within(MOST_PART_BYTES, bytes_per_row)
    if check_whole("part_rows", given, CHUNK) % CHUNK or given > most:
        raise ValueError(f"part_rows={given}: allowed are multiples of {CHUNK:,} up to {most:,}, here about 4 GB")
    return int(given)


def _place(out: Any, executor: Any) -> Place:
    if not isinstance(out, str | os.PathLike) or not isinstance(os.fspath(out), str):
        raise TypeError(f"out is a {type(out).__name__}: allowed are a directory and s3://bucket/prefix")
    out = os.fspath(out)
    if not out or "\0" in out:
        raise ValueError(f"out={out!r}: allowed are a directory and s3://bucket/prefix")
    check_executor(executor)
    place = Place.at(out, None if executor is None else executor.config)
    if executor is not None and executor.backend != "localhost" and not place.store.is_shared:
        raise DataError(
            f"out={out!r}: functions of the {executor.backend!r} backend do not see files of this machine; "
            "allowed is s3://bucket/prefix"
        )
    return place


def _check_one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}={value!r}: allowed are {', '.join(map(repr, allowed))}")


def _check_up_to(name: str, value: Any, low: int, high: int) -> int:
    if check_whole(name, value, low) > high:
        raise ValueError(f"{name}={value}: allowed are whole numbers from {low} to {high:,}")
    return int(value)
