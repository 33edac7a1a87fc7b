"""Which rows are whose: cuts at chunk boundaries, and what they become once every worker's count is known."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from .. import rows as _rows
from ..errors import DataError


def check_worker(worker: int, workers: int) -> None:
    """Refuse a worker number that is none of ``0 ... workers - 1``."""
    if not 0 <= worker < workers:
        raise ValueError(f"worker {worker} of {workers}: workers are numbered from 0 to {workers - 1}")


def ceil_chunk(row: int) -> int:
    """The first chunk boundary at or after ``row``."""
    # Read from the module on every call: the tests make chunks small, so that small files have many of them.
    return -(-row // _rows.CHUNK) * _rows.CHUNK


def row_range(n: int, worker: int, workers: int) -> tuple[int, int]:
    """Rows ``low`` to ``high`` of ``n`` for one of ``workers`` workers, as equal as whole chunks allow.

    Parameters
    ----------
    n : int
        Rows of the whole data set.
    worker, workers : int
        Number of this worker, from 0, and how many there are.

    Returns
    -------
    low, high : int
        ``low`` is a multiple of ``CHUNK``, unless the range is empty: with fewer chunks than workers the last
        workers get ``(n, n)``.
    """
    check_worker(worker, workers)
    bounds = _rows.cut_chunks(n, workers)
    if worker + 1 >= len(bounds):
        return n, n
    return bounds[worker], bounds[worker + 1]


def largest_share(n: int, workers: int, bounds: Sequence[int] | None = None) -> int:
    """Rows of the worker that has the most."""
    return max(high - low for low, high in pairwise(_rows.cut_chunks(n, workers) if bounds is None else bounds))


def bounded_range(n: int, worker: int, workers: int, bounds: Sequence[int] | None) -> tuple[int, int]:
    """`row_range`, or the worker's share of explicit ``bounds``, which must be valid for ``n`` rows."""
    if bounds is None:
        return row_range(n, worker, workers)
    check_worker(worker, workers)
    problem = None
    if len(bounds) != workers + 1:
        problem = f"{workers} workers need {workers + 1} of them"
    elif bounds[0] != 0 or bounds[-1] != n:
        problem = f"they must start with 0 and end with the number of rows, {n}"
    elif any(low > high for low, high in pairwise(bounds)):
        problem = "they must not descend"
    elif any(bound % _rows.CHUNK and bound != n for bound in bounds):
        problem = f"all but the last must be multiples of {_rows.CHUNK}"
    if problem:
        raise DataError(f"bounds={tuple(bounds)}: {problem}")
    return bounds[worker], bounds[worker + 1]


def aligned_range(counts: Sequence[int], worker: int) -> tuple[int, int, int]:
    """What a worker's own range becomes when every cut moves up to the next chunk boundary.

    Parameters
    ----------
    counts : sequence of int
        Rows in every worker's own range, in the order of the workers.
    worker : int
        Number of this worker.

    Returns
    -------
    offset, low, high : int
        Index in the whole data set of the first row of the own range, and the rows that are this worker's
        after alignment. Where ``low < high``, ``low`` lies in the own range, and ``high`` is less than a chunk
        beyond it: if no boundary lies in the own range, both cuts move to the same boundary.
    """
    offset = sum(counts[:worker])
    n = sum(counts)
    return offset, min(ceil_chunk(offset), n), min(ceil_chunk(offset + counts[worker]), n)
