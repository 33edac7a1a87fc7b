"""The draw of k-means++ (Arthur and Vassilvitskii, 2007, section 2.2).

A row is drawn with probability proportional to its squared distance to the nearest centre chosen so far.  The
draw is an exponential race: each row's time is exponential with its distance as the rate, and the first wins.
A row's random number is a hash of the row's global number, so that nothing depends on how the rows are split.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs

import numpy as np
from numba import types

from .logarithm import log
from .registry import IN, inline, kernel

MASK = 2**64 - 1


@inline
def mixed(x):
    """The finalizer of splitmix64 (Steele, Lea and Flood, 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@kernel(
    IN(types.float64, 1), types.int64, types.uint64, types.uint64,
    returns=types.Tuple((types.float64, types.int64)), dtypes=(np.float64,),
)  # fmt: skip
def exponential_race(distance, first_row, seed, round_number):
    """The smallest -log(u)/distance and its global row, the lowest among equals."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    stream = mixed(mixed(seed + golden) ^ (round_number * golden + golden))
    best, winner = np.inf, -1
    for i in range(distance.size):
        rate = distance[i]
        if rate > 0.0:
            row = np.uint64(first_row + i)
            random = mixed(stream + (row + np.uint64(1)) * golden)
            u = (np.float64(random >> np.uint64(12)) + 0.5) * 2.0**-52
            # -log(u) >= 1 - u, which is exact; the margin covers the rounding of the time itself.
            if 1.0 - u < best * rate * (1.0 + 1e-12):
                time = -log(u) / rate
                if time < best:
                    best, winner = time, first_row + i
    return best, winner


def race(distance: np.ndarray, first_row: int, seed: int, round: int) -> tuple[float, int]:
    """Draw a row with probability proportional to its distance.

    Parameters
    ----------
    distance : ndarray (m,) of float64
        Not negative.
    first_row : int
        The global number of the first row.
    seed, round : int
        Select the random numbers; any Python integers.

    Returns
    -------
    key : float
        The smallest time; of several slices the one with the smallest (key, row) wins.
    row : int
        Its global number; (inf, -1) if all distances are 0.
    """
    return exponential_race[np.float64](distance, first_row, seed & MASK, round & MASK)
