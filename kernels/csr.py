"""Rows in CSR form: what has to hold of them before the kernels trust them, and the extent of each feature."""

# mypy: allow-untyped-defs, allow-incomplete-defs

import numpy as np
from numba import types

from .registry import DTYPES, IN, OUT, REAL, kernel


@kernel(IN(REAL, 1), IN(types.int32, 1), IN(types.int64, 1), types.int64, returns=types.int64)
def first_bad_row(data, indices, indptr, d):
    """The first row with an index that is no feature or a value that is not finite, or -1."""
    for i in range(indptr.size - 1):
        bad = 0
        for t in range(indptr[np.uintp(i)], indptr[np.uintp(i + 1)]):
            j, x = indices[np.uintp(t)], data[np.uintp(t)]
            bad |= (j < 0) | (j >= d) | (x - x != 0.0)
        if bad:
            return i
    return -1


def check_csr(data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, d: int) -> None:
    """Raise unless the kernels may trust these rows.

    Parameters
    ----------
    data : ndarray (nnz,) of float32 or float64
    indices : ndarray (nnz,) of int32
    indptr : ndarray (m + 1,) of int64 or int32
        Of all rows, not a slice of it.
    d : int
        How many features there are.

    Raises
    ------
    TypeError
        If an array has another dtype.
    ValueError
        If the arrays do not fit together, or a row has an index outside 0 to d - 1, a NaN or an infinity; names
        the first such row.
    """
    for name, array, allowed in (
        ("data", data, DTYPES),
        ("indices", indices, (np.dtype(np.int32),)),
        ("indptr", indptr, (np.dtype(np.int64), np.dtype(np.int32))),
    ):
        if array.dtype not in allowed:
            kinds = " or ".join(map(str, allowed))
            raise TypeError(f"the {name} of CSR rows are {array.dtype}; allowed is {kinds}: convert with astype")
        if array.ndim != 1 or not array.flags.c_contiguous:
            raise ValueError(f"the {name} of CSR rows must be contiguous and of one dimension: use ravel and copy")
    if indptr.size == 0 or indptr[0] != 0:
        raise ValueError(f"indptr must start with 0, it starts with {indptr[:1].tolist()}")
    falling = np.flatnonzero(indptr[1:] < indptr[:-1])
    if falling.size:
        i = int(falling[0])
        raise ValueError(f"indptr falls from {indptr[i]} to {indptr[i + 1]} at row {i}: it may never fall")
    if not indptr[-1] == indices.size == data.size:
        raise ValueError(
            f"indptr ends with {indptr[-1]}, and there are {indices.size} indices and {data.size} values of data: "
            "all three must be equal"
        )
    i = first_bad_row[data.dtype](data, indices, indptr.astype(np.int64, copy=False), d)
    if i >= 0:
        row = slice(indptr[i], indptr[i + 1])
        outside = indices[row][(indices[row] < 0) | (indices[row] >= d)]
        if outside.size:
            raise ValueError(f"row {i} has a value for feature {outside[0]}; features are 0 to {d - 1}")
        j = int(np.flatnonzero(~np.isfinite(data[row]))[0])
        raise ValueError(f"row {i} has {data[row][j]} for feature {indices[row][j]}: values must be finite")


@kernel(IN(REAL, 1), IN(types.int32, 1), OUT(types.float64, 1), OUT(types.int64, 1))
def feature_extent(data, indices, largest, counts):
    for t in range(indices.size):
        j = np.uintp(indices[t])
        largest[j] = max(largest[j], abs(np.float64(data[t])))
        counts[j] += 1


def extent_csr(data: np.ndarray, indices: np.ndarray, largest: np.ndarray, counts: np.ndarray) -> None:
    """How many values each feature has, and how large they are: their product bounds any sum of them.

    Parameters
    ----------
    data : ndarray (nnz,) of float32 or float64
        Finite.
    indices : ndarray (nnz,) of int32
        The feature of each value; trusted, see `check_csr`.
    largest : ndarray (d,) of float64
        INOUT: raised to the largest |x|.
    counts : ndarray (d,) of int64
        INOUT: the number of values is added.
    """
    feature_extent[data.dtype](data, indices, largest, counts)
