"""Sums that do not depend on the order of addition.

Rows are totalled in chunks.  A chunk's total is rounded to a multiple of a power of two, the quantum, small
enough to cost nothing and large enough that all sums of such multiples are exact in float64.  From there on
threads, workers and arrival order cannot change a bit.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs

from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from .registry import inline

CHUNK = 1024
"""Rows in a chunk: every partition and sub-partition starts at a global multiple of it."""

BLOCK_BYTES = 256
"""Bytes of one feature in a packed block of rows: 64 rows of float32 or 32 of float64, on every CPU."""


@overload
def quantum(bound: float) -> float: ...
@overload
def quantum(bound: NDArray[np.floating]) -> NDArray[np.float64]: ...
def quantum(bound: Any) -> Any:
    """The power of two to which chunk totals are rounded.

    Parameters
    ----------
    bound : float or ndarray
        A bound of the absolute value of any partial sum over the whole data set, for instance n * max|x|.

    Returns
    -------
    float or ndarray of float64
        2**(ceil(log2(bound)) - 52); the smallest normal float64 where that, or the bound, is smaller.

    Raises
    ------
    ValueError
        If a bound is negative, NaN or infinite.
    """
    values = np.asarray(bound, dtype=np.float64)
    if not (np.isfinite(values) & (values >= 0)).all():
        raise ValueError(f"a bound of a sum must be finite and not negative, got {bound!r}: is the data finite?")
    fraction, exponent = np.frexp(values)
    ceiling = exponent - (fraction == 0.5)
    smallest = np.finfo(np.float64).tiny
    result = np.where(values > 0, np.maximum(np.ldexp(1.0, ceiling - 52), smallest), smallest)
    return float(result) if values.ndim == 0 else result


def quantum_pair(bound: float, rows: int) -> NDArray[np.float64]:
    """Two units for a sum of chunk totals, the second for what the first leaves over.

    A single quantum serves sums whose terms are not much smaller than their bound.  Squared distances are not so:
    a row far away makes the bound 10**14 times as large as what the others add up to.

    Parameters
    ----------
    bound : float
        A bound of the sum over the whole data set.
    rows : int
        How many rows it has.

    Returns
    -------
    ndarray (2,) of float64
    """
    first = quantum(bound)
    chunks = -(-rows // CHUNK)
    return np.array([first, quantum(first * chunks)])


@inline
def rounded(x, unit):
    """A multiple of unit, a power of two, the nearest to x below 2**51 units, and up to 2**52 a neighbour."""
    big = 6755399441055744.0 * unit  # 1.5 * 2**52
    return (x + big) - big


@inline
def split(x, units, at):
    """X as the sum of a multiple of units[at] and a multiple of units[at + 1], see `quantum_pair`."""
    high = rounded(x, units[at])
    return high, rounded(x - high, units[at + 1])


def tail_of(rows: np.ndarray, group: int) -> np.ndarray:
    """The last, incomplete group of rows, padded with zero rows; kernels read it in place of the rows themselves.

    Parameters
    ----------
    rows : ndarray (m, ...)
    group : int
        Rows that a kernel takes at a time.

    Returns
    -------
    ndarray (group, ...) of the same dtype
        Without rows if m is a multiple of group.
    """
    rest = len(rows) % group
    if rest == 0:
        return np.empty((0, *rows.shape[1:]), rows.dtype)
    tail = np.zeros((group, *rows.shape[1:]), rows.dtype)
    tail[:rest] = rows[len(rows) - rest :]
    return tail


def with_tails(group: int, *columns: np.ndarray | None) -> list[np.ndarray | None]:
    """Each array and then its tail, see `tail_of`; None and None for weights that are not given."""
    return [x for column in columns for x in (column, None if column is None else tail_of(column, group))]


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Zeros that start at a multiple of 64 bytes."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, np.uint8)
    return raw[-raw.ctypes.data % 64 :][:size].view(dtype).reshape(shape)


def line_length(dtype: Any) -> int:
    """Lanes in a line, 64 bytes: 16 of float32, 8 of float64."""
    return 64 // np.dtype(dtype).itemsize


def padded(size: int, dtype: Any) -> int:
    """`size` rounded up to whole lines."""
    return -(-size // line_length(dtype)) * line_length(dtype)
