"""One Lloyd iteration: label each row with its nearest centre, and total the rows of each cluster.

Labels come from the scores |c|**2 - 2 x.c, smallest first, ties to the lowest index.  A score depends on the row
and the centre alone, not on where the row stands.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .centers import PackedCenters
from .exact import BLOCK_BYTES, aligned, line_length, padded, with_tails
from .features_in_lanes import BLOCK_ROWS, lloyd_few_centers
from .rows_in_lanes import SLAB, lloyd_few_features, lloyd_general

BY_PATH = {"few_features": lloyd_few_features, "few_centers": lloyd_few_centers, "general": lloyd_general}


def _run(
    rows: NDArray[Any],
    packed: PackedCenters,
    quanta: NDArray[np.float64],
    labels: NDArray[np.int32],
    sums: NDArray[np.float64] | None,
    counts: NDArray[np.float64],
    weights: NDArray[Any] | None,
) -> tuple[int, float, float]:
    """Pad what has to be, make scratch arrays, and run the kernel; without sums, for the labels alone."""
    dtype, k, d = rows.dtype, packed.k, packed.d
    size, width = BLOCK_BYTES // dtype.itemsize, line_length(dtype)
    group, block_shape, sums_shape = size, (min(padded(d, dtype), SLAB), size), (k, padded(d, dtype))
    scores_shape = (len(packed.norms) if d > SLAB else 0, size)
    if packed.path == "few_centers":
        group, block_shape, scores_shape = BLOCK_ROWS, (1, size), (BLOCK_ROWS * len(packed.norms), width)
    elif packed.path == "few_features":
        block_shape, sums_shape = (padded(d, dtype), size), (k * (d + 1), width)
    update = sums is not None
    return BY_PATH[packed.path].given(weights)[dtype](
        *with_tails(group, rows, weights),
        packed.centers, packed.norms, packed.shift, packed.correction, quanta, update,
        labels, np.empty((0, 0)) if sums is None else sums, counts,
        np.zeros(k), aligned(sums_shape if update else (0, 0), dtype), aligned(block_shape, dtype),
        np.empty(size, np.int32 if dtype.itemsize == 4 else np.int64),
        aligned(scores_shape, dtype),
    )  # fmt: skip


def _check_shapes(rows: NDArray[Any], packed: PackedCenters, labels: NDArray[np.int32]) -> None:
    if rows.shape != (len(labels), packed.d):
        raise ValueError(
            f"rows of shape {rows.shape} and {len(labels)} labels for centres of {packed.d} features: "
            f"the rows must be ({len(labels)}, {packed.d})"
        )


def lloyd(
    rows: NDArray[Any],
    packed: PackedCenters,
    quanta: NDArray[np.float64],
    labels: NDArray[np.int32],
    totals: NDArray[np.float64],
    counts: NDArray[np.float64],
    sample_weight: NDArray[Any] | None = None,
) -> tuple[int, float, float]:
    """One Lloyd iteration over the rows of one inner worker.

    Parameters
    ----------
    rows : ndarray (m, d) of float32 or float64
        C-contiguous; its first row is at a global multiple of `CHUNK`.
    packed : PackedCenters
        From `pack_centers`, for the dtype of the rows.
    quanta : ndarray (d + 3,) of float64
        To what the totals of each feature and the counts are rounded, see `quantum`; last, the two units of the
        score, see `quantum_pair`. Without weights the unit of the counts is 1.
    labels : ndarray (m,) of int32
        INOUT: the labels of the last iteration, then the index of the nearest centre, the lowest among equals.
    totals : ndarray (k, d) of float64
        INOUT: the sum of (row - shift) over the rows of each cluster is added.
    counts : ndarray (k,) of float64
        INOUT: the number of rows of each cluster, or the sum of their weights, is added.
    sample_weight : ndarray (m,) of the dtype of the rows, optional
        Not negative and finite; each row counts so many times.

    Returns
    -------
    changed : int
        How many labels changed.
    score, rest : float
        Their sum is that of |row - center|**2 - |row - shift|**2 over the rows and their nearest centres, in the
        dtype of the rows: good for watching convergence; `inertia` gives the accurate sum of squared distances.

    Raises
    ------
    ValueError
        If an array has a shape that does not belong to these rows and centres.
    """
    k, d = packed.k, packed.d
    _check_shapes(rows, packed, labels)
    for name, array, shape in (("quanta", quanta, (d + 3,)), ("totals", totals, (k, d)), ("counts", counts, (k,))):
        if array.shape != shape:
            raise ValueError(f"{name} of shape {array.shape} for {k} centres of {d} features: must be {shape}")
    return _run(rows, packed, quanta, labels, totals, counts, sample_weight)


def assign(rows: NDArray[Any], packed: PackedCenters, labels: NDArray[np.int32]) -> None:
    """Label each row with its nearest centre, as `lloyd` does.

    Parameters
    ----------
    rows : ndarray (m, d) of float32 or float64
    packed : PackedCenters
    labels : ndarray (m,) of int32
        OUT.

    Raises
    ------
    ValueError
        If an array has a shape that does not belong to these centres.
    """
    _check_shapes(rows, packed, labels)
    _run(rows, packed, np.empty(0), labels, None, np.empty(packed.k), None)
