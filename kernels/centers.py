"""Centres as the k-means kernels want them, packed once per iteration."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .exact import aligned, line_length, padded
from .features_in_lanes import LAST_TILES
from .features_in_lanes import TILE as FEATURE_TILE

TILE = 6
"""Centres that the rows-in-lanes kernels compare at a time; the last, smaller tile has 4 or 2."""

PATHS = ("few_features", "few_centers", "general")


def choose_path(d: int, k: int, dtype: Any) -> str:
    """Which kernel is fastest; it depends on the shape and dtype alone, so that all workers choose alike.

    Parameters
    ----------
    d, k : int
        Features and centres.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    {"few_features", "few_centers", "general"}
        Rows in lanes with the totals kept in lanes; features in lanes; rows in lanes with totals row by row.

    Notes
    -----
    The numbers are those of ``python -m benchmarks.paths``, which tries each path at hundreds of shapes.
    """
    lanes = line_length(dtype)
    lines = d / lanes
    most_totals = 13 * lanes if d <= 8 else 100 + 11 * lanes // 2
    if d <= 16 and k * (d + 1) <= most_totals:
        return "few_features"
    if (lines >= 6 and k <= 15) or (12 <= lines <= 32 and k <= 20) or (lines > 3 and k <= 5):
        return "few_centers"
    return "general"


@dataclass(frozen=True)
class PackedCenters:
    """Centres relative to the shift, laid out for one path; read-only, shared by the inner workers.

    Attributes
    ----------
    path : str
        One of `PATHS`.
    k, d : int
        Centres and features.
    centers : ndarray
        -2 * (center - shift), in tiles or, for "few_centers", in rows padded to whole lines.
    norms : ndarray
        Squared norms of the shifted centres; infinite for the centres that fill up a tile.
    shift : ndarray (d padded to whole lines,)
        The shift in the dtype of the rows, which is what the kernels subtract.
    correction : ndarray (d,) of float64
        That minus the shift that was asked for.
    """

    path: str
    k: int
    d: int
    centers: NDArray[Any]
    norms: NDArray[Any]
    shift: NDArray[Any]
    correction: NDArray[np.float64]


def pack_centers(
    centers: NDArray[np.float64], shift: NDArray[np.float64], dtype: Any, path: str | None = None
) -> PackedCenters:
    """Prepare centres for `lloyd` and `assign`.

    Parameters
    ----------
    centers : ndarray (k, d) of float64
    shift : ndarray (d,) of float64
        Subtracted from rows and centres before anything is squared; the mean of the data is a good choice.
    dtype : dtype
        float32 or float64, that of the rows.
    path : str, optional
        One of `PATHS`; `choose_path` by default.

    Returns
    -------
    PackedCenters

    Raises
    ------
    ValueError
        If the path is not known.
    """
    k, d = centers.shape
    path = path or choose_path(d, k, dtype)
    if path not in PATHS:
        raise ValueError(f"path {path!r} is not one of {', '.join(PATHS)}")
    shift_used = aligned((padded(d, dtype),), dtype)
    shift_used[:d] = shift
    exact_shift = shift_used[:d].astype(np.float64)
    near = (centers - exact_shift).astype(dtype)

    tile = FEATURE_TILE if path == "few_centers" else TILE
    whole = k // tile * tile
    rest = k - whole
    if path == "few_centers":
        size = whole + min(n for n in (0, *LAST_TILES, tile) if n >= rest)
    else:
        size = whole + (rest + 1) // 2 * 2
    norms = np.full(size, np.inf, dtype)
    # Summed feature after feature, so that the bits do not depend on NumPy's way of summing rows.
    norms[:k] = np.square(np.ascontiguousarray(near.T), dtype=np.float64).sum(axis=0)

    if path == "few_centers":
        packed = aligned((size, padded(d, dtype)), dtype)
        packed[:k, :d] = -2 * near
    else:
        doubled = np.zeros((size, d), dtype)
        doubled[:k] = -2 * near
        packed = np.empty(size * d, dtype)
        packed[: whole * d] = doubled[:whole].reshape(-1, tile, d).transpose(0, 2, 1).ravel()
        packed[whole * d :] = doubled[whole:].T.ravel()
    for array in (packed, norms, shift_used):
        array.flags.writeable = False
    return PackedCenters(path, k, d, packed, norms, shift_used, exact_shift - shift)
